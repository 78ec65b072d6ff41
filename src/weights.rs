//! Weight matrices on the host and their initialisation.

use crate::error::{Error, Result, harmless};
use crate::network::{Initialisation, Network};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::borrow::Cow;

/// One row-major [N_in, N_out] matrix per layer, the readout's last. The matrix of a
/// [`Convolution`](crate::network::Convolution) is [channels · kernel², filters]. A recurrent layer has its recurrent weights,
/// [N_out, N_out], in additional rows below those of its inputs; a layer with biases has them in an additional last row.
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

    /// Whether all numbers are finite.
    pub(crate) fn is_finite(&self) -> bool {
        // Without an early end, which would keep it from being vectorised.
        self.data.iter().fold(true, |finite, x| finite & x.is_finite())
    }

    /// The transpose. Converts a convolution's matrix to the layout of files and back.
    pub fn transposed(&self) -> Matrix {
        Matrix { rows: self.cols, cols: self.rows, data: transposed(&self.data, self.rows, self.cols) }
    }
}

/// A named tensor of a weight layer ([`Weights::tensors`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// `w.l`, `r.l` or `b.l`, l being the layer.
    pub name: String,
    /// Row-major extents.
    pub extents: Vec<usize>,
    /// The numbers.
    pub data: Vec<f32>,
}

/// A tensor of a weight layer in the layout of files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileTensor<'a> {
    /// Row-major extents: [N_in, N_out], [filters, channels, kernel, kernel] for a convolution, [N_out, N_out] for recurrent
    /// weights, or for biases [N_out] or [filters].
    pub extents: Vec<usize>,
    /// The numbers, borrowed where files have the layout of the matrix.
    pub data: Cow<'a, [f32]>,
}

/// Contents of a weight layer's tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorPart {
    /// Weights: `w.l`.
    Weights,
    /// Recurrent weights: `r.l`.
    Recurrent,
    /// Biases: `b.l`.
    Biases,
}

impl TensorPart {
    /// `w`, `r` or `b`.
    pub fn letter(self) -> char {
        match self {
            TensorPart::Weights => 'w',
            TensorPart::Recurrent => 'r',
            TensorPart::Biases => 'b',
        }
    }
}

/// Layer index, part and file extents of each tensor of `network`. The parts of a layer are in the order of the matrix's rows.
pub(crate) fn file_tensors(network: &Network) -> impl Iterator<Item = (usize, TensorPart, Vec<usize>)> {
    let more = network.recurrent_inputs().into_iter().zip(network.biases());
    network.weight_extents().into_iter().zip(more).enumerate().flat_map(|(l, (extents, (own, bias)))| {
        // [N_in, N_out], or [filters, channels, kernel, kernel].
        let outputs = if extents.len() > 2 { extents[0] } else { extents[1] };
        let recurrent = (own > 0).then(|| (l, TensorPart::Recurrent, vec![own, outputs]));
        let biases = bias.then(|| (l, TensorPart::Biases, vec![outputs]));
        [(l, TensorPart::Weights, extents)].into_iter().chain(recurrent).chain(biases)
    })
}

/// The data of each matrix of `network`, from file tensors returned by `read`.
pub(crate) fn from_file<T: Copy, E>(
    network: &Network,
    mut read: impl FnMut(usize, TensorPart, &[usize]) -> Result<Vec<T>, E>,
) -> Result<Vec<Vec<T>>, E> {
    let mut layers: Vec<Vec<T>> = Vec::new();
    for (l, part, extents) in file_tensors(network) {
        let data = read(l, part, &extents)?;
        match (part, extents.as_slice(), layers.last_mut()) {
            // Further rows of the matrix.
            (TensorPart::Recurrent | TensorPart::Biases, _, Some(layer)) => layer.extend(data),
            (_, [filters, patch @ ..], _) if patch.len() > 1 => {
                layers.push(transposed(&data, *filters, patch.iter().product()));
            }
            _ => layers.push(data),
        }
    }
    Ok(layers)
}

