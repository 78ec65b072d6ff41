//! The theoretical minimum of each kernel: every input read once, every output written once, no superfluous arithmetic.
//!
//! `bench --count` and the rates of `bench` compare kernels with this table. It depends on the numbers of a step
//! ([`Facts`]), not on how kernels are implemented: arrays have no padding, a spike is 4 bytes in a list and a bit in a
//! mask, an active entry is 8 bytes of position and 4 of value. No kernel can move less, unless it is fused with others.
//!
//! *Operands* are the bytes that are moved if nothing is kept in registers or shared memory from one event to the next,
//! so that every spike reads its own row of weights and every active entry its own two rows. If they are much more than
//! the minimum, performance depends on caches.

use crate::engine::StepReport;
use crate::error::Result;
use crate::events::EventSet;
use crate::network::Network;
use crate::weights::Weights;
use serde::Serialize;

/// The sizes and counts of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Number of neurons of the input, the hidden layers and the readout.
    pub sizes: Vec<f64>,
    /// Samples per batch, B.
    pub batch: f64,
    /// Time steps, T.
    pub steps: f64,
    /// Spikes of the input and each hidden layer.
    pub spikes: Vec<f64>,
    /// Active entries of each hidden layer.
    pub active: Vec<f64>,
    /// Number of rows (b, t) in which the input or hidden layer has a spike.
    pub spiking_rows: Vec<f64>,
    /// Number of rows in which the hidden layer has an active entry; 0 for the input.
    pub active_rows: Vec<f64>,
    /// Number of rows in which the layer has either.
    pub needed_rows: Vec<f64>,
    /// Whether the network has a convolution, for which no minimum is known.
    pub convs: bool,
}

/// The minimum of loads, stores and arithmetic of a kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Least {
    /// Bytes, if every input is read and every output written once.
    pub least_bytes: f64,
    /// Bytes, if every event reads its own rows.
    pub operand_bytes: f64,
    /// Multiply-adds, including single additions and multiplications.
    pub least_multiply_adds: f64,
}

impl Facts {
    /// From a step's report. The numbers of rows are estimated, assuming that spikes and active entries are independent.
    pub fn estimated(network: &Network, report: &StepReport) -> Self {
        let (batch, steps) = (report.samples as f64, network.time_steps as f64);
        let rows = batch * steps;
        let occupied = |n: f64| rows * -(-n / rows).exp_m1();
        // The spikes of a readout that counts spikes are not an input of weights.
        let of_hidden = |counts: &[u64], layers: usize| counts.iter().take(layers).map(|&n| n as f64).collect();
        let spikes: Vec<f64> = of_hidden(&report.spikes, network.weight_layers());
        let active: Vec<f64> = of_hidden(&report.active, network.hidden.len());
        let above_input = || std::iter::once(0.0).chain(active.iter().copied());
        Facts {
            convs: network.first_conv().is_some(),
            sizes: network.sizes().iter().map(|&n| n as f64).collect(),
            batch,
            steps,
            spiking_rows: spikes.iter().map(|&n| occupied(n)).collect(),
            active_rows: above_input().map(occupied).collect(),
            needed_rows: spikes.iter().zip(above_input()).map(|(s, a)| occupied(s + a)).collect(),
            spikes,
            active,
        }
    }

