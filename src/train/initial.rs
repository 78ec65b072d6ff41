//! The weights that a run begins with.

use super::RunConfig;
use crate::error::Result;
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
