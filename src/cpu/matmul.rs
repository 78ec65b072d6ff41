//! Matrix products, computed by the gemm crate.

/// A matrix in a slice.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    data: &'a [f32],
    /// Elements from a row to the next.
    row_stride: usize,
    /// Elements from a column to the next.
    column_stride: usize,
}

impl<'a> Strided<'a> {
    /// A row-major matrix with `cols` columns.
    pub fn rows(data: &'a [f32], cols: usize) -> Self {
        Strided { data, row_stride: cols, column_stride: 1 }
    }

    /// The transpose of a row-major matrix with `cols` columns.
    pub fn transposed(data: &'a [f32], cols: usize) -> Self {
        Strided { data, row_stride: 1, column_stride: cols }
    }

    /// Elements of the slice that a matrix of this size reaches.
    fn span(&self, rows: usize, cols: usize) -> usize {
        match rows * cols {
            0 => 0,
            _ => (rows - 1) * self.row_stride + (cols - 1) * self.column_stride + 1,
        }
    }
}

/// Which threads compute a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread only, for products inside a parallel task.
    One,
    /// All threads of the pool.
    All,
}

/// Computes `a` [m, k] · `b` [k, n] into `out` [m, n], row-major; with `add` adds it to `out`.
///
/// # Panics
/// If sizes and strides reach outside a slice.
pub fn matmul((m, k, n): (usize, usize, usize), a: Strided, b: Strided, out: &mut [f32], add: bool, threads: Threads) {
    assert!(a.data.len() >= a.span(m, k) && b.data.len() >= b.span(k, n) && out.len() >= m * n);
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: the assertion above keeps every element that these sizes and strides reach inside its slice, and `out` is
    // borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            f32::from(add),
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}
