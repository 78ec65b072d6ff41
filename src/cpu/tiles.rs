//! Weights cut into column tiles, so that a tile's potentials fit the registers and its gradient has one owner.

use crate::weights::Matrix;
use bytemuck::{Pod, Zeroable};
use std::ops::{Deref, DerefMut};

/// Widths of tiles are multiples of this, and every partial sum has this many lanes.
pub const LANES: usize = 16;
/// Widest tile: its rows stay in the first cache while V or δ passes over them, and a thousand of them in the second.
pub const WIDEST: usize = 128;

/// Calls `$f::<W>($args)` with the tile width as a constant, `$f::<W, C, D>($args)` where `with C, D` follows.
macro_rules! with_width {
    ($width:expr, $f:ident($($arg:expr),* $(,)?)) => { with_width!($width, $f($($arg),*) with) };
    ($width:expr, $f:ident($($arg:expr),* $(,)?) with $($constant:tt),*) => {
        match $width {
            16 => $f::<16 $(, $constant)*>($($arg),*),
            32 => $f::<32 $(, $constant)*>($($arg),*),
            48 => $f::<48 $(, $constant)*>($($arg),*),
            64 => $f::<64 $(, $constant)*>($($arg),*),
            80 => $f::<80 $(, $constant)*>($($arg),*),
            96 => $f::<96 $(, $constant)*>($($arg),*),
            112 => $f::<112 $(, $constant)*>($($arg),*),
            128 => $f::<128 $(, $constant)*>($($arg),*),
            width => unreachable!("a tile is a multiple of 16 and at most 128 columns wide, not {width}"),
        }
    };
}
pub(crate) use with_width;

/// As many numbers as a vector register holds, on a cache line of their own: a load that crosses lines costs double.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Lanes([f32; LANES]);

/// An array beginning on a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Aligned<const N: usize>(pub [f32; N]);

/// A vector of whole lanes beginning on a cache line; a slice in use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlignedVec(Vec<Lanes>);

impl AlignedVec {
    /// `n` zeros; `n` must be a multiple of [`LANES`].
    pub fn zeros(n: usize) -> Self {
        AlignedVec(vec![Lanes([0.0; LANES]); n / LANES])
    }

    /// Makes the vector `n` long, a multiple of [`LANES`]; what is new is 0.
    pub fn resize(&mut self, n: usize) {
        self.0.resize(n / LANES, Lanes([0.0; LANES]));
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<Lanes>() * self.0.capacity()
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
    /// Columns, padding included: a multiple of [`LANES`], at most [`WIDEST`].
    pub width: usize,
    /// Columns without padding.
    pub used: usize,
}

/// The tiles of `cols` columns: as few as there can be, all of one width but the last, which may be narrower.
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

/// `cols` rounded up to whole lanes: the length of a vector over all tiles.
pub fn padded(cols: usize) -> usize {
    cols.next_multiple_of(LANES)
}

/// A matrix as a vector of tiles; a tile is row-major [rows, width], its padding columns stay 0.
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
        let tiles = columns
            .iter()
            .map(|tile| {
                let mut data = AlignedVec::zeros(matrix.rows * tile.width);
                for (i, row) in data.chunks_exact_mut(tile.width).enumerate() {
                    row[..tile.used].copy_from_slice(&matrix.row(i)[tile.begin..][..tile.used]);
                }
                data
            })
            .collect();
        TiledMatrix { rows: matrix.rows, cols: matrix.cols, columns, tiles }
    }

    /// Joins the tiles to a row-major matrix again.
    pub fn join(&self) -> Matrix {
        let mut matrix = Matrix::zeros(self.rows, self.cols);
        for (tile, data) in self.columns.iter().zip(&self.tiles) {
            for (i, row) in data.chunks_exact(tile.width).enumerate() {
                matrix.data[i * self.cols + tile.begin..][..tile.used].copy_from_slice(&row[..tile.used]);
            }
        }
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