    /// Counts exactly, by running the forward pass on the CPU, a few samples at a time.
    ///
    /// # Errors
    /// An invalid network, or a batch or weights that do not fit it.
    pub fn exact(network: &Network, weights: &Weights, batch: &EventSet) -> Result<Self> {
        use crate::cpu::CpuEngine;
        use crate::engine::{Engine, Method};
        let mut engine = CpuEngine::new(network, Method::Sparse, weights)?;
        let layers = network.hidden.len() + 1;
        let mut facts = Facts {
            convs: network.first_conv().is_some(),
            sizes: network.sizes().iter().map(|&n| n as f64).collect(),
            batch: batch.len() as f64,
            steps: network.time_steps as f64,
            spikes: vec![0.0; layers],
            active: vec![0.0; layers - 1],
            spiking_rows: vec![0.0; layers],
            active_rows: vec![0.0; layers],
            needed_rows: vec![0.0; layers],
        };
        let steps = network.time_steps;
        for first in (0..batch.len()).step_by(8) {
            let samples: Vec<u32> = (first..batch.len().min(first + 8)).map(|b| b as u32).collect();
            let mut part = EventSet::new(network.inputs, steps);
            part.gather(batch, &samples);
            let seen = engine.inspect(&part)?;
            for l in 0..layers {
                // Bit 0: a spike; bit 1: an active entry.
                let mut rows = vec![0u8; part.len() * steps];
                let mut note = |b: usize, t: usize, bit: u8| rows[b * steps + t] |= bit;
                match l {
                    0 => {
                        facts.spikes[0] += part.events().len() as f64;
                        for b in 0..part.len() {
                            part.sample(b).iter().for_each(|event| note(b, event.t(), 1));
                        }
                    }
                    _ => {
                        let layer = &seen.spiking[l - 1];
                        facts.spikes[l] += layer.spikes.len() as f64;
                        facts.active[l - 1] += layer.active.len() as f64;
                        layer.spikes.iter().for_each(|(b, event)| note(*b as usize, event.t(), 1));
                        layer.active.iter().for_each(|entry| note(entry.b as usize, entry.t as usize, 2));
                    }
                }
                let with = |bits: u8| rows.iter().filter(|&&row| row & bits != 0).count() as f64;
                facts.spiking_rows[l] += with(1);
                facts.active_rows[l] += with(2);
                facts.needed_rows[l] += with(3);
            }
        }
        Ok(facts)
    }

    /// Number of spikes that are input of weights, plus the number of active entries.
    pub fn events(&self) -> f64 {
        self.spikes.iter().chain(&self.active).sum()
    }

    /// Multiply-adds of the sparse products: a row of weights for each spike and each active entry.
    pub fn synaptic_operations(&self) -> f64 {
        let products = |l: usize| {
            let entries = if l > 0 { self.active[l - 1] } else { 0.0 };
            (2.0 * self.spikes[l] + entries) * self.sizes[l + 1]
        };
        (0..self.spikes.len()).map(products).sum()
    }

    /// B · T · N summed over the hidden layers, which a dense step processes.
    pub fn slots(&self) -> f64 {
        let neurons: f64 = self.sizes[1..self.sizes.len() - 1].iter().sum();
        self.batch * self.steps * neurons
    }
}

/// The minimum of a kernel by its name (`lif_forward.0`), or of several fused kernels (`weight_gradient+adam`). Without a
/// layer's number, the sum over all layers that have the kernel. `None` for an unknown name.
pub fn least(kernel: &str, facts: &Facts) -> Option<Least> {
    if facts.convs {
        return None;
    }
    let (operations, layer) = match kernel.rsplit_once('.') {
        Some((operations, layer)) if layer.chars().all(|c| c.is_ascii_digit()) => (operations, layer.parse().ok()),
        _ => (kernel, None),
    };
    let mut sum = Least::default();
    for operation in operations.split('+') {
        let parts: Vec<Least> = match layer {
            Some(l) => vec![of_layer(operation, l, facts)?],
            // Without a number, this is the readout's; those of the hidden layers have a number.
            None if operation == "report" => vec![of_layer(operation, facts.spikes.len() - 1, facts)?],
            None => (0..facts.spikes.len()).filter_map(|l| of_layer(operation, l, facts)).collect(),
        };
        if parts.is_empty() {
            return None;
        }
        for part in parts {
            sum.least_bytes += part.least_bytes;
            sum.operand_bytes += part.operand_bytes;
            sum.least_multiply_adds += part.least_multiply_adds;
        }
    }
    Some(sum)
}

/// [`least`] of a kernel whose step consists of the kernels `all`. If a layer has no kernel `adam`, its weight gradient
/// kernel includes the update and does not store the gradient. If other kernels fill the lists, `compact` does not.
pub fn least_among<'a>(kernel: &str, mut all: impl Iterator<Item = &'a str>, facts: &Facts) -> Option<Least> {
    if let Some(l) = kernel.strip_prefix("compact.") {
        let scatter = format!("scatter_rows.{l}");
        return match all.any(|name| name == scatter) {
            true => least(&format!("offsets.{l}"), facts),
            false => least(kernel, facts),
        };
    }
    let fused = kernel.strip_prefix("weight_gradient.").filter(|l| {
        let adam = format!("adam.{l}");
        !all.any(|name| name == adam)
    });
    let Some(layer) = fused else { return least(kernel, facts) };
    let mut both = least(&format!("weight_gradient+adam.{layer}"), facts)?;
    // The fused kernel neither writes nor reads the gradient.
    let l: usize = layer.parse().ok()?;
    let unstored = 2.0 * WORD * facts.sizes[l] * facts.sizes[l + 1];
    both.least_bytes -= unstored;
    both.operand_bytes -= unstored;
    Some(both)
}

