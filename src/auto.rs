//! `--method auto`: chooses sparse or dense for each layer, from the densities measured during training.
//!
//! A layer computes three products with its weights. The sparse cost of the input currents and of the weight gradient is
//! proportional to the spikes of the layer below, that of the spike gradient to the active entries of the layer below.
//! The dense cost is proportional to all entries. So the choice follows the mean density of the three: the layer becomes
//! dense above the device's [`Engine::crossover`](crate::engine::Engine::crossover). A margin on both sides keeps it from
//! switching back and forth.

use crate::engine::LayerMethod;
use crate::network::Network;

/// A layer becomes dense above `crossover * MARGIN`, and sparse again below `crossover / MARGIN`.
pub const MARGIN: f64 = 1.15;

/// Mean density, 0 to 1, of the operands of each weight layer's products.
///
/// `None` for a layer that cannot be dense within a sparse step ([`Network::can_be_dense`]). For a layer above a
/// convolution, spikes are counted before pooling, so the density is slightly overestimated.
///
/// `spikes` counts the spikes of the input and of each hidden layer, `active` the active entries of each hidden layer,
/// both summed over `samples` samples.
pub fn densities(network: &Network, samples: u64, spikes: &[u64], active: &[u64]) -> Vec<Option<f64>> {
    let sizes = network.sizes();
    let slots = |n: usize| (samples.max(1) as f64) * (network.time_steps * n) as f64;
    let spiking = |l: usize| spikes[l] as f64 / slots(sizes[l]);
    (0..=network.hidden.len())
        .map(|l| match l {
            _ if !network.can_be_dense(l) => None,
            0 => Some(spiking(0)),
            _ => Some((2.0 * spiking(l) + active[l - 1] as f64 / slots(sizes[l])) / 3.0),
        })
        .collect()
}

/// Chooses the methods of layers with these densities. `before` are their current methods.
pub fn choose(before: &[LayerMethod], densities: &[Option<f64>], crossover: f64) -> Vec<LayerMethod> {
    before
        .iter()
        .zip(densities)
        .map(|(&before, &density)| match before {
            LayerMethod::Sparse if density.is_some_and(|d| d > crossover * MARGIN) => LayerMethod::Dense,
            LayerMethod::Dense if density.is_none_or(|d| d < crossover / MARGIN) => LayerMethod::Sparse,
            same => same,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use LayerMethod::{Dense, Sparse};

    #[test]
    fn each_layer_follows_its_own_density() {
        let mut network = crate::presets::paper("fmnist").unwrap().network;
        (network.inputs, network.time_steps) = (10, 5);
        network.set_hidden(&[4, 2]).unwrap();
        // 2 samples: 100, 40 and 20 entries.
        let seen = densities(&network, 2, &[90, 20, 0], &[40, 10]);
        assert_eq!(seen, [0.9, (2.0 * 0.5 + 1.0) / 3.0, 0.5 / 3.0].map(Some));
        assert_eq!(choose(&[Sparse; 3], &seen, 0.5), [Dense, Dense, Sparse]);
        assert_eq!(densities(&network, 0, &[0; 3], &[0; 2]), [Some(0.0); 3]);
    }

    #[test]
    fn within_the_margin_nothing_changes() {
        for density in [0.45, 0.5, 0.55] {
            assert_eq!(choose(&[Sparse, Dense], &[Some(density); 2], 0.5), [Sparse, Dense]);
        }
        assert_eq!(choose(&[Sparse, Dense], &[Some(0.6), Some(0.4)], 0.5), [Dense, Sparse]);
        assert_eq!(choose(&[Sparse, Dense], &[None; 2], 0.0), [Sparse; 2]);
    }
}
