//! Listing adapters, choosing one, and using its capabilities.

use super::squeeze::{Squeeze, lacking, narrow};
use super::variant::Variant;
use crate::error::{Error, Result, did_you_mean};
use crate::platform::block_on;
use crate::system::is_debian;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// An adapter as users see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AdapterSummary {
    /// Its number in `--device gpu:N`.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Vulkan, Metal, Dx12 or Gl.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Whether it can run the kernels (compute shaders within WebGPU's default limits).
    pub usable: bool,
    /// Largest storage binding, bytes.
    pub max_storage_binding: u64,
    /// Largest buffer, bytes.
    pub max_buffer: u64,
    /// Whether kernels can be timed.
    pub timestamps: bool,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Whether FXC, Microsoft's old compiler, compiles the shaders.
    pub fxc: bool,
}

/// The class of an adapter, which determines the default kernels, from least to most capable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// A software adapter: the cost of a lane's loads does not depend on where its neighbours read.
    Software,
    /// A GPU: neighbouring lanes share cache lines.
    Hardware,
}

impl AdapterSummary {
    /// The most bytes of a buffer that a kernel can be given at once.
    pub fn binding(&self) -> u64 {
        self.max_storage_binding.min(self.max_buffer)
    }

    /// The tier of an adapter, unless [`GpuOptions::tier`] sets one.
    pub fn tier(&self) -> Tier {
        match self.kind {
            "software" => Tier::Software,
            _ => Tier::Hardware,
        }
    }
}

/// How kernels are instrumented; they compute the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument {
    /// Count loads, stores and arithmetic: [`GpuEngine::counted`](super::GpuEngine::counted).
    Count,
    /// Log every access to memory that invocations share, to find data races:
    /// [`GpuEngine::races`](super::GpuEngine::races).
    Races,
}

/// How the gpu device is opened.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// `gpu:N`; `None` takes the best adapter.
    pub adapter: Option<usize>,
    /// Bounds checks in shaders: on in debug builds, off in release builds; `Some` decides.
    pub checked: Option<bool>,
    /// The backends to use; `None` takes `WGPU_BACKEND`, or those that are native to the system.
    pub backends: Option<wgpu::Backends>,
    /// Limits below those that the adapter offers; `None` takes `SPIKEGRAD_LIMITS`: [`Squeeze::from_env`].
    pub limits: Option<Squeeze>,
    /// The tier; `None` takes that of the adapter.
    pub tier: Option<Tier>,
    /// Variant of the sparse kernels; `None` takes the fastest one, with `tuning`, or the tier's default.
    pub variant: Option<Variant>,
    /// Whether variants and sizes of δ are measured on the network's first use on this adapter: [`super::tuning`]. With a
    /// `variant` nothing is measured.
    pub tuning: bool,
    /// Samples per batch, for the tuning; `None` is 256.
    pub batch: Option<usize>,
    /// Where the outcome of the tuning is kept; `None` is `spikegrad/tuning.json` in the user's cache folder.
    pub tuning_file: Option<std::path::PathBuf>,
    /// Bytes that the δ of a chunk of samples may take: [`DeltaScratch::bytes`](super::DeltaScratch::bytes), of `WHOLE` for
    /// all samples in one chunk. `None` takes the fastest size, with `tuning`, or the tier's default.
    pub delta_bytes: Option<u64>,
    /// First guess of the entries that a spike or active list holds, per neuron and time step; `None` is 0.02.
    pub density_guess: Option<f64>,
    /// Largest buffer that a kernel binds, bytes, if less than the device allows; steps that need larger ones are computed
    /// in pieces.
    pub max_binding: Option<u64>,
    /// Bytes of device memory to use, including weights and training set; `None`: all of it.
    pub memory: Option<u64>,
    /// Seconds of work that a submit may hold, by the measured pace; `None` is 0.2. Drivers kill a submit after 2 s.
    pub submit_seconds: Option<f64>,
    /// Instruments every kernel. Slow.
    pub instrument: Option<Instrument>,
    /// Folder with shaders that replace those in the program, `NAME.wgsl` each, for work on kernels. They always run with
    /// bounds checks.
    pub shaders: Option<std::path::PathBuf>,
}

