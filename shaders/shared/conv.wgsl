// The neurons of a convolution are numbered pixel by pixel, so that four filters of a pixel are a quad. Its pooled output,
// which the layer above reads, is numbered map by map.

// Rows of the weights without biases: channels kernel^2.
fn patch_size(p: Params) -> u32 {
    return p.inputs / (p.map_height * p.map_width) * p.kernel * p.kernel;
}

const NOT_SEEN: u32 = 0xffffffffu;

// The pixel from which neuron i of the maps below is entry (ky, kx) of the kernel; NOT_SEEN if there is none.
fn seen_from(p: Params, i: u32, ky: u32, kx: u32) -> u32 {
    let at = i % (p.map_height * p.map_width);
    // Wraps to large numbers if there is none.
    let y = at / p.map_width + p.padding - ky;
    let x = at % p.map_width + p.padding - kx;
    let row = y / p.stride;
    let column = x / p.stride;
    let there = row * p.stride == y && column * p.stride == x && row < p.rows && column < p.columns;
    return select(NOT_SEEN, row * p.columns + column, there);
}
