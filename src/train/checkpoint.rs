//! Checkpoints, and checks that a run can be continued from one.

#[cfg(feature = "runs")]
mod file;

use super::config::RunConfig;
use super::progress::Progress;
use crate::engine::{LossTerms, TrainingState};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::weights::{FileTensor, TensorPart};

/// The complete state of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The run's configuration.
    pub config: RunConfig,
    /// The run's progress.
    pub progress: Progress,
    /// Weights, moments and step count.
    pub state: TrainingState,
}

impl Checkpoint {
    /// Checks that a run can be continued from this checkpoint.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the tensor or the sum; [`Error::Config`] if shapes are not the network's.
    pub(super) fn check(&self) -> Result<()> {
        for weights in [&self.state.weights, &self.state.first, &self.state.second] {
            weights.check_shapes(&self.config.network)?;
        }
        check_numbers(&self.state, &self.config.network, self.config.adam.lr)?;
        if let Some(what) = unusable_progress(&self.progress) {
            return Err(Error::NotFinite(format!(
                "after step {}, {what}. The previous checkpoint is kept; start again with a lower learning rate (adam.lr, now \
                 {})",
                self.progress.step, self.config.adam.lr
            )));
        }
        Ok(())
    }
}

/// Describes a value that training cannot produce: a number that is not finite, or an invalid device name.
fn unusable_progress(progress: &Progress) -> Option<String> {
    let Progress { device, best, sums, .. } = progress;
    let LossTerms { task, upper, lower } = sums.loss;
    let accuracy = best.map_or(0.0, |best| best.test_accuracy);
    let numbers = [
        ("sums.seconds", sums.seconds),
        ("sums.exchange.seconds", sums.exchange.seconds),
        ("sums.exchange.waiting", sums.exchange.waiting),
        ("sums.loss.task", task),
        ("sums.loss.upper", upper),
        ("sums.loss.lower", lower),
        ("best.test_accuracy", accuracy),
    ];
    match numbers.iter().find(|(_, number)| !number.is_finite()) {
        Some((name, number)) => Some(format!("{name} = {number}")),
        None if device.contains(char::is_control) => Some(format!("device = {device:?}")),
        None => None,
    }
}

/// Prefix of the names of Adam's first moments.
const FIRST_MOMENTS: &str = "adam.m";
/// Prefix of the names of Adam's second moments.
const SECOND_MOMENTS: &str = "adam.v";

/// The name of a tensor: `w.0` for weights, `r.0` for recurrent ones, `b.0` for biases; `adam.m.0`, `adam.m.r.0` and `adam.m.b.0`
/// for their moments.
fn name(moments: &str, l: usize, part: TensorPart) -> String {
    match (moments, part) {
        ("", part) => format!("{}.{l}", part.letter()),
        (moments, TensorPart::Weights) => format!("{moments}.{l}"),
        (moments, part) => format!("{moments}.{}.{l}", part.letter()),
    }
}

/// All tensors of a checkpoint, with their names.
fn tensors<'a>(state: &'a TrainingState, network: &Network) -> Vec<(String, FileTensor<'a>)> {
    [("", &state.weights), (FIRST_MOMENTS, &state.first), (SECOND_MOMENTS, &state.second)]
        .into_iter()
        .flat_map(|(moments, weights)| {
            let tensors = weights.to_file(network).into_iter();
            tensors.map(move |(l, part, tensor)| (name(moments, l, part), tensor))
        })
        .collect()
}

/// Checks that a run can be continued from this state.
///
/// # Errors
/// [`Error::NotFinite`] naming the tensor and what to change.
pub(super) fn check_numbers(state: &TrainingState, network: &Network, lr: f64) -> Result<()> {
    let tensors = tensors(state, network);
    match tensors.iter().find_map(|(name, tensor)| unusable(name, &tensor.extents, &tensor.data)) {
        Some(what) => Err(Error::NotFinite(format!(
            "after step {}, {what}. The previous checkpoint is kept; start again with a lower learning rate (adam.lr, \
             now {lr})",
            state.step
        ))),
        None => Ok(()),
    }
}

/// Describes an invalid value: NaN, infinity, or a negative second moment, whose square root would be NaN.
fn unusable(name: &str, extents: &[usize], data: &[f32]) -> Option<String> {
    let negative_too = name.starts_with(SECOND_MOMENTS);
    let at = data.iter().position(|x| !x.is_finite() || (negative_too && *x < 0.0))?;
    let mut rest = at;
    let mut place: Vec<usize> = extents.iter().rev().map(|n| (rest % n, rest /= n).0).collect();
    place.reverse();
    Some(format!("tensor {name} contains {} at {place:?}", data[at]))
}
