//! Limits below those of the adapter, to test on it what smaller devices allow.

use crate::error::{Error, Result, did_you_mean};
use std::str::FromStr;

/// The environment variable that lowers the limits of every adapter of this process.
pub const VARIABLE: &str = "SPIKEGRAD_LIMITS";
/// Lanes of the largest workgroups, if the device allows them.
pub const WIDE_LANES: u32 = 256;
/// Least lanes per workgroup that a device must allow.
pub const FEWEST_LANES: u32 = 64;
/// Workgroup memory of the largest kernel, bytes, if the device allows it.
pub const LARGE_WORKGROUP: u32 = 16 << 10;
/// Least workgroup memory that a device must allow, bytes.
pub const LEAST_WORKGROUP: u32 = 8 << 10;

/// The limits to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// WebGPU's default limits, and bindings as large as the adapter allows.
    #[default]
    Adapter,
    /// WebGPU's default limits exactly.
    WebGpu,
    /// wgpu's defaults for older devices (OpenGL ES 3.1 and the like), but with the eight storage bindings that kernels need.
    Downlevel,
}

/// Restrictions of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Squeeze {
    /// Limits to begin with.
    pub base: Base,
    /// No timestamp queries.
    pub no_timestamps: bool,
    /// Most invocations of a workgroup.
    pub lanes: Option<u32>,
    /// Largest storage binding, bytes.
    pub binding: Option<u64>,
}

impl Squeeze {
    /// The restrictions of `SPIKEGRAD_LIMITS`; none if it is not set or empty.
    ///
    /// # Errors
    /// Words that [`FromStr`] does not know.
    pub fn from_env() -> Result<Self> {
        match std::env::var(VARIABLE) {
            Ok(words) if !words.trim().is_empty() => {
                words.parse().map_err(|error| Error::Config(format!("{VARIABLE}: {error}")))
            }
            _ => Ok(Squeeze::default()),
        }
    }

    /// The limits to request, none beyond those of the adapter.
    pub fn limits(&self, offered: &wgpu::Limits) -> wgpu::Limits {
        let mut limits = match self.base {
            Base::Adapter | Base::WebGpu => wgpu::Limits::default(),
            Base::Downlevel => {
                wgpu::Limits { max_storage_buffers_per_shader_stage: 8, ..wgpu::Limits::downlevel_defaults() }
            }
        };
        if self.base == Base::Adapter {
            limits.max_storage_buffer_binding_size = offered.max_storage_buffer_binding_size;
            limits.max_buffer_size = offered.max_buffer_size;
        }
        if let Some(lanes) = self.lanes {
            limits.max_compute_invocations_per_workgroup = limits.max_compute_invocations_per_workgroup.min(lanes);
            limits.max_compute_workgroup_size_x = limits.max_compute_workgroup_size_x.min(lanes);
        }
        if let Some(binding) = self.binding {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(binding);
        }
        limits.or_worse_values_from(offered)
    }

    /// The optional features to request, of those that the adapter offers.
    pub fn features(&self, offered: wgpu::Features) -> wgpu::Features {
        if self.no_timestamps { wgpu::Features::empty() } else { offered & wgpu::Features::TIMESTAMP_QUERY }
    }
}

/// The words of `SPIKEGRAD_LIMITS`.
const WORDS: [&str; 5] = ["webgpu", "downlevel", "no-timestamps", "lanes=N", "binding=BYTES"];

impl FromStr for Squeeze {
    type Err = Error;