impl GpuOptions {
    /// Whether shaders check bounds.
    pub fn is_checked(&self) -> bool {
        self.checked.unwrap_or(cfg!(debug_assertions))
    }
}

/// The process's only instance of some backends.
///
/// It stays alive, because the system unloads the drivers when no instance is left, and NVIDIA's driver cannot be loaded any
/// number of times: after some dozens of engines there was no Vulkan adapter any more. GL has an instance for each engine,
/// since an instance of GL is one context, which belongs to one thread at a time.
fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    static INSTANCES: Mutex<Vec<(wgpu::Backends, wgpu::Instance)>> = Mutex::new(Vec::new());
    if backends.contains(wgpu::Backends::GL) {
        return new_instance(backends);
    }
    let mut instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, instance)) = instances.iter().find(|(of, _)| *of == backends) {
        return instance.clone();
    }
    let instance = new_instance(backends);
    instances.push((backends, instance.clone()));
    instance
}

/// An instance, with validation as set in the environment.
fn new_instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Computes nothing; available only if wgpu was built with it and it is requested by name.
    descriptor.backend_options.noop.enable = backends == wgpu::Backends::NOOP;
    // Unless WGPU_DX12_COMPILER names one (dxc, fxc): DXC, built in or found as dxcompiler.dll, else FXC.
    descriptor.backend_options.dx12 = wgpu::Dx12BackendOptions::from_env_or_default();
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    wgpu::Instance::new(descriptor)
}

/// The adapters of some backends.
async fn adapters_of(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    instance(backends).enumerate_adapters(backends).await
}

/// How to get an adapter on this system.
pub fn how_to_get_driver() -> &'static str {
    match std::env::consts::OS {
        "windows" => "install your GPU's driver",
        "macos" | "ios" => "use a Mac with Metal, logged in to its desktop",
        "linux" if is_debian() => {
            "install your GPU's Vulkan driver, or a software one with `apt-get install mesa-vulkan-drivers`"
        }
        _ => "install your GPU's Vulkan driver, or Mesa's software one (lavapipe)",
    }
}

/// Why an adapter cannot run the kernels; `None` if it can.
fn missing(adapter: &wgpu::Adapter, squeeze: &Squeeze) -> Option<String> {
    let flags = adapter.get_downlevel_capabilities().flags;
    let info = adapter.get_info();
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        || (info.backend == wgpu::Backend::Gl && is_old_gl(&info.driver_info))
    {
        return Some("it has no compute shaders".into());
    }
    lacking(&squeeze.limits(&adapter.limits()))
}

/// Whether a context's version is too low for compute shaders: OpenGL before 4.3, OpenGL ES before 3.1. wgpu accepts older
/// contexts that have the extension (NVIDIA's 3.3), but cannot write shaders for them.
fn is_old_gl(version: &str) -> bool {
    let least = if version.contains("ES") { (3, 1) } else { (4, 3) };
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < least)
}

fn kind(device_type: wgpu::DeviceType) -> &'static str {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

