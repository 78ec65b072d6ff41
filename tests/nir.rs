//! NIR files of other programs are imported exactly or refused by name; our own come back to the last bit. tests/nir/README.md says
//! where the files are from.

mod common;

use common::*;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use spikegrad::device::Device;
use spikegrad::engine::{Inspection, Method};
use spikegrad::events::EventSet;
use spikegrad::network::*;
use spikegrad::nir::{Export, ExportReadout, Import, Imported, from_nir, to_nir};
use spikegrad::optimiser::Adam;
use spikegrad::weights::Weights;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nir").join(name)
}

/// The expected values of a fixture.
struct Expected {
    bytes: Vec<u8>,
    config: serde_json::Value,
}

impl Expected {
    fn read(name: &str) -> Self {
        let bytes = std::fs::read(fixture(&format!("{name}.safetensors"))).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let config = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["config"]).unwrap();
        Expected { bytes, config }
    }

    fn dt(&self) -> f64 {
        self.config["dt"].as_f64().unwrap()
    }

    /// A tensor [B, T, N] and its extents.
    fn tensor(&self, name: &str) -> Option<(Vec<f64>, [usize; 3])> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).ok()?;
        let numbers = match tensor.dtype() {
            Dtype::U8 => tensor.data().iter().map(|&x| x.into()).collect(),
            Dtype::F64 => tensor.data().chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().unwrap())).collect(),
            other => panic!("{name} is {other:?}"),
        };
        Some((numbers, <[usize; 3]>::try_from(tensor.shape()).unwrap()))
    }

    /// What layer `k` gives, as it is when all layers integrate from the first step on and delay by one.
    fn free(&self, prefix: &str, kind: &str, k: usize) -> (Vec<f64>, [usize; 3]) {
        if let Some(free) = self.tensor(&format!("{prefix}free.{kind}.{k}")) {
            return free;
        }
        let (held, extents) = self.tensor(&format!("{prefix}{kind}.{k}")).unwrap();
        let delay = self.config["layers"][k]["delay"].as_u64().unwrap() as usize;
        let [batch, steps, n] = extents;
        let mut moved = vec![0.0; held.len()];
        for b in 0..batch {
            let (sample, shift) = (b * steps * n, delay * n);
            moved[sample + shift..sample + steps * n].copy_from_slice(&held[sample..sample + steps * n - shift]);
        }
        (moved, extents)
    }

    fn batch(&self) -> EventSet {
        let (spikes, [batch, steps, n]) = self.tensor("spikes").unwrap();
        let mut set = EventSet::new(n, steps);
        for b in 0..batch {
            let events = (0..steps * n).filter(|k| spikes[b * steps * n + k] != 0.0).map(|k| (k / n, k % n));
            set.push(events, 0).unwrap();
        }
        set
    }
}

fn import(name: &str, dt: Option<f64>, change: impl FnOnce(&mut Import)) -> Imported {
    let (_, [_, steps, _]) = Expected::read(name).tensor("spikes").unwrap();
    let mut options = Import { dt, time_steps: Some(steps), ..Import::default() };
    change(&mut options);
    from_nir(&fixture(&format!("{name}.nir")), &options).unwrap_or_else(|e| panic!("{e}"))
}

/// Compares all layers on both devices with the expected values under `prefix`.
fn compare(name: &str, prefix: &str, imported: &Imported) {
    let expected = Expected::read(name);
    let (network, batch) = (&imported.network, expected.batch());
    for device in [Device::Cpu, Device::Gpu(None)] {
        let mut engine = device.open(network, Method::Sparse, &imported.weights).unwrap();
        let seen = engine.inspect(&batch).unwrap();
        let what = format!("{name} on {device}");
        for (k, layer) in seen.spiking.iter().enumerate() {
            let (values, [_, steps, n]) = expected.free(prefix, "s", k);
            let spikes: BTreeSet<(usize, usize, usize)> =
                layer.spikes.iter().map(|(b, e)| (*b as usize, e.t(), e.i())).collect();
            let wanted = (0..values.len()).filter(|&k| values[k] != 0.0);
            let wanted: BTreeSet<_> = wanted.map(|k| (k / n / steps, k / n % steps, k % n)).collect();
            assert!(!wanted.is_empty(), "{what}: layer {k} is silent");
            assert_eq!(spikes, wanted, "{what}: spikes of layer {k}");
        }
        if network.integrator().is_some() {
            compare_potentials(&what, &seen, &expected.free(prefix, "v", seen.spiking.len()).0);
        }
    }
}

