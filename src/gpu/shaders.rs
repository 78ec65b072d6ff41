//! The WGSL sources: embedded, with `#import` of shared text, `#ifdef` for variants and `#unroll` for loops written out.
//! Of the uniform struct `Params`, each variant declares the fields that it reads.
//!
//! How work is divided among lanes is selected by `#ifdef`; the model (cell, reset, surrogate, bias) and the size of workgroups
//! by pipeline-overridable constants, which keeps the number of texts small. Compilers remove the branches that a constant rules out.

use super::interface::with_params_that_are_read;
use super::squeeze::FEWEST_LANES;
use crate::network::{CellConstants, Surrogate};
use std::ops::RangeInclusive;
use std::path::Path;

/// A kernel, named as its file and its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kernel {
    /// The operation.
    pub name: &'static str,
    source: &'static str,
    /// The variants that are used, each a list of defined names.
    pub variants: &'static [&'static [&'static str]],
}

/// Lanes of a workgroup, a constant of kernels that have more than 64 by default.
const LANES: &str = "LANES";

/// The pipeline-overridable constants of all kernels that the host sets, and the values other than the default: the paper's
/// network, and as many lanes as are fast.
pub const OVERRIDES: [(&str, RangeInclusive<u32>); 5] = [
    ("CUBA", 1..=1),
    ("TO_VALUE", 1..=1),
    ("BIAS", 1..=1),
    ("SURROGATE", 1..=Surrogate::ALL.len() as u32 - 1),
    (LANES, FEWEST_LANES..=FEWEST_LANES),
];

/// Values of pipeline-overridable constants, by name, without those that have the default.
pub type Constants = Vec<(&'static str, u32)>;

/// A surrogate gradient as the kernels number it.
pub fn number(surrogate: Surrogate) -> u32 {
    Surrogate::ALL.iter().position(|&other| other == surrogate).unwrap_or(0) as u32
}

/// The constants of a spiking layer's kernels.
pub fn of_cell(cell: &CellConstants, bias: bool) -> Constants {
    let all = [
        ("CUBA", u32::from(cell.synapse.is_some())),
        ("TO_VALUE", u32::from(cell.to_value)),
        ("BIAS", u32::from(bias)),
        ("SURROGATE", number(cell.surrogate)),
    ];
    all.into_iter().filter(|&(_, value)| value != 0).collect()
}

/// The constants of the kernels of a readout's integrators.
pub fn of_readout(bias: bool) -> Constants {
    bias.then_some(("BIAS", 1)).into_iter().collect()
}

/// A kernel's variant with the values of its constants: what a pipeline is compiled from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Program {
    /// The kernel.
    pub kernel: Kernel,
    /// The names that it is compiled with.
    pub defined: Vec<&'static str>,
    /// Its pipeline-overridable constants, those that do not have the default.
    pub constants: Constants,
}

impl Program {
    /// A kernel's variant, with those of `constants` that it declares.
    pub fn new(kernel: Kernel, defined: &[&'static str], constants: &[(&'static str, u32)]) -> Self {
        let mut constants = constants.to_vec();
        if !constants.is_empty() {
            let has = kernel.overrides(defined);
            constants.retain(|(name, _)| has.iter().any(|(known, _)| known == name));
        }
        Program { kernel, defined: defined.to_vec(), constants }
    }

    /// The same for devices whose workgroups have at most 64 lanes.
    pub fn with_few_lanes(mut self) -> Self {
        let has = self.kernel.overrides(&self.defined);
        self.constants.extend(has.iter().any(|&(name, _)| name == LANES).then_some((LANES, FEWEST_LANES)));
        self
    }

    /// Its name in messages: `lif_forward+WIDE+CUBA=1`.
    pub fn name(&self) -> String {
        let constants = self.constants.iter().map(|(name, value)| format!("+{name}={value}"));
        constants.fold(self.kernel.variant_name(&self.defined), |name, constant| name + &constant)
    }
}

impl From<Kernel> for Program {
    fn from(kernel: Kernel) -> Self {
        kernel.with(&[])
    }
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $constant:ident = $name:literal $([$($variant:expr),* $(,)?])?;)*) => {
        $($(#[$doc])* pub const $constant: Kernel = Kernel {
            name: $name,
            source: include_str!(concat!("../../shaders/", $name, ".wgsl")),
            variants: kernels!(@variants $([$($variant),*])?),
        };)*
        /// Every kernel.
        pub const ALL: &[Kernel] = &[$($constant),*];
    };
    (@variants) => { &[&[]] };
    (@variants [$($variant:expr),*]) => { &[$(&$variant),*] };
}