/// The transpose of a row-major matrix of `rows` × `cols` numbers.
pub(crate) fn transposed<T: Copy>(data: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..cols).flat_map(|j| (0..rows).map(move |i| data[i * cols + j])).collect()
}

impl Weights {
    /// Initial weights of `network`; the same seed gives the same weights on every machine.
    pub fn init(network: &Network, seed: u64) -> Self {
        let layers = network.weight_shapes().len();
        Weights { layers: (0..layers).map(|l| init_layer(network, l, seed, 0, 1.0)).collect() }
    }

    /// Zeros, in the same shapes.
    pub fn zeros(&self) -> Self {
        Weights { layers: self.layers.iter().map(|m| Matrix::zeros(m.rows, m.cols)).collect() }
    }

    /// Zeros, in the network's shapes.
    pub fn zeros_of(network: &Network) -> Self {
        Weights { layers: network.weight_shapes().into_iter().map(|(rows, cols)| Matrix::zeros(rows, cols)).collect() }
    }

    /// The tensors in the layout of files, each with its layer and part.
    pub(crate) fn to_file(&self, network: &Network) -> Vec<(usize, TensorPart, FileTensor<'_>)> {
        let tensor = |(l, part, extents): (usize, TensorPart, Vec<usize>)| {
            let Matrix { cols, data, .. } = &self.layers[l];
            let begin = match part {
                TensorPart::Weights => 0,
                TensorPart::Recurrent => network.input_rows()[l] * cols,
                TensorPart::Biases => data.len() - cols,
            };
            let end = data.len().min(begin + extents.iter().product::<usize>());
            let data = &data[begin.min(end)..end];
            let data = match extents.len() {
                4 => Cow::Owned(transposed(data, data.len() / cols, *cols)),
                _ => Cow::Borrowed(data),
            };
            (l, part, FileTensor { extents, data })
        };
        file_tensors(network).map(tensor).collect()
    }

    /// The weights as named tensors, in the layout of files: `w.l`, [N_in, N_out] (a convolution: [filters, channels, kernel,
    /// kernel]), `r.l`, [N_out, N_out], where it is recurrent, and `b.l`, \[N_out\] or \[filters\], where it has biases.
    pub fn tensors(&self, network: &Network) -> Vec<Tensor> {
        let named = |(l, part, FileTensor { extents, data }): (usize, TensorPart, FileTensor)| Tensor {
            name: format!("{}.{l}", part.letter()),
            extents,
            data: data.into_owned(),
        };
        self.to_file(network).into_iter().map(named).collect()
    }

    /// Weights from tensors as [`tensors`](Self::tensors) returns them, in any order.
    ///
    /// # Errors
    /// [`Error::Config`] naming a tensor that is missing, given twice, of another shape, or of no layer; [`Error::NotFinite`]
    /// for a NaN or infinity.
    pub fn from_tensors(network: &Network, mut tensors: Vec<Tensor>) -> Result<Self> {
        let data = from_file(network, |l, part, extents| {
            let name = format!("{}.{l}", part.letter());
            let Some(at) = tensors.iter().position(|tensor| tensor.name == name) else {
                return Err(Error::Config(format!("tensor {name} is missing; its shape is {extents:?}")));
            };
            let tensor = tensors.swap_remove(at);
            match tensor.extents == extents && tensor.data.len() == extents.iter().product::<usize>() {
                true => Ok(tensor.data),
                false => Err(Error::Config(format!(
                    "tensor {name} has the shape {:?}, the network requires {extents:?}",
                    tensor.extents
                ))),
            }
        })?;
        if let Some(other) = tensors.first() {
            return Err(Error::Config(format!(
                "tensor {} is given twice or belongs to no layer; remove it",
                harmless(&other.name)
            )));
        }
        let shapes = network.weight_shapes().into_iter().zip(data);
        let weights = Weights { layers: shapes.map(|((rows, cols), data)| Matrix { rows, cols, data }).collect() };
        weights.check(network)?;
        Ok(weights)
    }

