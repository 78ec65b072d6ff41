//! The uniform structs of the shaders, as the host fills them in.
//!
//! [`Params`] describes a dispatch of the step; each kernel is given only those of its fields that it reads
//! ([`Interface`](super::interface::Interface)). `shaders/shared/params.wgsl` explains the fields. `tests/shaders.rs` reflects
//! every kernel and compares names, types and offsets with what is written here.

use crate::optimiser::AdamConstants;
use bytemuck::{Pod, Zeroable};

/// A field of a uniform struct: its name and its WGSL type, `u32` or `f32`.
pub type Field = (&'static str, &'static str);

/// A uniform struct. Every field is one word, so that field `k` is word `k`.
pub trait Uniform: Pod {
    /// The name of the struct in WGSL.
    const NAME: &'static str;
    /// Its fields, in order.
    const FIELDS: &'static [Field];
}

macro_rules! uniforms {
    ($($(#[$doc:meta])* pub struct $name:ident { $(pub $field:ident: $ty:ident,)* })*) => {
        $(
            $(#[$doc])*
            #[allow(missing_docs)]
            #[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
            #[repr(C)]
            pub struct $name { $(pub $field: $ty,)* }

            impl Uniform for $name {
                const NAME: &'static str = stringify!($name);
                const FIELDS: &'static [Field] = &[$((stringify!($field), stringify!($ty))),*];
            }
        )*

        /// Every uniform struct: its name and fields.
        pub const UNIFORMS: &[(&str, &[Field])] = &[$(($name::NAME, $name::FIELDS)),*];
    };
}

uniforms! {
    /// A dispatch of a step.
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
        pub bank: u32,
        pub time: u32,
        pub scanned: u32,
        pub per_lane: u32,
        pub sweep: u32,
        pub strip_quads: u32,
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
        pub last_strip: u32,
        pub layer_bit: u32,
        pub synapse: f32,
        pub v_r: f32,
        pub surrogate_scale: f32,
        pub last_readout: u32,
        pub logit_scale: f32,
        pub layers: u32,
        pub all_quads: u32,
        pub all_words: u32,
        pub all_groups: u32,
        pub from_step: u32,
        pub to_step: u32,
        pub spiking: u32,
        pub recurrent: u32,
        pub bias_row: u32,
        pub cuba: u32,
        pub to_value: u32,
        pub surrogate: u32,
        pub room: u32,
        pub state_at: u32,
        pub weights_at: u32,
        pub words_at: u32,
        pub counts_at: u32,
        pub needed_at: u32,
        pub next_at: u32,
        pub entries_at: u32,
        pub errors_at: u32,
        pub logits_at: u32,
        pub peaks_at: u32,
        pub mask_at: u32,
        pub summary_at: u32,
        pub groups_at: u32,
        pub delta_rows: u32,
    }

    /// The task's loss; `shaders/loss.wgsl` explains the fields.
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
    pub struct AdamParams {
        pub beta1: f32,
        pub beta2: f32,
        pub step_size: f32,
        pub inv_sqrt_correction: f32,
        pub epsilon: f32,
        pub decay: f32,
    }

    /// The extents of one matrix product, `shaders/gemm.wgsl`.
    pub struct GemmParams {
        pub rows: u32,
        pub cols: u32,
        pub depth: u32,
        pub a_quads: u32,
        pub b_quads: u32,
        pub out_quads: u32,
        pub part_depth: u32,
    }

    /// The parts of a product to add, `shaders/gemm_sum.wgsl`.
    pub struct SumParams {
        pub quads: u32,
        pub parts: u32,
        pub accumulate: u32,
    }

    /// Memory bandwidth, `shaders/measure/stream.wgsl`.
    pub struct StreamParams {
        pub lanes: u32,
    }

    /// Arithmetic throughput, `shaders/measure/multiply_add.wgsl`.
    pub struct MultiplyAddParams {
        pub turns: u32,
        pub lanes: u32,
    }

    /// Accuracy of arithmetic, `shaders/measure/numbers.wgsl`.
    pub struct NumbersParams {
        pub lanes: u32,
    }

    /// Atomics, `shaders/measure/atomics.wgsl`.
    pub struct AtomicsParams {
        pub counters: u32,
    }
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
        }
    }
}

/// How fields begin that only make a struct longer.
pub const UNUSED: &str = "unused_";

/// The values of a [`Uniform`] by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The name of the struct.
    pub name: &'static str,
    fields: &'static [Field],
    words: Vec<u32>,
}

impl Parameters {
    /// The values of `uniform`.
    pub fn of<U: Uniform>(uniform: &U) -> Self {
        const { assert!(size_of::<U>() == 4 * U::FIELDS.len()) };
        Parameters {
            name: U::NAME,
            fields: U::FIELDS,
            words: bytemuck::pod_collect_to_vec(bytemuck::bytes_of(uniform)),
        }
    }

    /// A field as a word; the bits of an `f32`. `None` if there is no such field.
    pub fn get(&self, field: &str) -> Option<u32> {
        self.fields.iter().position(|(name, _)| *name == field).map(|k| self.words[k])
    }

    /// The words of `fields`, which must be in the order of the struct.
    ///
    /// # Errors
    /// The first field that the struct does not have, or not after the one before it.
    pub fn select<'f>(&self, fields: &'f [String]) -> Result<Vec<u32>, &'f str> {
        let mut own = self.fields.iter().zip(&self.words);
        let word = |field: &'f String| match own.find(|((name, _), _)| name == field) {
            Some((_, &word)) => Ok(word),
            None if field.starts_with(UNUSED) => Ok(0),
            None => Err(field.as_str()),
        };
        fields.iter().map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_selected_by_name() {
        let p = Parameters::of(&GemmParams { rows: 5, depth: 7, part_depth: 8, ..GemmParams::default() });
        let select = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|field| field.to_string()).collect();
            p.select(&fields).map_err(str::to_string)
        };
        assert_eq!(select(&["rows", "depth", "part_depth"]), Ok(vec![5, 7, 8]));
        assert_eq!(select(&["rows", "batch"]), Err("batch".into()));
        assert_eq!(select(&["depth", "rows"]), Err("rows".into()), "the order is that of the struct");
        assert_eq!((p.get("depth"), p.get("batch")), (Some(7), None));
        let alpha = Parameters::of(&Params { alpha: 0.5, ..Params::default() }).get("alpha");
        assert_eq!(alpha.map(f32::from_bits), Some(0.5));
    }
}