kernels! {
    /// A spiking layer forward, with the surrogate mask.
    LIF_FORWARD = "lif_forward" [
        [], ["RECORD"], ["WIDE"], ["WIDE", "RECORD"], ["AHEAD"], ["AHEAD", "RECORD"], ["CURRENTS"], ["CURRENTS", "RECORD"],
        ["CONV"], ["CONV", "RECORD"], ["WIDE", "CONV"], ["WIDE", "CONV", "RECORD"], ["AHEAD", "CONV"], ["AHEAD", "CONV", "RECORD"],
    ];
    /// Counts the input of a convolution pixel by pixel; `PLACE`: writes it.
    PATCHES = "patches" [[], ["PLACE"]];
    /// Max pool over the spikes of a convolution.
    POOL = "pool";
    /// Prefix sum, block sums.
    SCAN_REDUCE = "scan_reduce";
    /// Prefix sum, offsets of blocks.
    SCAN_BLOCKS = "scan_blocks";
    /// Prefix sum, offsets.
    SCAN_APPLY = "scan_apply";
    /// Sums of blocks of counts of a hidden layer; totals to report and overflow flag.
    SUMMARISE = "summarise";
    /// Offsets of these counts; `PLACE`: writes the lists of spikes and active entries.
    COMPACT = "compact" [[], ["PLACE"]];
    /// Writes the list of spikes for the next layer.
    SCATTER_ROWS = "scatter_rows";
    /// Writes the list of spikes for the weight gradient above.
    SCATTER_PRESYNAPTIC = "scatter_presynaptic";
    /// Writes the list of active entries.
    SCATTER_ACTIVE = "scatter_active";
    /// Input of a step: counts and needed rows; `HELD`: from the training set in device memory.
    GATHER = "gather" [[], ["HELD"]];
    /// Writes the list of input spikes, neuron by neuron.
    SCATTER_INPUT = "scatter_input";
    /// Sorts these, or the input of each pixel of a convolution.
    SORT_INPUT = "sort_input";
    /// Readout and logits.
    READOUT = "readout" [[], ["RECORD"], ["AHEAD"], ["AHEAD", "RECORD"], ["CURRENTS"], ["CURRENTS", "RECORD"]];
    /// The task's loss and its gradient.
    LOSS = "loss";
    /// Logits of a last layer that spikes.
    SPIKE_COUNT = "spike_count";
    /// Activity regularisers.
    ACTIVITY = "activity";
    /// Sums over the batch for the host.
    REPORT = "report";
    /// δ of the readout.
    DELTA_READOUT = "delta_readout";
    /// δ of a spiking layer.
    DELTA = "delta" [[], ["PATCHES"]];
    /// ∇S at active entries.
    SPIKE_GRADIENT = "spike_gradient" [[], ["COOPERATIVE"], ["GATHER"], ["COUNT"]];
    /// ∇S at active entries, of a pooled layer (`POOL`), through a convolution (`CONV`).
    SPIKE_GRADIENT_CONV = "spike_gradient_conv" [["POOL"], ["CONV"], ["POOL", "CONV"]];
    /// ∇W of a convolution.
    WEIGHT_GRADIENT_CONV = "weight_gradient_conv";
    /// ∇W, after the last chunk with the update.
    WEIGHT_GRADIENT = "weight_gradient" [["WIDE"], ["WIDE", "ADAM"], ["AHEAD"], ["AHEAD", "ADAM"]];
    /// Several layers forward, in step.
    LOCKSTEP_FORWARD = "lockstep_forward" [[], ["RECORD"]];
    /// What the host is told of these layers.
    LOCKSTEP_REPORT = "lockstep_report";
    /// Several layers backward, in step.
    LOCKSTEP_BACKWARD = "lockstep_backward";
    /// ∇W of these layers, after the last chunk with the update.
    LOCKSTEP_WEIGHTS = "lockstep_weights" [[], ["ADAM"]];
    /// The update alone.
    ADAM = "adam";
    /// Input events to a dense array.
    DENSE_INPUT = "dense_input" [[], ["CLEAR"]];
    /// Spikes of a hidden layer to a dense array.
    EXPAND = "expand";
    /// Matrix product.
    GEMM = "gemm" [
        [], ["A_TRANSPOSED"], ["B_TRANSPOSED"],
        ["COOPERATIVE"], ["COOPERATIVE", "A_TRANSPOSED"], ["COOPERATIVE", "B_TRANSPOSED"],
    ];
    /// Matrix product, parts of its depth added.
    GEMM_SUM = "gemm_sum";
    /// Dense baseline: LIF scan.
    DENSE_LIF = "dense_lif";
    /// Dense baseline: readout scan.
    DENSE_READOUT = "dense_readout";
    /// Dense baseline: reverse scan of the readout.
    DENSE_DELTA_READOUT = "dense_delta_readout";
    /// Dense baseline: reverse scan of a hidden layer.
    DENSE_DELTA = "dense_delta" [[], ["RECORD"]];
    /// Reference: a time step of LIF.
    REFERENCE_LIF = "reference_lif";
    /// Reference: spike counts.
    REFERENCE_COUNT = "reference_count";
    /// Reference: a time step of δ.
    REFERENCE_DELTA = "reference_delta" [[], ["RECORD"]];
    /// Reference: a time step's gradient added to a whole array.
    REFERENCE_ACCUMULATE = "reference_accumulate";
}