    /// Checks that the shapes are the network's and all weights are finite.
    ///
    /// # Errors
    /// [`Error::Config`] for a wrong shape, [`Error::NotFinite`] for a NaN or infinity.
    pub fn check(&self, network: &Network) -> Result<()> {
        self.check_shapes(network)?;
        for (l, matrix) in self.layers.iter().enumerate() {
            let broken = (!matrix.is_finite()).then(|| matrix.data.iter().position(|w| !w.is_finite()));
            if let Some(at) = broken.flatten() {
                return Err(Error::NotFinite(format!(
                    "weight ({}, {}) of {} is {}",
                    at / matrix.cols,
                    at % matrix.cols,
                    network.layer_name(l),
                    matrix.data[at]
                )));
            }
        }
        Ok(())
    }

    /// Checks that the shapes are the network's.
    pub(crate) fn check_shapes(&self, network: &Network) -> Result<()> {
        let shapes = network.weight_shapes();
        if shapes.len() != self.layers.len() {
            return Err(Error::Config(format!(
                "{} weight matrices given, the network has {}",
                self.layers.len(),
                shapes.len()
            )));
        }
        for (l, (matrix, shape)) in self.layers.iter().zip(shapes).enumerate() {
            let name = network.layer_name(l);
            if (matrix.rows, matrix.cols) != shape {
                return Err(Error::Config(format!(
                    "the weights of {name} are {} × {}, the network requires {} × {}",
                    matrix.rows, matrix.cols, shape.0, shape.1
                )));
            }
            if matrix.data.len() != matrix.rows * matrix.cols {
                return Err(Error::Config(format!(
                    "the weights of {name} are {} × {}, but {} numbers are given",
                    matrix.rows,
                    matrix.cols,
                    matrix.data.len()
                )));
            }
        }
        Ok(())
    }
}

/// Factor on the scale of initial recurrent weights. With 1, activity sustains itself in networks like the preset `fmnist`: on
/// Fashion-MNIST they begin with densities of 23 and 28 % and do not learn. With 0.5 and less, densities and accuracy are those
/// without recurrent weights (0.7 to 1.1 %).
const RECURRENT_SCALE: f64 = 0.5;

