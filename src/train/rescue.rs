//! Rescue of dead layers by re-initialisation.
//!
//! A spiking layer without active entries has a gradient of exactly 0, as have the layers below it, so training cannot
//! recover (three of the paper's published runs ended like this, with a loss of ln 10). The rule:
//!
//! - It is applied at the end of each epoch except the last, after which new weights would not be trained.
//! - Of the layers that had no active entries in the epoch, the lowest is rescued; those above may only lack input.
//! - Its incoming weights are re-initialised from the run's seed and the number n of its rescues including this one. They
//!   are multiplied by 1.5ⁿ if the layer did not spike, so that potentials come closer to the threshold, or by 1.5⁻ⁿ if
//!   it did, so that steps of the potential become smaller than the active range. In the factor, n is limited to 8. Recurrent weights
//!   are re-initialised without the factor.
//! - Its Adam moments are set to 0; the step count is unchanged.
//!
//! Rescues are logged and reported as `rescued` in `metrics.jsonl`. `rescue = false` in the configuration disables them.

use super::progress::EpochSums;
use crate::engine::TrainingState;
use crate::network::Network;
use crate::weights::{Matrix, init_layer};
use serde::{Deserialize, Serialize};

/// The factor of the first rescue of a silent layer.
const FACTOR: f64 = 1.5;
/// Maximum power of the factor: 1.5⁸ = 25.6. Larger weights would not help.
const MAX_POWER: i32 = 8;

/// A re-initialised layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rescue {
    /// The spiking layer, from 0.
    pub layer: usize,
    /// How often it has been re-initialised, including this time.
    pub draw: u64,
    /// Factor by which its new weights were multiplied.
    pub factor: f64,
}

/// The lowest spiking layer that had no active entry in the epoch.
pub fn lowest_dead(sums: &EpochSums) -> Option<usize> {
    sums.active.iter().position(|&n| n == 0)
}

/// Re-initialises the weights of spiking layer `layer` for the `draw`th time (from 1). `spiked` says whether it spiked.
pub fn redraw(
    network: &Network,
    seed: u64,
    layer: usize,
    draw: u64,
    spiked: bool,
    state: &mut TrainingState,
) -> Rescue {
    let power = i32::try_from(draw).map_or(MAX_POWER, |n| n.min(MAX_POWER));
    let factor = FACTOR.powi(if spiked { -power } else { power });
    let weights = init_layer(network, layer, seed, draw, factor);
    state.first.layers[layer] = Matrix::zeros(weights.rows, weights.cols);
    state.second.layers[layer] = Matrix::zeros(weights.rows, weights.cols);
    state.weights.layers[layer] = weights;
    Rescue { layer, draw, factor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing;
    use crate::weights::Weights;

    #[test]
    fn the_lowest_layer_without_active_entries_is_chosen() {
        let sums = |active: &[u64]| EpochSums { active: active.to_vec(), ..EpochSums::default() };
        assert_eq!(lowest_dead(&sums(&[1, 0, 0])), Some(1));
        assert_eq!(lowest_dead(&sums(&[0, 5, 0])), Some(0));
        assert_eq!(lowest_dead(&sums(&[2, 1])), None);
    }

    #[test]
    fn only_the_layer_changes_and_each_draw_is_another() {
        let network = testing::config().network;
        let weights = Weights::init(&network, 1);
        let before = TrainingState { step: 9, first: weights.clone(), second: weights.clone(), weights };
        let mut state = before.clone();
        let first = redraw(&network, 1, 1, 1, false, &mut state);
        assert_eq!(first, Rescue { layer: 1, draw: 1, factor: 1.5 });
        assert_eq!(state.step, 9);
        for l in [0, 2] {
            assert_eq!(state.weights.layers[l], before.weights.layers[l]);
            assert_eq!(state.first.layers[l], before.first.layers[l]);
        }
        assert_eq!(state.weights.layers[1], init_layer(&network, 1, 1, 1, 1.5));
        assert!(state.first.layers[1].data.iter().chain(&state.second.layers[1].data).all(|&x| x == 0.0));

        let drawn = state.weights.clone();
        assert_eq!(redraw(&network, 1, 1, 2, true, &mut state).factor, 1.0 / 2.25);
        assert_ne!(state.weights, drawn);
        assert_eq!(redraw(&network, 1, 1, u64::MAX >> 17, false, &mut state).factor, 1.5f64.powi(8));
    }
}