/// Measures the adapter's memory; no part of a step.
pub const MEASURE_STREAM: Kernel =
    Kernel { name: "measure/stream", source: include_str!("../../shaders/measure/stream.wgsl"), variants: &[&[]] };
/// Measures the adapter's arithmetic; no part of a step.
pub const MEASURE_MULTIPLY_ADD: Kernel = Kernel {
    name: "measure/multiply_add",
    source: include_str!("../../shaders/measure/multiply_add.wgsl"),
    variants: &[&[]],
};
/// How exact the adapter's arithmetic is; no part of a step.
pub const MEASURE_NUMBERS: Kernel =
    Kernel { name: "measure/numbers", source: include_str!("../../shaders/measure/numbers.wgsl"), variants: &[&[]] };
/// Whether atomics lose anything; no part of a step.
pub const MEASURE_ATOMICS: Kernel =
    Kernel { name: "measure/atomics", source: include_str!("../../shaders/measure/atomics.wgsl"), variants: &[&[]] };
/// The kernels that measure an adapter.
pub const MEASURES: &[Kernel] = &[MEASURE_STREAM, MEASURE_MULTIPLY_ADD, MEASURE_NUMBERS, MEASURE_ATOMICS];

/// Every variant of every kernel: those that steps are made of, then the kernels that measure an adapter.
pub fn variants() -> impl Iterator<Item = (Kernel, &'static [&'static str])> {
    let kernels = ALL.iter().chain(MEASURES);
    kernels.flat_map(|kernel| kernel.variants.iter().map(|defined| (*kernel, *defined)))
}

/// What `#import NAME` stands for.
fn shared(name: &str) -> Option<&'static str> {
    Some(match name {
        "params" => include_str!("../../shaders/shared/params.wgsl"),
        "index" => include_str!("../../shaders/shared/index.wgsl"),
        "lanes" => include_str!("../../shaders/shared/lanes.wgsl"),
        "root_lanes" => include_str!("../../shaders/shared/root_lanes.wgsl"),
        "input_lists" => include_str!("../../shaders/shared/input_lists.wgsl"),
        "active_entry" => include_str!("../../shaders/shared/active_entry.wgsl"),
        "sections" => include_str!("../../shaders/shared/sections.wgsl"),
        "place_presynaptic" => include_str!("../../shaders/shared/place_presynaptic.wgsl"),
        "place_active" => include_str!("../../shaders/shared/place_active.wgsl"),
        "cut_short" => include_str!("../../shaders/shared/cut_short.wgsl"),
        "upcoming" => include_str!("../../shaders/shared/upcoming.wgsl"),
        "conv" => include_str!("../../shaders/shared/conv.wgsl"),
        "windows" => include_str!("../../shaders/shared/windows.wgsl"),
        "integrator" => include_str!("../../shaders/shared/integrator.wgsl"),
        "adam" => include_str!("../../shaders/shared/adam.wgsl"),
        "regularisers" => include_str!("../../shaders/shared/regularisers.wgsl"),
        "finite" => include_str!("../../shaders/shared/finite.wgsl"),
        "cell" => include_str!("../../shaders/shared/cell.wgsl"),
        "surrogate" => include_str!("../../shaders/shared/surrogate.wgsl"),
        "bias" => include_str!("../../shaders/shared/bias.wgsl"),
        "constant_cell" => include_str!("../../shaders/shared/constant_cell.wgsl"),
        "constant_surrogate" => include_str!("../../shaders/shared/constant_surrogate.wgsl"),
        "layers" => include_str!("../../shaders/shared/layers.wgsl"),
        "lockstep_counts" => include_str!("../../shaders/shared/lockstep_counts.wgsl"),
        _ => return None,
    })
}