/// Random weights of layer `l`. Those of its inputs are multiplied by `factor`; recurrent ones are not, because activity would
/// sustain itself. `draw` selects the random numbers: 0 for the network's initial weights, others for re-initialised layers.
pub fn init_layer(network: &Network, l: usize, seed: u64, draw: u64, factor: f64) -> Matrix {
    let (rows, cols) = network.weight_shapes()[l];
    let (init, alpha) = match network.hidden.get(l) {
        Some(layer) => (layer.init, layer.alpha(network.dt_ms)),
        None => (network.readout.init(), network.readout.alpha(network.dt_ms)),
    };
    // Each layer and draw has its own stream, so that the width of one layer does not affect the weights of the next.
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1 + l as u64 + (draw << 16));
    let mut data = Vec::with_capacity(rows * cols);
    for (fan_in, factor) in [(network.input_rows()[l], factor), (network.recurrent_inputs()[l], RECURRENT_SCALE)] {
        let root = (fan_in as f64).sqrt();
        data.extend((0..fan_in * cols).map(|_| {
            let w = match init {
                Initialisation::Uniform { scale } => scale / root * (2.0 * rng.random::<f64>() - 1.0),
                Initialisation::Normal { scale } => {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    scale * (1.0 - alpha) / root * normal
                }
            };
            (w * factor) as f32
        }));
    }
    data.resize(rows * cols, 0.0);
    Matrix { rows, cols, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Convolution, Readout, SpikingLayer};

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let network = Network::new(3, 9).layer(SpikingLayer::lif(4)).readout(Readout::sum(2)).build().unwrap();
        let refused = |change: fn(&mut Weights), part: &str| {
            let mut weights = Weights::init(&network, 1);
            change(&mut weights);
            let error = weights.check(&network).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refused(|w| w.layers.truncate(1), "1 weight matrices given, the network has 2");
        refused(|w| w.layers[0].rows = 5, "weights of hidden[0] are 5 × 4, the network requires 3 × 4");
        refused(|w| w.layers[1].data.truncate(7), "weights of readout are 4 × 2, but 7 numbers are given");
        refused(|w| w.layers[1].data[3] = f32::NAN, "weight (1, 1) of readout is NaN");
    }

    #[test]
    fn named_tensors_are_read_as_they_are_written() {
        let conv =
            Convolution { channels: 2, height: 3, width: 4, filters: 3, kernel: 2, stride: 1, padding: 0, pool: 1 };
        let layers = Network::new(24, 5)
            .layer(SpikingLayer::convolution(conv).bias())
            .layer(SpikingLayer::lif(4).recurrent().bias());
        let network = layers.readout(Readout::sum(2)).build().unwrap();
        let mut weights = Weights::init(&network, 3);
        weights.layers[0].data.iter_mut().rev().take(3).for_each(|bias| *bias = 0.25);
        weights.layers[1].data.iter_mut().rev().take(4).for_each(|bias| *bias = 0.5);
        let mut tensors = weights.tensors(&network);
        let shapes: Vec<_> = tensors.iter().map(|t| (t.name.as_str(), t.extents.as_slice())).collect();
        let expected = [
            ("w.0", &[3, 2, 2, 2][..]),
            ("b.0", &[3]),
            ("w.1", &[18, 4]),
            ("r.1", &[4, 4]),
            ("b.1", &[4]),
            ("w.2", &[4, 2]),
        ];
        assert_eq!(shapes, expected);
        assert_eq!(tensors[1].data, [0.25; 3]);
        tensors.reverse();
        assert_eq!(Weights::from_tensors(&network, tensors.clone()).unwrap(), weights);

        let refused = |change: &dyn Fn(&mut Vec<Tensor>), part: &str| {
            let mut changed = tensors.clone();
            change(&mut changed);
            let error = Weights::from_tensors(&network, changed).unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in: {error}");
        };
        refused(&|t| t.truncate(5), "w.0 is missing");
        refused(&|t| _ = t.remove(2), "r.1 is missing; its shape is [4, 4]");
        refused(&|t| t[0].extents = vec![2, 4], "w.2 has the shape [2, 4], the network requires [4, 2]");
        refused(&|t| t[1].data.truncate(3), "b.1");
        refused(&|t| t.push(t[0].clone()), "tensor w.2 is given twice");
        refused(&|t| t[2].data[0] = f32::NAN, "NaN");
    }

    #[test]
    fn recurrent_weights_are_drawn_by_their_own_fan_in() {
        let of = |layer: SpikingLayer| {
            let init = Initialisation::Uniform { scale: 1.0 };
            let network = Network::new(400, 5).layer(layer.init(init).bias()).readout(Readout::sum(2)).build().unwrap();
            Weights::init(&network, 3)
        };
        let (plain, recurrent) = (of(SpikingLayer::lif(100)), of(SpikingLayer::lif(100).recurrent()));
        assert_eq!(plain.layers[0].data[..40_000], recurrent.layers[0].data[..40_000], "W does not depend on R");
        assert_eq!(plain.layers[1], recurrent.layers[1]);
        let largest = |w: &[f32]| w.iter().fold(0.0, |largest: f32, w| largest.max(w.abs()));
        let (w, r) = recurrent.layers[0].data[..50_000].split_at(40_000);
        assert!((0.0499..=0.05).contains(&largest(w)) && (0.0498..=0.05).contains(&largest(r)));
        assert_eq!(recurrent.layers[0].data[50_000..], [0.0; 100], "biases");
    }
}
