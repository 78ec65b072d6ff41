//! Values of the paper and of its authors' released data, which figures show for comparison.
//!
//! Times and activities are from the released raw data (RTX 6000, batches of 256, second layer only, means over runs),
//! accuracies from the paper's text.

/// The presets, in the paper's order.
pub const SETS: [&str; 3] = ["fmnist", "nmnist", "shd"];

/// Legend of the paper's times.
pub const TIMES_SOURCE: &str = "hollow: the paper's (RTX 6000, B 256, layer 2)";

/// The values of a preset with a given layer size.
pub struct PaperValues {
    /// The preset.
    pub preset: &'static str,
    /// Neurons of both hidden layers.
    pub hidden: usize,
    /// Forward times of dense and sparse, ms.
    pub forward_ms: [f64; 2],
    /// Backward times of dense and sparse, ms.
    pub backward_ms: [f64; 2],
    /// Dense / sparse of the backward pass.
    pub backward_speed_up: f64,
    /// Dense / sparse of forward and backward together.
    pub overall_speed_up: f64,
    /// Activity of both hidden layers, %.
    pub active: [f64; 2],
}

const fn measured(
    preset: &'static str,
    hidden: usize,
    forward_ms: [f64; 2],
    backward_ms: [f64; 2],
    backward_speed_up: f64,
    overall_speed_up: f64,
    active: [f64; 2],
) -> PaperValues {
    PaperValues { preset, hidden, forward_ms, backward_ms, backward_speed_up, overall_speed_up, active }
}

/// All values that depend on the layer size.
pub const MEASURED: [PaperValues; 6] = [
    measured("fmnist", 200, [57.0, 56.0], [31.0, 5.1], 6.1, 1.45, [1.06, 0.87]),
    measured("fmnist", 1000, [56.0, 58.0], [135.0, 23.0], 5.9, 2.36, [1.08, 0.71]),
    measured("nmnist", 200, [171.0, 186.0], [236.0, 6.8], 35.0, 2.11, [1.12, 0.75]),
    measured("nmnist", 1000, [228.0, 222.0], [1151.0, 44.0], 26.0, 5.18, [1.29, 0.82]),
    measured("shd", 200, [248.0, 300.0], [644.0, 15.0], 42.0, 2.83, [1.72, 1.08]),
    measured("shd", 1000, [331.0, 359.0], [3162.0, 89.0], 35.0, 7.79, [1.84, 0.58]),
];

/// The values of the preset with this layer size, if they are known.
pub fn at(preset: &str, hidden: usize) -> Option<&'static PaperValues> {
    MEASURED.iter().find(|m| m.preset == preset && m.hidden == hidden)
}

/// Test accuracy, %.
pub fn accuracy(preset: &str) -> Option<f64> {
    [("fmnist", 82.7), ("fmnist-conv", 86.7), ("nmnist", 92.7), ("shd", 77.5)]
        .into_iter()
        .find(|(name, _)| *name == preset)
        .map(|(_, percent)| percent)
}

/// Memory saved, 1 - sparse/dense, in %: minimum and maximum over the paper's sizes. (The paper's 85 % are
/// dense/sparse - 1.)
pub const MEMORY_SAVED: [f64; 2] = [27.0, 45.0];

/// The smallest and the largest backward threshold in the paper, and its default.
pub const B_TH: [f64; 3] = [1e-4, 0.25, 0.2];
