//! Arguments that say how the gpu device runs its kernels, for the commands that measure and check it.

use super::Usage;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use spikegrad::device::Device;
use spikegrad::engine::Engine;
use spikegrad::gpu::{DeltaScratch, GpuOptions, Variant};

#[derive(Debug, Clone, Default, clap::Args)]
pub struct GpuArguments {
    /// Variant of the gpu device's sparse kernels: plain, cooperative or lockstep [default: the fastest, which bench measures;
    /// for conformance, plain on software adapters and cooperative on hardware]
    #[arg(long, value_name = "VARIANT")]
    kernels: Option<Variant>,
    /// Size of the gpu device's delta scratch, MiB: usually 8, 32, 64 or 256, or whole, enough for the whole batch. A larger one
    /// means fewer and larger dispatches [default: the fastest, which bench measures; for conformance, and for bench with
    /// --kernels or --no-tuning, 4 on software adapters and 32 on hardware]
    #[arg(long, value_name = "N|whole", allow_negative_numbers = true)]
    delta_mib: Option<DeltaScratch>,
    /// Compile the gpu device's shaders with bounds checks [default: only in debug builds]
    #[arg(long, conflicts_with = "unchecked")]
    checked: bool,
    /// Compile the gpu device's shaders without bounds checks [default: in release builds]
    #[arg(long)]
    unchecked: bool,
}

impl GpuArguments {
    /// The arguments as options; all other options have their defaults.
    ///
    /// # Errors
    /// Any of these arguments, if `device` (resolved) is the cpu device.
    pub fn options(&self, device: Device) -> Result<GpuOptions> {
        if let (Device::Cpu, Some(word)) = (device, self.first()) {
            bail!(Usage(format!(
                "{word}: applies to the gpu device only, but the device is the cpu; use --device gpu"
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

    /// Whether any of the arguments was given.
    pub fn any(&self) -> bool {
        self.first().is_some()
    }

    /// The first of the arguments that was given.
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