fn summary(index: usize, adapter: &wgpu::Adapter, squeeze: &Squeeze) -> AdapterSummary {
    let (info, offered, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let (limits, usual) = (squeeze.limits(&offered), squeeze.features(features));
    AdapterSummary {
        index,
        // Some browsers keep it to themselves.
        name: if info.name.is_empty() { "GPU".into() } else { info.name },
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        kind: kind(info.device_type),
        usable: missing(adapter, squeeze).is_none(),
        max_storage_binding: limits.max_storage_buffer_binding_size,
        max_buffer: limits.max_buffer_size,
        timestamps: usual.contains(wgpu::Features::TIMESTAMP_QUERY),
        f16: features.contains(wgpu::Features::SHADER_F16),
        // wgpu does not say which compiler it uses. On GPUs of the last ten years, it offers subgroups on DX12 only with DXC.
        fxc: info.backend == wgpu::Backend::Dx12 && !features.contains(wgpu::Features::SUBGROUP),
    }
}

/// The environment variable that restricts the adapters to some graphics APIs.
const BACKEND_VARIABLE: &str = "WGPU_BACKEND";
/// Its words; wgpu knows some other spellings of them.
const BACKEND_NAMES: [&str; 4] = ["vulkan", "metal", "dx12", "gl"];

/// The backends of `WGPU_BACKEND`; `None` if it is not set or empty.
fn backends_from_env() -> Result<Option<wgpu::Backends>> {
    match std::env::var(BACKEND_VARIABLE) {
        Ok(words) if !words.trim().is_empty() => {
            backends(&words).map(Some).map_err(|error| Error::Config(format!("{BACKEND_VARIABLE}: {error}")))
        }
        _ => Ok(None),
    }
}

/// The backends in a comma-separated list. wgpu ignores words that it does not know.
fn backends(words: &str) -> Result<wgpu::Backends> {
    let mut backends = wgpu::Backends::empty();
    for word in words.split(',').map(str::trim) {
        match wgpu::Backends::from_comma_list(word) {
            known if !known.is_empty() => backends |= known,
            _ => {
                let like = did_you_mean(word, BACKEND_NAMES);
                let names = BACKEND_NAMES.join(", ");
                return Err(Error::Config(format!("unknown graphics API `{word}`: must be one of {names}{like}")));
            }
        }
    }
    Ok(backends)
}

/// Checks the variables that choose and restrict adapters, `WGPU_BACKEND` and `SPIKEGRAD_LIMITS`.
///
/// # Errors
/// [`Error::Config`] naming the variable and the words that are valid.
pub fn check_environment() -> Result<()> {
    backends_from_env()?;
    Squeeze::from_env().map(drop)
}

/// Vulkan, Metal and DX12 adapters; those of GL only if there are no others, since opening GL is slow and noisy.
/// `wanted`, or `WGPU_BACKEND` (`vulkan`, `metal`, `dx12`, `gl`), decides otherwise.
async fn enumerate(wanted: Option<wgpu::Backends>) -> Vec<wgpu::Adapter> {
    // Opening an adapter reports an invalid variable.
    if let Some(backends) = wanted.or_else(|| backends_from_env().unwrap_or_default()) {
        return adapters_of(backends).await;
    }
    let found = adapters_of(wgpu::Backends::PRIMARY).await;
    if found.is_empty() { adapters_of(wgpu::Backends::GL).await } else { found }
}

/// Every adapter of this machine, in the order of `gpu:N`, within the limits of `SPIKEGRAD_LIMITS`.
pub fn adapters() -> Vec<AdapterSummary> {
    // Listing never fails; if it cannot be waited for, the list is empty.
    block_on(async { Ok(list_adapters().await) }).unwrap_or_default()
}

/// [`adapters`], to be awaited.
pub async fn list_adapters() -> Vec<AdapterSummary> {
    // Opening an adapter reports an invalid variable.
    let squeeze = Squeeze::from_env().unwrap_or_default();
    enumerate(None).await.iter().enumerate().map(|(k, adapter)| summary(k, adapter, &squeeze)).collect()
}

/// Properties of the model of an adapter, for a report; nothing that identifies the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Its summary, within the limits of `SPIKEGRAD_LIMITS`.
    pub summary: AdapterSummary,
    /// PCI number of the vendor, 0 where there is none.
    pub vendor: u32,
    /// The vendor's number of the model.
    pub device: u32,
    /// Features that it offers.
    pub features: Vec<&'static str>,
    /// WebGPU's requirements that it does not meet.
    pub missing_from_webgpu: Vec<&'static str>,
    /// Its limits, as far as kernels may reach them.
    pub limits: Vec<(&'static str, u64)>,
}

/// Limits by name.
macro_rules! limits_of {
    ($limits:expr, $($name:ident),* $(,)?) => { vec![$((stringify!($name), u64::from($limits.$name))),*] };
}

/// Describes every adapter, in the order of [`adapters`].
pub fn describe() -> Vec<Description> {
    let squeeze = Squeeze::from_env().unwrap_or_default();
    let one = |(index, adapter): (usize, &wgpu::Adapter)| {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let downlevel = adapter.get_downlevel_capabilities().flags;
        Description {
            summary: summary(index, adapter, &squeeze),
            vendor: info.vendor,
            device: info.device,
            features: adapter.features().iter_names().map(|(name, _)| name).collect(),
            missing_from_webgpu: downlevel.complement().iter_names().map(|(name, _)| name).collect(),
            limits: limits_of!(
                limits,
                max_bind_groups,
                max_bindings_per_bind_group,
                max_storage_buffers_per_shader_stage,
                max_uniform_buffers_per_shader_stage,
                max_uniform_buffer_binding_size,
                max_storage_buffer_binding_size,
                max_buffer_size,
                min_uniform_buffer_offset_alignment,
                min_storage_buffer_offset_alignment,
                max_compute_workgroup_storage_size,
                max_compute_invocations_per_workgroup,
                max_compute_workgroup_size_x,
                max_compute_workgroup_size_y,
                max_compute_workgroup_size_z,
                max_compute_workgroups_per_dimension,
                max_immediate_size,
            ),
        }
    };
    let found = block_on(async { Ok(enumerate(None).await) }).unwrap_or_default();
    found.iter().enumerate().map(one).collect()
}

/// Nanoseconds of a tick of the timestamps of the adapter that `options` ask for; `None` where it has none.
///
/// # Errors
/// As those of [`open`].
pub fn timestamp_period(options: &GpuOptions) -> Result<Option<f32>> {
    let opened = block_on(open(options))?;
    Ok(opened.summary.timestamps.then(|| opened.queue.get_timestamp_period()))
}

/// The adapters that `gpu` may take, or with `software` false those that `auto` may take.
fn eligible(adapters: &[AdapterSummary], software: bool) -> impl Iterator<Item = &AdapterSummary> {
    // Browsers tell software from hardware, but not the kind of hardware.
    let hardware = |a: &AdapterSummary| a.kind != "software" && (a.kind != "other" || a.backend == "webgpu");
    adapters.iter().filter(move |a| a.usable && (software || hardware(a)))
}

/// The adapter that `gpu` takes, or with `software` false the one that `auto` takes: discrete before integrated before virtual, a
/// native backend before GL.
pub fn best(adapters: &[AdapterSummary], software: bool) -> Option<usize> {
    let rank = |a: &AdapterSummary| {
        let kind = ["discrete", "integrated", "virtual", "other", "software"].iter().position(|k| *k == a.kind);
        (kind, a.backend.eq_ignore_ascii_case("gl"), a.index)
    };
    eligible(adapters, software).min_by_key(|a| rank(a)).map(|a| a.index)
}

/// The adapters that several processes share out, where one would take the [`best`]: those of its kind and backend. A GPU may be listed
/// once per backend, and must not count twice.
pub fn like_best(adapters: &[AdapterSummary]) -> Vec<usize> {
    let Some(best) = best(adapters, false).map(|index| &adapters[index]) else { return Vec::new() };
    let like = |a: &&AdapterSummary| (a.kind, &a.backend) == (best.kind, &best.backend);
    eligible(adapters, false).filter(like).map(|a| a.index).collect()
}

/// An open adapter.
pub struct Opened {
    /// What it is.
    pub summary: AdapterSummary,
    /// Its tier.
    pub tier: Tier,
    /// The variant of the sparse kernels.
    pub variant: Variant,
    /// Whether workgroups must be small: [`narrow`].
    pub narrow: bool,
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
}

/// Opens the adapter that `options` ask for.
///
/// # Errors
/// No adapter, none with that number, or one that cannot run the kernels.
pub async fn open(options: &GpuOptions) -> Result<Opened> {
    let squeeze = options.limits.map_or_else(Squeeze::from_env, Ok)?;
    let backends = options.backends.map_or_else(backends_from_env, |backends| Ok(Some(backends)))?;
    let found = enumerate(backends).await;
    let summaries: Vec<_> = found.iter().enumerate().map(|(k, adapter)| summary(k, adapter, &squeeze)).collect();
    let index = match options.adapter {
        Some(index) if index < found.len() => index,
        Some(index) => {
            return Err(Error::Device(format!(
                "no adapter gpu:{index}: this machine has {}; `spikegrad devices` lists them",
                found.len()
            )));
        }
        None => best(&summaries, true).or((found.len() == 1).then_some(0)).ok_or_else(|| {
            Error::Device(format!("no usable GPU adapter found; {}, or use the cpu device", how_to_get_driver()))
        })?,
    };
    let (adapter, summary) = (&found[index], summaries[index].clone());
    if let Some(why) = missing(adapter, &squeeze) {
        return Err(Error::Device(format!("{} ({}) cannot run the kernels: {why}", summary.name, summary.backend)));
    }
    let mut limits = squeeze.limits(&adapter.limits());
    if options.instrument.is_some() {
        // The output of instrumented kernels is one more storage buffer beside their eight.
        limits.max_storage_buffers_per_shader_stage = adapter.limits().max_storage_buffers_per_shader_stage;
    }
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("spikegrad"),
        required_features: squeeze.features(adapter.features()),
        required_limits: limits.clone(),
        // Buffers are made once. Larger blocks, which make allocation quick, would double the memory of a run.
        memory_hints: wgpu::MemoryHints::Manual { suballocated_device_memory_block_size: 4 << 20..16 << 20 },
        ..Default::default()
    };
    let (device, queue) = (adapter.request_device(&descriptor).await)
        .map_err(|e| Error::Device(format!("{} ({}): {e}", summary.name, summary.backend)))?;
    let tier = options.tier.unwrap_or(summary.tier());
    let variant = options.variant.unwrap_or(Variant::usual(tier));
    Ok(Opened { summary, tier, variant, narrow: narrow(&limits), device, queue })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphics_apis_by_name() {
        assert_eq!(backends("Vulkan, gl").unwrap(), wgpu::Backends::VULKAN | wgpu::Backends::GL);
        for (words, part) in
            [("vulcan", "did you mean `vulkan`?"), ("vulkan,cuda", "`cuda`: must be one of vulkan, metal")]
        {
            let error = backends(words).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn unusable_and_software_adapters_are_not_chosen_by_themselves() {
        let adapters = [
            ("software", "Vulkan", true),
            ("discrete", "Gl", true),
            ("discrete", "Vulkan", false),
            ("other", "Vulkan", true),
            ("integrated", "Vulkan", true),
            ("discrete", "Vulkan", true),
            ("discrete", "Vulkan", true),
        ];
        let adapters: Vec<_> = (adapters.into_iter().enumerate())
            .map(|(index, (kind, backend, usable))| AdapterSummary {
                index,
                name: String::new(),
                backend: backend.into(),
                driver: String::new(),
                kind,
                usable,
                max_storage_binding: 0,
                max_buffer: 0,
                timestamps: false,
                f16: false,
                fxc: false,
            })
            .collect();
        for (most, chosen) in [(7, &[5, 6][..]), (6, &[5]), (5, &[1]), (1, &[])] {
            let some = &adapters[..most];
            assert_eq!((best(some, false), like_best(some)), (chosen.first().copied(), chosen.to_vec()));
        }
        assert_eq!(best(&adapters[..1], true), Some(0));
    }

    #[test]
    fn gl_without_compute_shaders() {
        for old in ["3.3.0 NVIDIA 580.159.04", "OpenGL ES 3.0 Mesa 22.3.6", "4.2 (Core Profile) Mesa 22.3.6"] {
            assert!(is_old_gl(old), "{old}");
        }
        for new in ["4.5 (Core Profile) Mesa 22.3.6", "OpenGL ES 3.1 v1.r32p1", "4.3.0", "OpenGL ES 3.2 Mesa", ""] {
            assert!(!is_old_gl(new), "{new}");
        }
    }
}
