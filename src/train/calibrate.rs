//! Rescales initial weights so that each spiking neuron spikes
//! [`initial_spikes`](super::RunConfig::initial_spikes) times per sample on average.
//!
//! How often a layer spikes depends on its input: how many neurons of the layer below spike, when, and how that relates to
//! the time constants. In deep networks, spike counts may decrease from layer to layer until upper layers do not spike and
//! have no gradient. So the weights of each spiking layer, from the lowest to the highest, are multiplied by the factor
//! that gives the required mean spike count on the first batch. The factor is found by bisection and is deterministic for
//! the same seed, data and device.
//!
//! Recurrent weights stay as they are drawn: with larger ones, activity sustains itself, and the spike count jumps from few to very
//! many with the factor.

use crate::engine::{Engine, TrainingState};
use crate::error::{Error, Result};
use crate::events::EventSet;

/// Factors are searched from 2^-RANGE to 2^RANGE.
const RANGE: f64 = 12.0;
/// Relative tolerance of the spike count.
const CLOSE: f64 = 0.02;
/// Maximum number of bisection steps. The factor is then accurate to 2^(24 / 2^20).
const HALVINGS: usize = 20;

/// Rescales the spiking layers' weights in `state`; returns the factors.
///
/// # Errors
/// [`Error::Config`] if a layer spikes less with any factor; errors of the device.
pub fn calibrate(
    engine: &mut dyn Engine,
    batch: &EventSet,
    spikes: f64,
    state: &mut TrainingState,
) -> Result<Vec<f64>> {
    let widths: Vec<usize> = engine.network().spiking().map(|layer| layer.neurons).collect();
    let mut factors = Vec::with_capacity(widths.len());
    let input_rows = engine.network().input_rows();
    for (l, &neurons) in widths.iter().enumerate() {
        let drawn = state.weights.layers[l].clone();
        let mut measure = |power: f64| -> Result<f64> {
            let scaled = input_rows[l] * drawn.cols;
            for (w, &drawn) in state.weights.layers[l].data.iter_mut().zip(&drawn.data[..scaled]) {
                *w = (f64::from(drawn) * power.exp2()) as f32;
            }
            engine.load(state)?;
            let counted = engine.predict_together(batch)?.spikes[l];
            Ok(counted as f64 / (batch.len() * neurons) as f64)
        };
        // Powers far above the result are not tried: nearly every entry would spike, which takes a hundred times the memory
        // of a step.
        let (mut few, mut enough) = (-RANGE, 0.0);
        let mut counted = measure(enough)?;
        while counted < spikes && enough < RANGE {
            (few, enough) = (enough, enough + 1.0);
            counted = measure(enough)?;
        }
        if counted < spikes {
            return Err(Error::Config(format!(
                "initial_spikes = {spikes}: the neurons of {} spike at most {counted:.3} times with any rescaling; use a lower \
                 value, or 0 for no rescaling",
                engine.network().layer_name(l)
            )));
        }
        let (mut low, mut high) = (-RANGE, RANGE);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            let too_few = match middle {
                middle if middle < few => true,
                middle if middle > enough => false,
                _ => {
                    let counted = measure(middle)?;
                    if (counted - spikes).abs() < CLOSE * spikes {
                        (low, high) = (middle, middle);
                        break;
                    }
                    counted < spikes
                }
            };
            *(if too_few { &mut low } else { &mut high }) = middle;
        }
        let power = 0.5 * (low + high);
        measure(power)?;
        factors.push(power.exp2());
    }
    Ok(factors)
}

#[cfg(all(test, feature = "data"))]
mod tests {
    use super::*;
    use crate::data::fashion_mnist;
    use crate::data::latency::LatencyCode;
    use crate::device::Device;
    use crate::engine::Method;
    use crate::presets;
    use crate::weights::Weights;

    fn images(n: usize) -> EventSet {
        fashion_mnist::load_subset(&LatencyCode::new(100, 1.0)).unwrap().train.head(n)
    }

    #[test]
    fn every_layer_spikes_as_often_as_asked() {
        let mut network = presets::paper("fmnist").unwrap().network;
        network.set_hidden(&[40, 30, 20, 20]).unwrap();
        let batch = images(32);
        let drawn = Weights::init(&network, 5);
        let mut engine = Device::Cpu.open(&network, Method::Sparse, &drawn).unwrap();
        for target in [0.3, 2.0] {
            let mut state = TrainingState::new(drawn.clone());
            let factors = calibrate(engine.as_mut(), &batch, target, &mut state).unwrap();
            assert_eq!(factors.len(), 4);
            engine.load(&state).unwrap();
            let counted = engine.predict(&batch).unwrap().spikes;
            for (l, layer) in network.hidden.iter().enumerate() {
                let mean = counted[l] as f64 / (32 * layer.neurons) as f64;
                assert!((mean - target).abs() < 0.1 * target, "layer {l} spikes {mean} times for {target}");
                let (w, before) = (state.weights.layers[l].data[3], drawn.layers[l].data[3]);
                assert!((f64::from(w) - factors[l] * f64::from(before)).abs() < 1e-6);
            }
            assert_eq!(state.weights.layers[4], drawn.layers[4], "the readout stays as it is drawn");
            let mut again = TrainingState::new(drawn.clone());
            assert_eq!(calibrate(engine.as_mut(), &batch, target, &mut again).unwrap(), factors);
            assert_eq!(again, state);
        }
    }

    #[test]
    fn recurrent_layers_spike_as_often_as_asked() {
        let mut network = presets::ours("fmnist").unwrap().network;
        network.set_hidden(&[60, 40]).unwrap();
        network.connect_hidden().unwrap();
        let batch = images(32);
        for seed in 0..3 {
            let drawn = Weights::init(&network, seed);
            let mut engine = Device::Cpu.open(&network, Method::Sparse, &drawn).unwrap();
            let mut state = TrainingState::new(drawn.clone());
            calibrate(engine.as_mut(), &batch, 2.0, &mut state).unwrap();
            let counted = engine.predict(&batch).unwrap().spikes;
            for (l, layer) in network.hidden.iter().enumerate() {
                let mean = counted[l] as f64 / (32 * layer.neurons) as f64;
                assert!((mean - 2.0).abs() < 0.2, "seed {seed}: layer {l} spikes {mean} times");
                let own = network.input_rows()[l] * layer.neurons;
                assert_eq!(state.weights.layers[l].data[own..], drawn.layers[l].data[own..]);
            }
        }
    }

    #[test]
    fn what_no_weights_reach_is_refused() {
        let network = presets::paper("fmnist").unwrap().network;
        let mut state = TrainingState::new(Weights::init(&network, 5));
        let mut engine = Device::Cpu.open(&network, Method::Sparse, &state.weights).unwrap();
        let error = calibrate(engine.as_mut(), &images(4), 101.0, &mut state).unwrap_err().to_string();
        assert!(error.contains("initial_spikes = 101") && error.contains("hidden[0]"), "{error}");
        let mut silent = EventSet::new(784, 100);
        silent.push([], 0).unwrap();
        assert!(calibrate(engine.as_mut(), &silent, 0.1, &mut state).is_err());
    }
}