fn compare_potentials(what: &str, seen: &Inspection, wanted: &[f64]) {
    assert_eq!(seen.readout_v.len(), wanted.len());
    let scale = wanted.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let error = seen.readout_v.iter().zip(wanted).map(|(&v, wanted)| (f64::from(v) - wanted).abs()).fold(0.0, f64::max);
    assert!(error < 1e-5 * scale, "{what}: potentials of the readout differ by {error}");
}

#[test]
fn files_of_other_programs_are_imported_spike_by_spike() {
    for name in
        ["lif_common", "lif_wide", "nested", "norse_scalar", "odd_scale", "old_lif", "sinabs_conv", "snntorch_synaptic"]
    {
        let imported = import(name, Some(Expected::read(name).dt()), |_| {});
        compare(name, "", &imported);
    }
}

#[test]
fn the_reset_of_old_files_can_be_chosen() {
    let dt = Some(Expected::read("old_lif").dt());
    let now = import("old_lif", dt, |_| {});
    let warnings = now.report.warnings.join("\n");
    assert!(warnings.contains("lif1") && warnings.contains("0.2.0") && warnings.contains("--reset"), "{warnings}");
    let then = import("old_lif", dt, |options| options.missing_reset = Reset::Subtract);
    compare("old_lif", "subtract.", &then);
}

#[test]
fn the_time_step_is_taken_from_the_metadata_or_asked_for() {
    assert_eq!(import("nested", None, |_| {}).report.dt, 1e-3);
    let error = from_nir(&fixture("lif_common.nir"), &Import::default()).unwrap_err().to_string();
    assert!(error.contains("lif_common.nir") && error.contains("--dt") && error.contains("snnTorch"), "{error}");
    // The network may call its step another length.
    let dt = Some(1e-4);
    let (a, b) = (import("lif_common", dt, |_| {}), import("lif_common", dt, |options| options.dt_ms = Some(1.0)));
    assert_eq!((a.network.dt_ms, b.network.dt_ms), (0.1, 1.0));
    assert_eq!(a.weights, b.weights);
    let alpha = |imported: &Imported| imported.network.hidden[0].constants(imported.network.dt_ms).alpha;
    assert_eq!(alpha(&a), alpha(&b));
}

#[test]
fn what_cannot_be_computed_is_refused_by_node_and_reason() {
    for (name, dt, parts) in [
        ("bad_shapes", 1e-3, &["node `lif` (LIF)", "5 values", "[4]"][..]),
        ("bad_truncated", 1e-4, &["/node", "damaged or truncated, get it again"]),
        ("lif_full", 1e-3, &["node `lif1` (LIF)", "`tau` differs"]),
        ("odd_cubali", 1e-3, &["node `out` (CubaLI)", "cannot be imported"]),
        ("odd_delay", 1e-3, &["node `wait` (Delay)", "cannot be imported"]),
        ("odd_threshold", 1.0, &["node `layer_1_threshold` (Threshold)", "potentials of a LI node"]),
        ("snntorch_leaky", 1e-4, &["node `1` (LIF)", "`tau` differs"]),
        ("snntorch_rleaky", 1e-4, &["(LIF)", "`1.lif`", "is in a loop", "recurrent"]),
        ("spyx_lif", 1.0, &["node `layer_1` (LIF)", "`tau` differs"]),
        // The wrong time step, i.e. one that is longer than a time constant.
        ("lif_common", 1.0, &["node `lif1` (LIF)", "smaller than the time step", "--dt"]),
    ] {
        let name = format!("{name}.nir");
        let error = from_nir(&fixture(&name), &Import { dt: Some(dt), ..Import::default() }).unwrap_err().to_string();
        for part in parts.iter().chain(&[name.as_str()]) {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
    for dt in [0.0, -1.0, f64::NAN] {
        let error = from_nir(&fixture("lif_common.nir"), &Import { dt: Some(dt), ..Import::default() }).unwrap_err();
        assert!(error.to_string().starts_with("dt = "), "{error}");
    }
}
