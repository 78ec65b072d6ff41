//! The uniform structs of the shaders. A test reflects the WGSL and compares every field's name and offset.

use crate::optimiser::AdamConstants;
use bytemuck::{Pod, Zeroable};

/// What a dispatch needs to know; `shaders/shared/params.wgsl` says what each field is.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub batch: u32,
    pub steps: u32,
    pub words: u32,
    pub inputs: u32,
    pub neurons: u32,
    pub slots: u32,
    pub quads: u32,
    pub first_quad: u32,
    pub input_stride: u32,
    pub chunk: u32,
    pub first_sample: u32,
    pub chunk_samples: u32,
    pub presynaptic_base: u32,
    pub presynaptic_at: u32,
    pub presynaptic_stride: u32,
    pub event_capacity: u32,
    pub active_capacity: u32,
    pub counts: u32,
    pub sum_readout: u32,
    pub report_at: u32,
    pub alpha: f32,
    pub leak: f32,
    pub v_th: f32,
    pub kick: f32,
    pub beta: f32,
    pub band: f32,
    pub gain: f32,
    pub lambda_up: f32,
    pub nu_up: f32,
    pub most_spikes: u32,
    pub lambda_low: f32,
    pub nu_low: f32,
    pub input_capacity: u32,
    pub total: u32,
    pub accumulate: u32,
    pub shard: u32,
    pub time: u32,
    pub scanned: u32,
    pub per_lane: u32,
    pub sweep: u32,
    pub shard_quads: u32,
    pub map_height: u32,
    pub map_width: u32,
    pub kernel: u32,
    pub stride: u32,
    pub padding: u32,
    pub rows: u32,
    pub columns: u32,
    pub filter_quads: u32,
    pub pool: u32,
    pub pool_columns: u32,
    pub pooled_columns: u32,
    pub windows: u32,
    pub pool_quads: u32,
    pub last_shard: u32,
    pub layer_bit: u32,
    pub synapse: f32,
    pub v_r: f32,
    pub surrogate_scale: f32,
    pub last_readout: u32,
    pub logit_scale: f32,
}

/// The task's loss; `shaders/loss.wgsl` says what each field is.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct LossParams {
    pub batch: u32,
    pub classes: u32,
    pub quads: u32,
    pub total: u32,
    pub kind: u32,
    pub on: f32,
    pub off: f32,
    pub gain: f32,
}

/// The constants of one Adam update.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct AdamParams {
    pub beta1: f32,
    pub beta2: f32,
    pub step_size: f32,
    pub inv_sqrt_correction: f32,
    pub epsilon: f32,
    pub decay: f32,
    pub pad0: u32,
    pub pad1: u32,
}

impl From<AdamConstants> for AdamParams {
    fn from(c: AdamConstants) -> Self {
        AdamParams {
            beta1: c.beta1,
            beta2: c.beta2,
            step_size: c.step_size,
            inv_sqrt_correction: c.inv_sqrt_correction,
            epsilon: c.epsilon,
            decay: c.decay,
            pad0: 0,
            pad1: 0,
        }
    }
}

/// The extents of one matrix product, `shaders/gemm.wgsl`.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct GemmParams {
    pub rows: u32,
    pub cols: u32,
    pub depth: u32,
    pub a_quads: u32,
    pub b_quads: u32,
    pub out_quads: u32,
    pub part_depth: u32,
    pub pad: u32,
}

/// The parts of a product to add, `shaders/gemm_sum.wgsl`.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SumParams {
    pub quads: u32,
    pub parts: u32,
    pub accumulate: u32,
    pub pad: u32,
}