/// Bytes of a float, an index, or a spike in a list.
const WORD: f64 = 4.0;
/// Bytes of an active entry's position (row and neuron).
const PLACE: f64 = 8.0;
/// Bytes of an element of a mask.
const BIT: f64 = 0.125;

/// The minimum of an operation at weight layer `l`; the readout's is the last.
fn of_layer(operation: &str, l: usize, facts: &Facts) -> Option<Least> {
    let layer = LayerFacts::new(l, facts)?;
    layer.lists(operation).or_else(|| layer.sparse(operation)).or_else(|| layer.dense(operation))
}

/// A minimum whose operands are the same bytes.
fn plain(bytes: f64, multiply_adds: f64) -> Option<Least> {
    Some(Least { least_bytes: bytes, operand_bytes: bytes, least_multiply_adds: multiply_adds })
}

/// The minimum of `bytes` and of rows that take `once` bytes if each is read once, `uses` if every use reads them again.
fn with_rows(bytes: f64, once: f64, uses: f64, multiply_adds: f64) -> Option<Least> {
    Some(Least { least_bytes: bytes + once.min(uses), operand_bytes: bytes + uses, least_multiply_adds: multiply_adds })
}

/// The sizes and counts of a weight layer.
struct LayerFacts<'a> {
    facts: &'a Facts,
    l: usize,
    /// Whether it is a hidden layer, not the readout.
    hidden: bool,
    batch: f64,
    /// Neurons of the layer below, and of this layer.
    n_in: f64,
    n: f64,
    /// Rows (b, t).
    rows: f64,
    weights: f64,
    /// Spikes of the layer below.
    below: f64,
    /// Spikes and active entries of this layer; 0 for the readout.
    spikes: f64,
    active: f64,
    /// Rows of this layer's δ that the layer below requires.
    delta_rows: f64,
}

impl<'a> LayerFacts<'a> {
    /// `None` if the network has no weight layer `l`.
    fn new(l: usize, facts: &'a Facts) -> Option<Self> {
        let readout = facts.spikes.len() - 1;
        if l > readout {
            return None;
        }
        let (n_in, n) = (facts.sizes[l], facts.sizes[l + 1]);
        let own = |list: &[f64], at: usize| list.get(at).copied().unwrap_or(0.0);
        Some(LayerFacts {
            facts,
            l,
            hidden: l < readout,
            batch: facts.batch,
            n_in,
            n,
            rows: facts.batch * facts.steps,
            weights: n_in * n,
            below: facts.spikes[l],
            spikes: own(&facts.spikes, l + 1),
            active: own(&facts.active, l),
            delta_rows: if l == 0 { facts.spiking_rows[0] } else { facts.needed_rows[l] },
        })
    }

    /// Neurons of the layer above.
    fn above(&self) -> f64 {
        self.facts.sizes[self.l + 2]
    }

    /// Kernels that build lists of spikes and active entries.
    fn lists(&self, operation: &str) -> Option<Least> {
        let &LayerFacts { batch, n_in, n, rows, below, spikes, active, .. } = self;
        let counts = batch * (self.facts.steps + n + (n / 4.0).ceil());
        match (operation, self.hidden) {
            // The input's events are counted, then sorted by neuron. The block sums of the scan are not part of the minimum.
            ("scan_reduce.input", _) if self.l == 0 => plain(WORD * batch * n_in, 0.0),
            ("scan_apply.input", _) if self.l == 0 => plain(2.0 * WORD * batch * n_in, 0.0),
            ("gather", _) if self.l == 0 => plain(WORD * below + WORD * batch * n_in + rows * BIT, 0.0),
            ("scatter_input", _) if self.l == 0 => plain(2.0 * WORD * below + WORD * batch * n_in, 0.0),
            ("sort_input", _) if self.l == 0 => plain(2.0 * WORD * below + WORD * batch * n_in, 0.0),
            // Converts counts, masks and staged entries to offsets and lists.
            ("compact", true) => {
                let entries = 2.0 * (PLACE + WORD) * active;
                plain(2.0 * WORD * counts + rows * n * BIT + 2.0 * WORD * spikes + entries, 0.0)
            }
            ("offsets", true) => plain(2.0 * WORD * counts, 0.0),
            ("scatter_rows", true) => plain(WORD * rows + rows * n * BIT + WORD * spikes, 0.0),
            // Does not read the masks of neurons without spikes.
            ("scatter_presynaptic", true) => plain(WORD * batch * n + WORD * spikes, 0.0),
            ("scatter_active", true) => {
                plain(2.0 * WORD * batch * (n / 4.0).ceil() + 2.0 * (PLACE + WORD) * active, 0.0)
            }
            _ => None,
        }
    }

