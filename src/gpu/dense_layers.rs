//! Single layers of the sparse step computed by matrix products, a chunk of samples at a time.
//!
//! Between layers everything stays spikes and active entries, so layers of either kind go together: the input is
//! expanded to a dense array, the product of it and the weights replaces the walk over events, and of W δ only the
//! active entries are picked out. Rows of δ that nobody needs are not written; a product multiplies what they held
//! before with spikes that are 0.

use super::adapter::Tier;
use super::buffers::{LayerWeights, State, quads};
use super::context::Context;
use super::gemm::{Layout, Product};
use super::params::Params;
use super::recording::{Recorder, Work};
use super::shaders as k;
use super::sparse::groups;
use crate::engine::LayerMethod;
use crate::error::Result;
use crate::network::Network;

/// Scratch of the products, for the samples of a chunk.
pub struct Scratch {
    /// (chunk T, Q_in) vec4: spikes.
    pub spikes: wgpu::Buffer,
    /// (chunk T, Q) vec4: input currents, or W δ.
    pub products: wgpu::Buffer,
    /// Weight gradients before they are added.
    pub parts: wgpu::Buffer,
}

/// Which layers are dense, and what they work in.
pub struct DenseLayers {
    methods: Vec<LayerMethod>,
    scratch: Option<Scratch>,
    /// Samples that the scratch is for.
    chunk: usize,
}

impl DenseLayers {
    /// None dense.
    pub fn none(network: &Network) -> Self {
        DenseLayers { methods: vec![LayerMethod::Sparse; network.hidden.len() + 1], scratch: None, chunk: 0 }
    }

    /// The method of each weight layer.
    pub fn methods(&self) -> &[LayerMethod] {
        &self.methods
    }

    /// Chooses the methods of the recordings to come.
    pub fn choose(&mut self, methods: &[LayerMethod]) {
        self.methods = methods.to_vec();
        self.scratch = None;
    }

    fn dense(&self) -> impl Iterator<Item = usize> {
        (0..self.methods.len()).filter(|&l| self.methods[l] == LayerMethod::Dense)
    }

    /// Quads of the widest spikes and of the widest products.
    fn quads(&self, network: &Network) -> (usize, usize) {
        let sizes = network.sizes();
        // The products of layer l are its own currents and the spike gradients of the layer below.
        let products = |l: usize| if l == 0 { sizes[1] } else { sizes[l].max(sizes[l + 1]) };
        let widest = |of: &dyn Fn(usize) -> usize| self.dense().map(|l| quads(of(l))).max().unwrap_or(0);
        (widest(&|l| sizes[l]), widest(&products))
    }

    /// Samples whose scratch a binding holds, at least one.
    pub fn most_samples(&self, network: &Network, binding: u64) -> u64 {
        let (spikes, products) = self.quads(network);
        (binding / (16 * (spikes.max(products).max(1) * network.time_steps) as u64)).max(1)
    }

    /// Allocates for chunks of `chunk` samples, if any layer is dense.
    ///
    /// # Errors
    /// More than the device binds.
    pub fn make_room(&mut self, context: &Context, network: &Network, chunk: usize) -> Result<()> {
        if !self.methods.contains(&LayerMethod::Dense) || (self.scratch.is_some() && self.chunk >= chunk) {
            return Ok(());
        }
        self.scratch = None;
        let sizes = network.sizes();
        let rows = chunk * network.time_steps;
        let bytes = |quads: usize| 16 * (rows * quads) as u64;
        let (spikes, products) = self.quads(network);
        let parts = |l: usize| gradient(&sizes[l..l + 2], rows).scratch_bytes(context.tier);
        self.scratch = Some(Scratch {
            spikes: context.storage("dense spikes of a chunk", bytes(spikes))?,
            products: context.storage("dense products of a chunk", bytes(products))?,
            parts: context.storage("parts of dense products", self.dense().map(parts).max().unwrap_or(0))?,
        });
        self.chunk = chunk;
        Ok(())
    }

    /// The scratch, if layer `l` is dense.
    pub fn of(&self, l: usize) -> Option<&Scratch> {
        self.scratch.as_ref().filter(|_| self.methods.get(l) == Some(&LayerMethod::Dense))
    }

    /// Bytes by name.
    pub fn bytes(&self) -> Vec<(String, u64)> {
        let sum = |s: &Scratch| s.spikes.size() + s.products.size() + s.parts.size();
        self.scratch.iter().map(|s| ("dense layers".to_string(), sum(s))).collect()
    }
}

/// ∇W of the layer between `sizes`, over `rows` rows of spikes and δ.
pub fn gradient(sizes: &[usize], rows: usize) -> Product {
    Product { layout: Layout::LeftTransposed, rows: sizes[0], cols: sizes[1], depth: rows }
}

impl Scratch {
    /// The input of layer `l` in the chunk that `p` names, as a dense array.
    fn expand<'a>(&'a self, r: &mut Recorder<'a>, state: &'a State, l: usize, p: Params) {
        let Some(below) = l.checked_sub(1) else {
            let buffers = &[&state.input.starts, &state.input.events, &self.spikes];
            let samples = Work::Groups(u64::from(p.chunk_samples));
            r.add("expand.0", (k::DENSE_INPUT, &["CLEAR"]), p, buffers, samples);
            return;
        };
        let lanes = groups((p.chunk_samples * p.steps) as usize * quads(p.inputs as usize));
        r.add(format!("expand.{l}"), (k::EXPAND, &[]), p, &[&state.spiking[below].spike_words, &self.spikes], lanes);
    }

    /// The input currents of layer `l`, into `products`.
    pub fn currents<'a>(
        &'a self,
        r: &mut Recorder<'a>,
        (tier, state, weights): (Tier, &'a State, &'a LayerWeights),
        l: usize,
        p: Params,
    ) {
        self.expand(r, state, l, p);
        let rows = (p.chunk_samples * p.steps) as usize;
        let product = Product { layout: Layout::Plain, rows, cols: weights.cols, depth: weights.rows };
        let label = format!("forward.{l}");
        product.record(r, &label, tier, (&self.spikes, &weights.whole().weights), (&self.products, &self.parts, false));
    }

    /// ∇W of layer `l`: that of the step's first chunk replaces the gradient, that of others is added.
    pub fn weight_gradient<'a>(
        &'a self,
        r: &mut Recorder<'a>,
        (tier, state, weights): (Tier, &'a State, &'a LayerWeights),
        l: usize,
        p: Params,
    ) {
        self.expand(r, state, l, p);
        let product = gradient(&[weights.rows, weights.cols], (p.chunk_samples * p.steps) as usize);
        let out = (&weights.whole().gradient, &self.parts, p.first_sample > 0 || p.accumulate == 1);
        product.record(r, &format!("weight_gradient.{l}"), tier, (&self.spikes, &state.delta), out);
    }

    /// W δ of layer `l`, every neuron and time of the layer below, into `products`.
    pub fn spike_gradient<'a>(
        &'a self,
        r: &mut Recorder<'a>,
        (tier, state, weights): (Tier, &'a State, &'a LayerWeights),
        l: usize,
        p: Params,
    ) {
        let rows = (p.chunk_samples * p.steps) as usize;
        let product = Product { layout: Layout::RightTransposed, rows, cols: weights.rows, depth: weights.cols };
        let out = (&self.products, &self.parts, false);
        product.record(r, &format!("spike_gradient.{}", l - 1), tier, (&state.delta, &weights.whole().weights), out);
    }
}
