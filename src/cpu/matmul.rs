//! Matrix products, by the gemm crate.

/// A matrix as a slice with strides (row, column) in elements.
pub type Strided<'a> = (&'a [f32], (usize, usize));

/// Who works on a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread: products within a task of their own.
    One,
    /// All of the pool.
    All,
}

/// `out` [m, n], rows contiguous, = `a` [m, k] · `b` [k, n], or with `add` that more than it was.
///
/// # Panics
/// Where extents and strides reach outside a slice.
pub fn matmul((m, k, n): (usize, usize, usize), a: Strided, b: Strided, out: &mut [f32], add: bool, threads: Threads) {
    let span = |rows: usize, cols: usize, (rs, cs): (usize, usize)| match rows * cols {
        0 => 0,
        _ => (rows - 1) * rs + (cols - 1) * cs + 1,
    };
    assert!(a.0.len() >= span(m, k, a.1) && b.0.len() >= span(k, n, b.1) && out.len() >= m * n);
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    let (a_stride, b_stride) = (a.1, b.1);
    // SAFETY: the assertion above holds every element that these extents and strides reach inside its slice, and
    // `out` is borrowed mutably, so nothing overlaps it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.0.as_ptr(),
            a_stride.1 as isize,
            a_stride.0 as isize,
            b.0.as_ptr(),
            b_stride.1 as isize,
            b_stride.0 as isize,
            f32::from(add),
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}
