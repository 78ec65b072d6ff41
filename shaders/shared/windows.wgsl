// The first pixel of pooling window w.
fn corner(p: Params, w: u32) -> u32 {
    return (w / p.pooled_columns * p.pool_columns + w % p.pooled_columns) * p.pool;
}

// The k-th pixel of the window that begins at the pixel `first`, row by row.
fn pixel_of(p: Params, first: u32, k: u32) -> u32 {
    return first + k / p.pool * p.pool_columns + k % p.pool;
}
