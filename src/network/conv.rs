//! How a hidden layer is connected to the layer below: fully, or as a convolution with max pooling of its spikes.

use super::{MAX_EXTENT, Network};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a hidden layer is connected to the layer below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Connection {
    /// Fully connected.
    #[default]
    Linear,
    /// Convolution and max pooling.
    Conv(Convolution),
}

/// A convolution (cross-correlation, square kernel) followed by max pooling of its spikes.
///
/// The input consists of maps (channel, row, column), flattened in that order; the convolution's neurons are maps (filter,
/// row, column), flattened likewise. Each neuron is an ordinary spiking neuron, and regularisers count it before pooling.
/// The layer above sees pooled spikes: in each time step, a window of `pool` × `pool` neurons spikes if any of its neurons
/// does. Windows do not overlap; rows and columns that do not fill a window are dropped. The gradient of a pooled spike
/// goes to the first neuron of the window that spikes, in row-major order, or to its first neuron if none spikes.
///
/// The weights are a matrix [`channels · kernel²`, `filters`] with rows in the order (channel, row, column) of the
/// kernel, i.e. the transpose of PyTorch's [filters, channels, kernel, kernel].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Number of input maps.
    pub channels: usize,
    /// Rows of each input map.
    pub height: usize,
    /// Columns of each input map.
    pub width: usize,
    /// Number of output maps.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Distance between neighbouring kernel positions.
    #[serde(default = "one")]
    pub stride: usize,
    /// Rows and columns of zeros added on each side; must be smaller than the kernel.
    #[serde(default)]
    pub padding: usize,
    /// Rows and columns of a pooling window; 1 disables pooling.
    #[serde(default = "one")]
    pub pool: usize,
}

fn one() -> usize {
    1
}

impl Convolution {
    fn places(&self, extent: usize) -> usize {
        let room = extent.saturating_add(self.padding.saturating_mul(2));
        room.checked_sub(self.kernel).map_or(0, |room| (room / self.stride.max(1)).saturating_add(1))
    }

    /// Rows of an output map before pooling.
    pub fn rows(&self) -> usize {
        self.places(self.height)
    }

    /// Columns of an output map before pooling.
    pub fn columns(&self) -> usize {
        self.places(self.width)
    }

    /// Neurons of one output map before pooling.
    pub fn pixels(&self) -> usize {
        self.rows().saturating_mul(self.columns())
    }

    /// Rows and columns of an output map after pooling.
    pub fn pooled(&self) -> (usize, usize) {
        (self.rows() / self.pool.max(1), self.columns() / self.pool.max(1))
    }

    /// Number of input neurons.
    pub fn inputs(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    /// Number of neurons, before pooling.
    pub fn neurons(&self) -> usize {
        self.filters.saturating_mul(self.pixels())
    }

    /// Number of pooled neurons, the input of the layer above.
    pub fn outputs(&self) -> usize {
        let (rows, columns) = self.pooled();
        self.filters.saturating_mul(rows).saturating_mul(columns)
    }

    /// Index of the pooling window of neuron `j`; `None` if it is in a dropped row or column.
    pub fn output_of(&self, j: usize) -> Option<usize> {
        let (map, pixel) = (j / self.pixels().max(1), j % self.pixels().max(1));
        let (rows, columns) = self.pooled();
        let (row, column) =
            (pixel / self.columns().max(1) / self.pool.max(1), pixel % self.columns().max(1) / self.pool.max(1));
        (row < rows && column < columns).then(|| (map * rows + row) * columns + column)
    }

    /// Inputs of each neuron, including padding: the rows of the weight matrix.
    pub fn patch(&self) -> usize {
        self.channels.saturating_mul(self.kernel).saturating_mul(self.kernel)
    }

    /// Maximum number of neurons of one output map that an input neuron is connected to.
    pub fn readers(&self) -> usize {
        let along = self.kernel.div_ceil(self.stride.max(1));
        along.saturating_mul(along).min(self.pixels())
    }

    /// Extents of the weights in files: [filters, channels, kernel, kernel].
    pub fn weight_extents(&self) -> [usize; 4] {
        [self.filters, self.channels, self.kernel, self.kernel]
    }

    /// Checks the numbers. `name` is the layer's name, `below` the neurons of the layer below, `neurons` the number of
    /// neurons given for the layer.
    pub(super) fn check(&self, name: &str, below: usize, neurons: usize) -> Result<()> {
        let misfit = |field: &str, value: usize, want: String| {
            Err(Error::field(format!("{name}.connection.{field}"), value, want))
        };
        let bad = |what: String| Err(Error::Config(format!("{name}.connection: {what}")));
        let extents = [
            ("channels", self.channels),
            ("height", self.height),
            ("width", self.width),
            ("filters", self.filters),
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("pool", self.pool),
        ];
        for (field, value) in extents {
            if !(1..=MAX_EXTENT).contains(&value) {
                return misfit(field, value, format!("1 to {MAX_EXTENT}"));
            }
        }
        if self.padding >= self.kernel {
            return misfit("padding", self.padding, format!("less than the kernel, which is {}", self.kernel));
        }
        let maps = format!("{} × {} × {}", self.channels, self.height, self.width);
        if self.inputs() != below {
            return bad(format!(
                "its input is {maps} (channels × height × width) = {} neurons, the layer below has {below}",
                self.inputs()
            ));
        }
        if self.pixels() == 0 {
            return misfit("kernel", self.kernel, format!("no larger than the padded maps of {maps}"));
        }
        if self.outputs() == 0 {
            let (rows, columns) = (self.rows(), self.columns());
            return misfit("pool", self.pool, format!("no larger than the maps of {rows} × {columns}"));
        }
        if self.patch() > MAX_EXTENT {
            let patch = self.patch();
            return bad(format!("channels × kernel² = {patch}: must be at most {MAX_EXTENT}"));
        }
        if self.neurons() != neurons {
            let shape = format!("{} × {} × {}", self.filters, self.rows(), self.columns());
            return Err(Error::Config(format!(
                "{name}.neurons = {neurons}: the convolution has {shape} (filters × rows × columns); write {}",
                self.neurons()
            )));
        }
        Ok(())
    }
}

impl Network {
    /// The first hidden layer that is a convolution.
    pub fn first_conv(&self) -> Option<usize> {
        self.hidden.iter().position(|layer| layer.conv().is_some())
    }