    /// The other kernels of a sparse step, some of which dense steps have as well.
    fn sparse(&self, operation: &str) -> Option<Least> {
        let &LayerFacts { batch, n, rows, weights, below, active, delta_rows, .. } = self;
        match (operation, self.hidden) {
            // Reads events and weights, writes masks of spikes and active entries. One addition per weight of a spike, one
            // decay per entry.
            ("lif_forward", true) => {
                let bytes = WORD * below + rows * n * BIT + (PLACE + WORD) * active;
                with_rows(bytes, WORD * weights, WORD * below * n, below * n + rows * n)
            }
            ("readout", false) => {
                let bytes = WORD * below + 2.0 * WORD * batch * n;
                with_rows(bytes, WORD * weights, WORD * below * n, below * n + rows * n)
            }
            ("activity", true) => plain(WORD * batch * n + 3.0 * WORD * batch, batch * n),
            ("report", _) => plain(2.0 * WORD * batch, 2.0 * batch),
            ("loss", false) => plain(WORD * batch * (2.0 * n + 3.0), 2.0 * batch * n),
            // Reads errors and the mask of required rows, writes these rows of δ. The minimum of arithmetic is one addition
            // per error: the number of decays in between depends on the gaps.
            ("delta_readout", false) => plain(2.0 * WORD * batch * n + rows * BIT + WORD * delta_rows * n, batch * n),
            ("delta", true) => plain((PLACE + WORD) * active + rows * BIT + WORD * delta_rows * n, active),
            // Reads this layer's active entries, and the weights and δ rows of the layer above.
            ("spike_gradient", true) => {
                let above = self.above();
                let once = WORD * (n * above + self.facts.active_rows[self.l + 1] * above);
                with_rows((PLACE + 2.0 * WORD) * active, once, 2.0 * WORD * active * above, active * above)
            }
            // Reads the spikes of the layer below and the δ rows at their times, writes the gradient.
            ("weight_gradient", _) => {
                let once = WORD * self.facts.spiking_rows[self.l] * n;
                with_rows(WORD * below + WORD * weights, once, WORD * below * n, below * n)
            }
            // Reads ∇W, W and two moments, writes W and the moments.
            ("adam", _) => plain(7.0 * WORD * weights, 8.0 * weights),
            _ => None,
        }
    }

