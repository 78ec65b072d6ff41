//! Words about how a gpu device runs its kernels, for the commands that measure and check it.

use super::Usage;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use spikegrad::device::Device;
use spikegrad::engine::Engine;
use spikegrad::gpu::{DeltaScratch, GpuOptions, Variant};

#[derive(Debug, Clone, Default, clap::Args)]
pub struct GpuArguments {
    /// Run this variant of a gpu device's sparse kernels: plain, cooperative or subgroups [default: bench takes the fastest,
    /// others plain on software adapters and cooperative on hardware]
    #[arg(long, value_name = "VARIANT")]
    kernels: Option<Variant>,
    /// Let the backward pass of a gpu device use N MiB for its deltas, or as much as all samples together need (whole). More
    /// memory means fewer and larger dispatches. Usual sizes are 8, 32, 64 and 256 [default: bench takes the fastest, or with
    /// --kernels, like others, 4 on software adapters and 8 on hardware]
    #[arg(long, value_name = "N|whole")]
    delta_mib: Option<DeltaScratch>,
    /// Compile a gpu device's shaders with bounds checks [default: only in debug builds]
    #[arg(long, conflicts_with = "unchecked")]
    checked: bool,
    /// Compile a gpu device's shaders without bounds checks [default: in release builds]
    #[arg(long)]
    unchecked: bool,
}

impl GpuArguments {
    /// As options; everything else is the default's.
    ///
    /// # Errors
    /// Words that mean nothing on the cpu device, if `device` (resolved) is that.
    pub fn options(&self, device: Device) -> Result<GpuOptions> {
        if let (Device::Cpu, Some(word)) = (device, self.first()) {
            bail!(Usage(format!(
                "{word}: only a gpu device has kernels to set up, and this is the cpu device; use --device gpu"
            )));
        }
        let checked = match (self.checked, self.unchecked) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let delta_bytes = self.delta_mib.map(DeltaScratch::bytes);
        Ok(GpuOptions { variant: self.kernels, delta_bytes, checked, ..GpuOptions::default() })
    }

    /// Whether any of the words was given.
    pub fn any(&self) -> bool {
        self.first().is_some()
    }

    /// The first of the words that was given.
    fn first(&self) -> Option<&'static str> {
        let words = [
            ("--kernels", self.kernels.is_some()),
            ("--delta-mib", self.delta_mib.is_some()),
            ("--checked", self.checked),
            ("--unchecked", self.unchecked),
        ];
        words.into_iter().find_map(|(word, given)| given.then_some(word))
    }
}

/// How an engine that was opened with these options runs its kernels, as fields of a JSON object: null on the cpu device.
pub fn fields(engine: &dyn Engine, options: &GpuOptions) -> [(&'static str, Value); 3] {
    let gpu = engine.kernels().is_some();
    [
        ("variant", json!(engine.kernels())),
        ("delta_mib", json!(engine.delta_bytes().map(DeltaScratch::of_bytes))),
        ("checked", json!(gpu.then(|| options.is_checked()))),
    ]
}
