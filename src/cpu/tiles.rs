//! Weights cut into column tiles, so that a tile's potentials fit the registers and its gradient has one owner.

use crate::weights::Matrix;

/// Widths of tiles are multiples of this, and every partial sum has this many lanes.
pub const LANES: usize = 16;
/// Width of all tiles but the last of a matrix.
pub const TILE: usize = 64;

/// Calls `$f::<W>($args)` with the tile width as a constant.
macro_rules! with_width {
    ($width:expr, $f:ident($($arg:expr),* $(,)?)) => {
        match $width {
            16 => $f::<16>($($arg),*),
            32 => $f::<32>($($arg),*),
            48 => $f::<48>($($arg),*),
            64 => $f::<64>($($arg),*),
            width => unreachable!("a tile is 16, 32, 48 or 64 columns wide, not {width}"),
        }
    };
}
pub(crate) use with_width;

/// Which columns a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// First column.
    pub begin: usize,
    /// Columns, padding included: 16, 32, 48 or 64.
    pub width: usize,
}

/// The tiles of `cols` columns: 64 wide, the last as narrow as multiples of 16 allow.
pub fn tiles_of(cols: usize) -> Vec<Columns> {
    (0..cols)
        .step_by(TILE)
        .map(|begin| Columns { begin, width: (cols - begin).next_multiple_of(LANES).min(TILE) })
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
    pub tiles: Vec<Vec<f32>>,
}

impl TiledMatrix {
    /// Cuts a row-major matrix.
    pub fn cut(matrix: &Matrix) -> Self {
        let columns = tiles_of(matrix.cols);
        let tiles = columns
            .iter()
            .map(|tile| {
                let used = tile.width.min(matrix.cols - tile.begin);
                let mut data = vec![0.0; matrix.rows * tile.width];
                for (i, row) in data.chunks_exact_mut(tile.width).enumerate() {
                    row[..used].copy_from_slice(&matrix.row(i)[tile.begin..][..used]);
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
            let used = tile.width.min(self.cols - tile.begin);
            for (i, row) in data.chunks_exact(tile.width).enumerate() {
                matrix.data[i * self.cols + tile.begin..][..used].copy_from_slice(&row[..used]);
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