    /// Kernels of dense steps.
    fn dense(&self, operation: &str) -> Option<Least> {
        let &LayerFacts { n_in, n, rows, weights, below, .. } = self;
        match (operation, self.hidden) {
            ("dense_input", _) if self.l == 0 => plain(2.0 * WORD * below, 0.0),
            ("gemm_forward" | "dense_forward.gemm", _) => plain(WORD * (rows * (n_in + n) + weights), rows * n_in * n),
            ("dense_lif" | "reference_lif" | "dense_forward.scan", true) => {
                plain(3.0 * WORD * rows * n, 2.0 * rows * n)
            }
            ("dense_readout" | "dense_forward.readout", false) => plain(2.0 * WORD * rows * n, rows * n),
            ("dense_delta_readout", false) => plain(WORD * rows * n, rows * n),
            ("gemm_spike_gradient" | "dense_spike_gradient", true) => {
                let above = self.above();
                plain(WORD * (rows * (above + n) + n * above), rows * above * n)
            }
            ("dense_delta" | "reference_delta", true) => plain(3.0 * WORD * rows * n, 4.0 * rows * n),
            ("dense_delta" | "reference_delta", false) => plain(WORD * rows * n, rows * n),
            ("gemm_weight_gradient" | "dense_weight_gradient", _) => {
                plain(WORD * (rows * (n_in + n) + weights), rows * n_in * n)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{TARGET_DENSITY, random_spikes, scaled_weights};
    use crate::cpu::CpuEngine;
    use crate::engine::{Engine, Method};
    use crate::network::{Readout, SpikingLayer};
    use crate::optimiser::Adam;
    use crate::presets;

    fn facts() -> Facts {
        Facts {
            convs: false,
            sizes: vec![10.0, 20.0, 5.0],
            batch: 2.0,
            steps: 100.0,
            spikes: vec![40.0, 60.0],
            active: vec![30.0],
            spiking_rows: vec![35.0, 50.0],
            active_rows: vec![0.0, 25.0],
            needed_rows: vec![35.0, 70.0],
        }
    }

    #[test]
    fn the_table_counts_by_hand() {
        let f = facts();
        let forward = least("lif_forward.0", &f).unwrap();
        assert_eq!(forward.least_bytes, 4.0 * 40.0 + 200.0 * 20.0 / 8.0 + 12.0 * 30.0 + 4.0 * 200.0);
        assert_eq!(forward.operand_bytes - forward.least_bytes, 4.0 * (40.0 * 20.0 - 200.0));
        assert_eq!(forward.least_multiply_adds, 40.0 * 20.0 + 200.0 * 20.0);
        let gradient = least("weight_gradient.1", &f).unwrap();
        assert_eq!(gradient.least_bytes, 4.0 * 60.0 + 4.0 * 100.0 + 4.0 * 50.0 * 5.0);
        assert_eq!(gradient.operand_bytes, 4.0 * 60.0 + 4.0 * 100.0 + 4.0 * 60.0 * 5.0);
        assert_eq!(least("adam.0", &f).unwrap().least_bytes, 28.0 * 200.0);
        assert_eq!(least("spike_gradient.0", &f).unwrap().least_multiply_adds, 30.0 * 5.0);
        assert_eq!(f.events(), 130.0);
        assert_eq!(f.synaptic_operations(), 2.0 * 40.0 * 20.0 + (2.0 * 60.0 + 30.0) * 5.0);
        assert_eq!(f.slots(), 4000.0);
    }

    #[test]
    fn fused_and_whole_names_are_sums() {
        let f = facts();
        let bytes = |name: &str| least(name, &f).map(|least| least.least_bytes);
        let sum = ["weight_gradient.0", "weight_gradient.1", "adam.0", "adam.1"].map(|name| bytes(name).unwrap());
        assert_eq!(bytes("weight_gradient+adam"), Some(sum.iter().sum()));
        assert_eq!(bytes("spike_gradient"), bytes("spike_gradient.0"));
        assert_eq!(bytes("scan_apply.input"), Some(2.0 * 4.0 * 2.0 * 10.0));
        assert_eq!([bytes("no_such_kernel"), bytes("lif_forward.7"), bytes("lif_forward.1")], [None; 3]);
    }

    #[test]
    fn a_weight_gradient_without_adam_beside_it_is_both() {
        let f = facts();
        let alone = least("weight_gradient.1", &f).unwrap();
        assert_eq!(least_among("weight_gradient.1", ["adam.1"].into_iter(), &f), Some(alone));
        let fused = least_among("weight_gradient.1", ["adam.0"].into_iter(), &f).unwrap();
        // Without the gradient's store and load, five more floats per weight remain.
        assert_eq!(fused.least_bytes - alone.least_bytes, 4.0 * 100.0 * (7.0 - 2.0));
    }

    #[test]
    fn exact_facts_are_those_of_the_step() {
        let mut network = presets::paper("nmnist").unwrap().network;
        (network.inputs, network.time_steps) = (50, 40);
        network.set_hidden(&[30, 20]).unwrap();
        facts_agree(&network);
        network.readout = Readout::spike_count(SpikingLayer::lif(10));
        facts_agree(&network);
    }

    fn facts_agree(network: &Network) {
        let batch = random_spikes(network, 11, 0.02, 1).unwrap();
        let weights = scaled_weights(network, &batch, TARGET_DENSITY, 1).unwrap();
        let exact = Facts::exact(network, &weights, &batch).unwrap();
        let mut engine = CpuEngine::new(network, Method::Sparse, &weights).unwrap();
        engine.train(&batch, &Adam::with_lr(1e-3)).unwrap();
        let estimated = Facts::estimated(network, &engine.reports(true).unwrap()[0]);
        assert_eq!(exact.synaptic_operations(), estimated.synaptic_operations());
        assert_eq!((&exact.spikes, &exact.active), (&estimated.spikes, &estimated.active));
        for l in 0..3 {
            assert!(exact.needed_rows[l] <= exact.spiking_rows[l] + exact.active_rows[l]);
            assert!(exact.needed_rows[l] >= exact.spiking_rows[l].max(exact.active_rows[l]));
            let ratio = exact.spiking_rows[l] / estimated.spiking_rows[l];
            assert!((0.5..2.0).contains(&ratio), "{ratio}");
        }
    }
}