impl Kernel {
    /// A variant that computes the paper's network, or has nothing to do with cells.
    pub fn with(self, defined: &[&'static str]) -> Program {
        Program::new(self, defined, &[])
    }

    /// The WGSL text with imports in place and only the lines of the `defined` names kept.
    ///
    /// Up to the first import or unrolled loop, lines keep their numbers; dropped lines stay empty.
    pub fn wgsl(&self, defined: &[&str]) -> String {
        preprocess(self.source, defined)
    }

    /// Those of [`OVERRIDES`] that a variant declares.
    pub fn overrides(&self, defined: &[&str]) -> Vec<(&'static str, RangeInclusive<u32>)> {
        let text = self.wgsl(defined);
        let declared = |name: &str| text.lines().any(|line| line.starts_with(&format!("override {name}:")));
        OVERRIDES.into_iter().filter(|(name, _)| declared(name)).collect()
    }

    /// Programs of a variant that together have every value of each constant: the default, each other value alone, and the
    /// last values together.
    pub fn programs(&self, defined: &[&'static str]) -> Vec<Program> {
        let has = self.overrides(defined);
        let alone = has.iter().flat_map(|(name, values)| values.clone().map(move |value| vec![(*name, value)]));
        let together = has.iter().map(|(name, values)| (*name, *values.end())).collect();
        let all = std::iter::once(Vec::new()).chain(alone).chain((has.len() > 1).then_some(together));
        all.map(|constants| Program { kernel: *self, defined: defined.to_vec(), constants }).collect()
    }

    /// The name of a variant in messages: `lif_forward+WIDE+RECORD`.
    pub fn variant_name(&self, defined: &[&str]) -> String {
        [&[self.name], defined].concat().join("+")
    }

    /// The text of `NAME.wgsl` in `folder`, if there is one, assembled like [`wgsl`](Kernel::wgsl).
    pub fn edited(&self, folder: &Path, defined: &[&str]) -> Option<String> {
        let source = std::fs::read_to_string(folder.join(self.name).with_extension("wgsl")).ok()?;
        Some(preprocess(&source, defined))
    }
}

fn preprocess(source: &str, defined: &[&str]) -> String {
    let mut out = String::with_capacity(2 * source.len());
    let mut keep = vec![true];
    for line in source.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("#import"), Some(_)) if keep.contains(&false) => {}
            (Some("#import"), Some(name)) => out.push_str(shared(name).unwrap_or("#unknown import")),
            (Some("#ifdef"), Some(name)) => keep.push(defined.contains(&name)),
            (Some("#else"), None) => {
                if let Some(last) = keep.last_mut() {
                    *last = !*last;
                }
            }
            (Some("#endif"), None) => {
                keep.pop();
            }
            _ if keep.iter().all(|&k| k) => out.push_str(line),
            _ => {}
        }
        out.push('\n');
    }
    with_params_that_are_read(&unroll(&out, &out))
}

/// Repeats the lines between `#unroll NAME COUNT` and `#endunroll` in a part of `whole`, with 0u, 1u, ... in place of NAME.
/// COUNT is a number or a constant of `whole`.
///
/// Compilers keep an array in registers only if each index into it is a constant, and not all of them unroll loops.
fn unroll(text: &str, whole: &str) -> String {
    let mut out = String::with_capacity(2 * text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((name, count)) = line.strip_prefix("#unroll ").and_then(|words| words.split_once(' ')) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let mut depth = 1;
        let body: String = lines
            .by_ref()
            .take_while(|line| {
                depth += i32::from(line.starts_with("#unroll ")) - i32::from(*line == "#endunroll");
                depth > 0
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let constant = || whole.split_once(&format!("const {count}: u32 = "))?.1.split_once("u;")?.0.parse().ok();
        // With an unknown constant the directive stays, and no compiler accepts it.
        let Some(count) = count.parse().ok().or_else(constant) else {
            out.push_str(line);
            continue;
        };
        for k in 0..count {
            out.push_str(&format!("{{\n{}}}\n", unroll(&replace_word(&body, name, &format!("{k}u")), whole)));
        }
    }
    out
}

fn replace_word(text: &str, word: &str, by: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    for (at, found) in text.match_indices(word) {
        let whole = !text[..at].ends_with(part) && !text[at + found.len()..].starts_with(part);
        if whole {
            out.push_str(&text[before.unwrap_or(0)..at]);
            out.push_str(by);
            before = Some(at + found.len());
        }
    }
    out.push_str(&text[before.unwrap_or(0)..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_written_out() {
        let text =
            "const WIDTH: u32 = 2u;\n#unroll n WIDTH\n#unroll k 1\nv[n].x = next[k];\n#endunroll\n#endunroll\nend\n";
        let once = |n| format!("{{\n{{\nv[{n}u].x = next[0u];\n}}\n}}\n");
        assert_eq!(unroll(text, text), format!("const WIDTH: u32 = 2u;\n{}{}end\n", once(0), once(1)));
        assert!(unroll("#unroll n NONE\n#endunroll\n", "").contains("#unroll"));
    }

    #[test]
    fn nothing_of_ours_is_left() {
        for kernel in ALL {
            for defined in kernel.variants {
                let text = kernel.wgsl(defined);
                assert!(!text.lines().any(|line| line.starts_with('#')), "{} {defined:?}", kernel.name);
            }
        }
    }
}
