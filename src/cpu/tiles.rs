//! Weight matrices cut into column tiles. The potentials of a tile fit into registers, and its gradient is summed by one
//! thread.

use crate::weights::Matrix;
use bytemuck::{Pod, Zeroable};
use std::ops::{Deref, DerefMut};

/// Lanes of a vector: tile widths are multiples of this, and every sum has this many partial sums.
pub const LANES: usize = 16;
/// Maximum width of a tile: a few of its rows fit into the first-level cache, a thousand into the second-level cache.
pub const WIDEST: usize = 128;

/// Calls `$f::<W>($args)` with the tile width as a constant, or `$f::<W, C, D>($args)` if `with C, D` follows.
macro_rules! with_width {
    ($width:expr, $($f:ident)::+($($arg:expr),* $(,)?)) => { with_width!($width, $($f)::+($($arg),*) with) };
    ($width:expr, $($f:ident)::+($($arg:expr),* $(,)?) with $($constant:tt),*) => {
        match $width {
            16 => $($f)::+::<16 $(, $constant)*>($($arg),*),
            32 => $($f)::+::<32 $(, $constant)*>($($arg),*),
            48 => $($f)::+::<48 $(, $constant)*>($($arg),*),
            64 => $($f)::+::<64 $(, $constant)*>($($arg),*),
            80 => $($f)::+::<80 $(, $constant)*>($($arg),*),
            96 => $($f)::+::<96 $(, $constant)*>($($arg),*),
            112 => $($f)::+::<112 $(, $constant)*>($($arg),*),
            128 => $($f)::+::<128 $(, $constant)*>($($arg),*),
            width => unreachable!("a tile is a multiple of 16 and at most 128 columns wide, not {width}"),
        }
    };
}
pub(crate) use with_width;

/// The numbers of a vector register, on a cache line of their own: loads that cross cache lines take twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct AlignedLanes([f32; LANES]);

/// An array that begins on a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Aligned<const N: usize>(pub [f32; N]);

/// A vector that begins on a cache line and whose length is a multiple of [`LANES`]. Dereferences to a slice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlignedVec(Vec<AlignedLanes>);

impl AlignedVec {
    /// `n` zeros; `n` must be a multiple of [`LANES`].
    pub fn zeros(n: usize) -> Self {
        AlignedVec(vec![AlignedLanes([0.0; LANES]); n / LANES])
    }

    /// Sets the length to `n`, a multiple of [`LANES`]; new elements are 0.
    pub fn resize(&mut self, n: usize) {
        self.0.resize(n / LANES, AlignedLanes([0.0; LANES]));
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<AlignedLanes>() * self.0.capacity()
    }
}

impl Deref for AlignedVec {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for AlignedVec {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Which columns a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// First column.
    pub begin: usize,
    /// Number of columns with padding: a multiple of [`LANES`], at most [`WIDEST`].
    pub width: usize,
    /// Number of columns without padding.
    pub used: usize,
}

impl Columns {
    /// Copies a tile with these columns to a row-major matrix.
    pub fn copy_to(&self, matrix: &mut Matrix, tile: &[f32]) {
        for (row, own) in matrix.data.chunks_exact_mut(matrix.cols).zip(tile.chunks_exact(self.width)) {
            row[self.begin..][..self.used].copy_from_slice(&own[..self.used]);
        }
    }
}

/// Divides `cols` columns into as few tiles as possible, all of the same width except the last, which may be narrower.
pub fn tiles_of(cols: usize) -> Vec<Columns> {
    let width = cols.div_ceil(cols.div_ceil(WIDEST).max(1)).next_multiple_of(LANES).max(LANES);
    (0..cols)
        .step_by(width)
        .map(|begin| {
            let used = (cols - begin).min(width);
            Columns { begin, width: used.next_multiple_of(LANES), used }
        })
        .collect()
}

/// `cols` rounded up to a multiple of [`LANES`]: the length of a vector over all tiles.
pub fn padded(cols: usize) -> usize {
    cols.next_multiple_of(LANES)
}

/// A matrix as column tiles. A tile is row-major [rows, width] with zeros in its padding columns.
#[derive(Debug, Clone, PartialEq)]
pub struct TiledMatrix {
    /// Rows (presynaptic neurons).
    pub rows: usize,
    /// Columns (postsynaptic neurons), without padding.
    pub cols: usize,
    /// Which columns each tile holds.
    pub columns: Vec<Columns>,
    /// The tiles.
    pub tiles: Vec<AlignedVec>,
}

impl TiledMatrix {
    /// Cuts a row-major matrix.
    pub fn cut(matrix: &Matrix) -> Self {
        let columns = tiles_of(matrix.cols);
        let tiles = columns.iter().map(|tile| AlignedVec::zeros(matrix.rows * tile.width)).collect();
        let mut tiled = TiledMatrix { rows: matrix.rows, cols: matrix.cols, columns, tiles };
        tiled.fill(matrix);
        tiled
    }

    /// Takes the numbers of a matrix of the same shape.
    pub fn fill(&mut self, matrix: &Matrix) {
        for (tile, data) in self.columns.iter().zip(&mut self.tiles) {
            for (i, row) in data.chunks_exact_mut(tile.width).enumerate() {
                row[..tile.used].copy_from_slice(&matrix.row(i)[tile.begin..][..tile.used]);
                // Steps compute with the columns beyond as well, which would keep a NaN.
                row[tile.used..].fill(0.0);
            }
        }
    }

    /// Joins the tiles into a row-major matrix.
    pub fn join(&self) -> Matrix {
        let mut matrix = Matrix::zeros(self.rows, self.cols);
        self.columns.iter().zip(&self.tiles).for_each(|(columns, tile)| columns.copy_to(&mut matrix, tile));
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_and_joining_is_the_identity() {
        for cols in [1, 15, 16, 17, 64, 65, 200, 257] {
            let data = (0..3 * cols).map(|x| x as f32 + 1.0).collect();
            let matrix = Matrix { rows: 3, cols, data };
            let tiled = TiledMatrix::cut(&matrix);
            assert_eq!(tiled.columns.iter().map(|c| c.width).sum::<usize>(), padded(cols));
            assert_eq!(tiled.join(), matrix);
        }
    }
}
