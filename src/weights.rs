//! Weight matrices on the host, and how they begin.

use crate::error::{Error, Result};
use crate::network::{Initialisation, Network};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// One row-major [N_in, N_out] matrix per layer, the readout's last; of a convolution [channels · kernel², filters]
/// ([`Convolution`](crate::network::Convolution)).
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The matrices.
    pub layers: Vec<Matrix>,
}

/// A row-major matrix: row i holds the weights from presynaptic neuron i.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Presynaptic neurons, N_in.
    pub rows: usize,
    /// Postsynaptic neurons, N_out.
    pub cols: usize,
    /// `rows * cols` numbers.
    pub data: Vec<f32>,
}

impl Matrix {
    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Matrix { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// The weights from presynaptic neuron `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..][..self.cols]
    }

    /// Rows become columns. A convolution's matrix turns into what files hold, and back.
    pub fn transposed(&self) -> Matrix {
        Matrix { rows: self.cols, cols: self.rows, data: transposed(&self.data, self.rows, self.cols) }
    }
}

/// A row-major matrix of `rows` × `cols` numbers, rows turned into columns.
pub(crate) fn transposed<T: Copy>(data: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..cols).flat_map(|j| (0..rows).map(move |i| data[i * cols + j])).collect()
}

impl Weights {
    /// Initial weights of `network`; the same seed gives the same weights on every machine.
    pub fn init(network: &Network, seed: u64) -> Self {
        let layers = network.weight_shapes().len();
        Weights { layers: (0..layers).map(|l| init_layer(network, l, seed, 0, 1.0)).collect() }
    }

    /// Zeros of the same shapes.
    pub fn zeros(&self) -> Self {
        Weights { layers: self.layers.iter().map(|m| Matrix::zeros(m.rows, m.cols)).collect() }
    }

    /// Zeros of the network's shapes.
    pub fn zeros_of(network: &Network) -> Self {
        Weights { layers: network.weight_shapes().into_iter().map(|(rows, cols)| Matrix::zeros(rows, cols)).collect() }
    }

    /// Says which matrix does not have the network's shape or holds a NaN or infinity.
    pub fn check(&self, network: &Network) -> Result<()> {
        let shapes = network.weight_shapes();
        if shapes.len() != self.layers.len() {
            return Err(Error::Config(format!(
                "{} weight matrices given, the network has {}",
                self.layers.len(),
                shapes.len()
            )));
        }
        for (l, (matrix, shape)) in self.layers.iter().zip(shapes).enumerate() {
            if (matrix.rows, matrix.cols) != shape || matrix.data.len() != matrix.rows * matrix.cols {
                return Err(Error::Config(format!(
                    "weights of layer {l} are {} × {}, the network's are {} × {}",
                    matrix.rows, matrix.cols, shape.0, shape.1
                )));
            }
            if let Some(at) = matrix.data.iter().position(|w| !w.is_finite()) {
                return Err(Error::NotFinite(format!(
                    "weight ({}, {}) of layer {l} is {}",
                    at / matrix.cols,
                    at % matrix.cols,
                    matrix.data[at]
                )));
            }
        }
        Ok(())
    }
}

/// The weights of layer `l` drawn anew, times `factor`; `draw` 0 is the network's beginning, others a rescue's.
pub fn init_layer(network: &Network, l: usize, seed: u64, draw: u64, factor: f64) -> Matrix {
    let (rows, cols) = network.weight_shapes()[l];
    let (init, alpha) = match network.hidden.get(l) {
        Some(layer) => (layer.init, layer.alpha(network.dt_ms)),
        None => (network.readout.init(), network.readout.alpha(network.dt_ms)),
    };
    // A stream of its own for each layer and draw: the width of one layer does not change the weights of the next.
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1 + l as u64 + (draw << 16));
    let root = (rows as f64).sqrt();
    let data = (0..rows * cols)
        .map(|_| {
            let w = match init {
                Initialisation::Uniform { scale } => scale / root * (2.0 * rng.random::<f64>() - 1.0),
                Initialisation::Normal { scale } => {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    scale * (1.0 - alpha) / root * normal
                }
            };
            (w * factor) as f32
        })
        .collect();
    Matrix { rows, cols, data }
}