    /// Sets the input maps of convolutions that are 0, and the neurons of these layers if they are 0, from the layer below: the maps of the
    /// input, [channels, height, width], or those of another convolution. Returns the first layer that has no maps below it.
    pub fn fit_convolutions(&mut self, input: Option<[usize; 3]>) -> Option<usize> {
        let mut below = input;
        for (l, layer) in self.hidden.iter_mut().enumerate() {
            let Connection::Conv(conv) = &mut layer.connection else {
                below = None;
                continue;
            };
            if conv.inputs() == 0 {
                let Some(maps) = below else { return Some(l) };
                [conv.channels, conv.height, conv.width] = maps;
                if layer.neurons == 0 {
                    layer.neurons = conv.neurons();
                }
            }
            let (height, width) = conv.pooled();
            below = Some([conv.filters, height, width]);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    fn conv() -> Convolution {
        Convolution { channels: 1, height: 28, width: 28, filters: 64, kernel: 3, stride: 1, padding: 1, pool: 2 }
    }

    #[test]
    fn extents_are_those_of_the_paper() {
        let c = conv();
        assert_eq!((c.rows(), c.columns(), c.neurons(), c.outputs(), c.patch()), (28, 28, 50_176, 12_544, 9));
        let odd = Convolution { channels: 2, height: 7, width: 10, stride: 2, padding: 0, ..c };
        assert_eq!((odd.rows(), odd.columns(), odd.pooled(), odd.patch()), (3, 4, (1, 2), 18));
        assert_eq!([0, 3, 4, 8, 12].map(|j| odd.output_of(j)), [Some(0), Some(1), Some(0), None, Some(2)]);
        let large = Convolution { kernel: 40, ..c };
        assert_eq!((large.pixels(), large.outputs()), (0, 0));
    }

    #[test]
    fn shapes_follow_the_pooled_maps() {
        let mut network = presets::paper("fmnist").unwrap().network;
        network.hidden[0].connection = Connection::Conv(conv());
        network.hidden[0].neurons = 50_176;
        network.check().unwrap();
        assert_eq!(network.weight_shapes(), [(9, 64), (12_544, 200), (200, 10)]);
        assert_eq!(network.sizes(), [784, 50_176, 200, 10]);
        assert_eq!(network.first_conv(), Some(0));
    }

    #[test]
    fn maps_that_are_0_are_those_below() {
        let unfit = Convolution { channels: 0, height: 0, width: 0, filters: 4, ..conv() };
        let mut network = presets::paper("fmnist").unwrap().network;
        for layer in &mut network.hidden {
            (layer.neurons, layer.connection) = (0, Connection::Conv(unfit));
        }
        assert_eq!(network.clone().fit_convolutions(None), Some(0));
        assert_eq!(network.fit_convolutions(Some([1, 28, 28])), None);
        network.check().unwrap();
        let second = network.hidden[1].conv().unwrap();
        assert_eq!((second.channels, second.height, second.width, network.hidden[1].neurons), (4, 14, 14, 4 * 14 * 14));
    }

    #[test]
    fn what_cannot_work_is_named() {
        let refused = |change: &dyn Fn(&mut Convolution), part: &str| {
            let mut network = presets::paper("fmnist").unwrap().network;
            let mut c = conv();
            change(&mut c);
            network.hidden[0].connection = Connection::Conv(c);
            network.hidden[0].neurons = 50_176;
            let error = network.check().unwrap_err().to_string();
            assert!(error.contains("hidden[0]") && error.contains(part), "`{part}` is not in: {error}");
        };
        refused(&|c| c.channels = 2, "1568 neurons, the layer below has 784");
        refused(&|c| c.filters = 8, "write 6272");
        refused(&|c| c.stride = 0, "stride = 0");
        refused(&|c| c.padding = 3, "padding = 3");
        refused(&|c| c.kernel = 40, "kernel = 40");
        refused(&|c| c.pool = 29, "pool = 29");
        refused(&|c| c.kernel = usize::MAX, "kernel = ");
    }

    #[test]
    fn descriptions_without_a_connection_are_linear() {
        let network = presets::paper("fmnist").unwrap().network;
        let text = toml::to_string(&network).unwrap();
        let old: String = text
            .lines()
            .filter(|line| !line.contains("connection") && !line.contains("linear"))
            .map(|l| format!("{l}\n"))
            .collect();
        assert_ne!(old, text);
        assert_eq!(toml::from_str::<Network>(&old).unwrap(), network);
    }
}