    /// Comma-separated words: `webgpu` or `downlevel`, `no-timestamps`, `lanes=64`, `binding=BYTES`.
    fn from_str(words: &str) -> Result<Self> {
        let mut squeeze = Squeeze::default();
        for word in words.split(',').map(str::trim) {
            match word.split_once('=') {
                None if word == "webgpu" => squeeze.base = Base::WebGpu,
                None if word == "downlevel" => squeeze.base = Base::Downlevel,
                None if word == "no-timestamps" => squeeze.no_timestamps = true,
                Some(("lanes", n)) => squeeze.lanes = Some(number(word, n)?),
                Some(("binding", n)) => squeeze.binding = Some(number(word, n)?),
                _ => {
                    // `lane=64` is like `lanes`.
                    let name = word.split('=').next().unwrap_or(word);
                    let like = did_you_mean(name, WORDS.map(|known| known.split('=').next().unwrap_or(known)));
                    return Err(Error::Config(format!("limit `{word}`: must be one of {}{like}", WORDS.join(", "))));
                }
            }
        }
        Ok(squeeze)
    }
}

fn number<N: FromStr>(word: &str, n: &str) -> Result<N> {
    n.parse().map_err(|_| Error::Config(format!("limit `{word}`: `{n}` is not a whole number")))
}

/// The limits that are too low to run the kernels: the limit, its value, and what is needed.
pub fn lacking(limits: &wgpu::Limits) -> Option<String> {
    let at_least = [
        ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage, 8),
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup, FEWEST_LANES),
        ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x, FEWEST_LANES),
        ("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size, LEAST_WORKGROUP),
        ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension, 65_535),
        ("max_uniform_buffers_per_shader_stage", limits.max_uniform_buffers_per_shader_stage, 2),
        (
            "max_uniform_buffer_binding_size",
            limits.max_uniform_buffer_binding_size.min(u64::from(u32::MAX)) as u32,
            256,
        ),
    ];
    let lack = at_least.iter().find(|(_, has, needs)| has < needs);
    lack.map(|(name, has, needs)| format!("its {name} is {has}, the kernels need {needs}"))
}

/// Whether kernels are limited to workgroups of [`FEWEST_LANES`] and half of [`LARGE_WORKGROUP`].
pub fn narrow(limits: &wgpu::Limits) -> bool {
    limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x) < WIDE_LANES
        || limits.max_compute_workgroup_storage_size < LARGE_WORKGROUP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let squeeze: Squeeze = "downlevel, no-timestamps,lanes=64,binding=1048576".parse().unwrap();
        let expected = Squeeze { base: Base::Downlevel, no_timestamps: true, lanes: Some(64), binding: Some(1 << 20) };
        assert_eq!(squeeze, expected);
        for (words, complaint) in [
            ("webgl", "limit `webgl`: must be one of webgpu, "),
            ("webgl", "did you mean `webgpu`?"),
            ("lane=64", "lanes=N, binding=BYTES; did you mean `lanes`?"),
            ("lanes=many", "`many` is not"),
            ("", "limit ``"),
        ] {
            let error = words.parse::<Squeeze>().unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn nothing_is_asked_for_that_is_not_offered() {
        let offered = wgpu::Limits {
            max_compute_invocations_per_workgroup: 128,
            max_storage_buffer_binding_size: 1 << 30,
            ..wgpu::Limits::default()
        };
        let limits = Squeeze::default().limits(&offered);
        assert_eq!(limits.max_compute_invocations_per_workgroup, 128);
        assert_eq!(limits.max_storage_buffer_binding_size, 1 << 30);
        assert!(lacking(&limits).is_none() && narrow(&limits));
        let webgpu: Squeeze = "webgpu".parse().unwrap();
        assert_eq!(
            webgpu.limits(&wgpu::Limits { max_storage_buffer_binding_size: 1 << 30, ..wgpu::Limits::default() }),
            wgpu::Limits::default()
        );
        assert!(!narrow(&wgpu::Limits::default()));
    }

    #[test]
    fn what_is_lacking_is_named() {
        let lack = lacking(&wgpu::Limits::downlevel_defaults()).unwrap();
        assert_eq!(lack, "its max_storage_buffers_per_shader_stage is 4, the kernels need 8");
        let downlevel: Squeeze = "downlevel,lanes=63".parse().unwrap();
        let lack = lacking(&downlevel.limits(&wgpu::Limits::default())).unwrap();
        assert!(lack.contains("max_compute_invocations_per_workgroup is 63"), "{lack}");
    }
}
