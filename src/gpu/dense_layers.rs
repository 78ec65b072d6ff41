//! Single layers of the sparse step computed by matrix products, a chunk of samples at a time.
//!
//! Layers exchange spikes and active entries, whatever their method: the input is expanded to a dense array, its product
//! with the weights replaces the loop over events, and only the active entries of W δ are used. Rows of δ that are not
//! needed are not written; in the weight gradient, their old contents are multiplied by spikes that are 0.

use super::adapter::Tier;
use super::buffers::{LayerWeights, State, quads};
use super::context::Context;
use super::gemm::{Layout, Matrices, Product};
use super::params::Params;
use super::recording::{Bind, Recorder, Work};
use super::region::Region;
use super::shaders as k;
use super::sparse::groups;
use crate::engine::LayerMethod;
use crate::error::Result;
use crate::network::Network;

/// Scratch of the products, for the samples of a chunk.
pub struct Scratch {
    /// (chunk T, Q_in) vec4: spikes.
    pub spikes: Region,
    /// (chunk T, Q) vec4: input currents, or W δ.
    pub products: Region,
    /// Weight gradients before they are added.
    pub parts: Region,
}

/// Which layers are dense, and their scratch memory.
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

    /// Sets the methods for later recordings.
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

    /// Samples whose scratch fits into a binding, at least one.
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

/// A layer for the matrix products.
#[derive(Clone, Copy)]
pub struct DenseLayer<'a> {
    /// Decides the kernels.
    pub tier: Tier,
    /// The buffers of the step.
    pub state: &'a State,
    /// Its weights, in one strip.
    pub weights: &'a LayerWeights,
    /// Its number.
    pub l: usize,
}

/// What `dense_input` binds: the events of the batch, and the array that they are written to.
pub fn dense_input_bindings<'a>(state: &'a State, spikes: &'a Region) -> [Bind<'a>; 3] {
    [("input_start", &state.input.starts), ("input_events", &state.input.events), ("spikes", spikes)]
}

impl Scratch {
    /// The input of layer `l` in the chunk that `p` names, as a dense array.
    fn expand<'a>(&'a self, r: &mut Recorder<'a>, DenseLayer { state, l, .. }: DenseLayer<'a>, p: Params) {
        let Some(below) = l.checked_sub(1) else {
            let samples = Work::Groups(u64::from(p.chunk_samples));
            let bindings = dense_input_bindings(state, &self.spikes);
            r.add("expand.0", k::DENSE_INPUT.with(&["CLEAR"]), p, &bindings, samples);
            return;
        };
        let lanes = groups((p.chunk_samples * p.steps) as usize * quads(p.inputs as usize));
        let bindings = [("spike_words", &state.spiking[below].spike_words), ("spikes", &self.spikes)];
        r.add(format!("expand.{l}"), k::EXPAND, p, &bindings, lanes);
    }

    /// The input currents of layer `l`, into `products`.
    pub fn currents<'a>(&'a self, r: &mut Recorder<'a>, layer: DenseLayer<'a>, p: Params) {
        self.expand(r, layer, p);
        let DenseLayer { tier, weights, l, .. } = layer;
        let rows = (p.chunk_samples * p.steps) as usize;
        let product = Product { layout: Layout::Plain, rows, cols: weights.cols, depth: weights.rows };
        let (a, b) = (&self.spikes, &weights.whole().weights);
        let matrices = Matrices { a, b, out: &self.products, parts: &self.parts, accumulate: false };
        product.record(r, &format!("forward.{l}"), tier, matrices);
    }

    /// ∇W of layer `l`: that of the step's first chunk replaces the gradient, that of others is added.
    pub fn weight_gradient<'a>(&'a self, r: &mut Recorder<'a>, layer: DenseLayer<'a>, p: Params) {
        self.expand(r, layer, p);
        let DenseLayer { tier, state, weights, l } = layer;
        let product = gradient(&[weights.rows, weights.cols], (p.chunk_samples * p.steps) as usize);
        let (a, b, out) = (&self.spikes, &state.delta, &weights.whole().gradient);
        let accumulate = p.first_sample > 0 || p.accumulate == 1;
        let matrices = Matrices { a, b, out, parts: &self.parts, accumulate };
        product.record(r, &format!("weight_gradient.{l}"), tier, matrices);
    }

    /// W δ of layer `l`, every neuron and time of the layer below, into `products`.
    pub fn spike_gradient<'a>(
        &'a self,
        r: &mut Recorder<'a>,
        DenseLayer { tier, state, weights, l }: DenseLayer<'a>,
        p: Params,
    ) {
        let rows = (p.chunk_samples * p.steps) as usize;
        let product = Product { layout: Layout::RightTransposed, rows, cols: weights.rows, depth: weights.cols };
        let (a, b) = (&state.delta, &weights.whole().weights);
        let matrices = Matrices { a, b, out: &self.products, parts: &self.parts, accumulate: false };
        product.record(r, &format!("spike_gradient.{}", l - 1), tier, matrices);
    }
}
