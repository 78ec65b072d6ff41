//! The weights that a run begins with.

use super::RunConfig;
use super::calibrate::calibrate;
use crate::engine::{Engine, TrainingState};
use crate::error::Result;
use crate::events::EventSet;
use crate::weights::Weights;

/// The weights that training with `config` begins with: those of the file [`RunConfig::weights`], or random ones from the seed.
///
/// # Errors
/// Those of [`load_weights`](crate::results::load_weights); [`Error::Unsupported`](crate::Error::Unsupported) for a file without
/// the feature `runs`.
pub fn initial_weights(config: &RunConfig) -> Result<Weights> {
    match &config.weights {
        None => Ok(Weights::init(&config.network, config.seed)),
        #[cfg(feature = "runs")]
        Some(path) => crate::results::load_weights(path, &config.network),
        #[cfg(not(feature = "runs"))]
        Some(_) => Err(crate::Error::Unsupported("files of weights need the feature `runs`".into())),
    }
}

/// The state that training with `config` on the samples `train` begins with, and the factors by which the weights of the spiking
/// layers were rescaled; none if they were not. [`initial_weights`] are rescaled on the first batch if they are random and
/// [`RunConfig::initial_spikes`] is set.
///
/// # Errors
/// Those of [`initial_weights`] and [`calibrate`]; [`Error::Config`](crate::Error::Config) if the weights do not fit the
/// network.
pub fn initial_state(
    engine: &mut dyn Engine,
    config: &RunConfig,
    train: &EventSet,
) -> Result<(TrainingState, Vec<f64>)> {
    let weights = initial_weights(config)?;
    weights.check(&config.network)?;
    let mut state = TrainingState::new(weights);
    // Given weights are not scaled: they are trained already, or another program's.
    let factors = match config.initial_spikes > 0.0 && config.weights.is_none() {
        true => calibrate(engine, &train.head(config.batch), config.initial_spikes, &mut state)?,
        false => Vec::new(),
    };
    Ok((state, factors))
}
