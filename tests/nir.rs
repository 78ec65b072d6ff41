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
    for name in [
        "lif_common",
        "lif_wide",
        "nested",
        "norse_scalar",
        "odd_scale",
        "old_lif",
        "sinabs_conv",
        "snntorch_rleaky",
        "snntorch_synaptic",
    ] {
        let imported = import(name, Some(Expected::read(name).dt()), |_| {});
        compare(name, "", &imported);
    }
}

#[test]
fn the_reset_of_old_files_can_be_chosen() {
    let dt = Some(Expected::read("old_lif").dt());
    let now = import("old_lif", dt, |_| {});
    let warnings = now.report.warnings.join("\n");
    assert!(
        warnings.contains("lif1") && warnings.contains("0.2.0") && warnings.contains("missing_reset"),
        "{warnings}"
    );
    let named = |name, dt, options: fn(&mut Import)| import(name, Some(dt), options).report.warnings.join("\n");
    let unused = named("lif_common", 1e-4, |options| {
        (options.missing_reset, options.logits) = (Some(Reset::Subtract), Some(Logits::Max));
    });
    assert!(unused.contains("missing_reset has no effect") && unused.contains("logits has no effect"), "{unused}");
    assert!(!named("old_lif", 1e-3, |options| options.missing_reset = Some(Reset::ToValue)).contains("no effect"));
    let then = import("old_lif", dt, |options| options.missing_reset = Some(Reset::Subtract));
    compare("old_lif", "subtract.", &then);
}

#[test]
fn the_time_step_is_taken_from_the_metadata_or_asked_for() {
    assert_eq!(import("nested", None, |_| {}).report.dt, 1e-3);
    let error = from_nir(&fixture("lif_common.nir"), &Import::default()).unwrap_err().to_string();
    assert!(error.contains("lif_common.nir") && error.contains("option dt") && error.contains("snnTorch"), "{error}");
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
        ("odd_threshold", 1.0, &["node `layer_1` (LI)", "go on to node `layer_1_threshold` (Threshold)"]),
        ("snntorch_leaky", 1e-4, &["node `1` (LIF)", "`tau` differs"]),
        ("spyx_lif", 1.0, &["node `layer_1` (LIF)", "`tau` differs"]),
        // The wrong time step, i.e. one that is longer than a time constant.
        ("lif_common", 1.0, &["node `lif1` (LIF)", "smaller than the time step", "option dt"]),
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

/// LIF neurons whose potential a spike sets.
fn lif(neurons: usize) -> SpikingLayer {
    SpikingLayer::lif(neurons).reset(Reset::ToValue)
}

/// Networks that NIR holds as they are, and some that it does not.
fn own_networks() -> Vec<(&'static str, Network, bool)> {
    let steps = 20;
    let cuba = |neurons| SpikingLayer::cuba_lif(neurons, 3.0).reset(Reset::ToValue).tau_ms(7.0).bias();
    let odd = lif(9).v_th(1.3).v_r(-0.2).v_rest(0.1).surrogate(Surrogate::Arctan, 2.0).b_th(f64::INFINITY).bias();
    let mixed = Network::new(30, steps).dt_ms(0.5).layer(cuba(12)).layer(odd);
    let counts = mixed.readout(Readout::spike_count(cuba(4)));
    let counts = counts.loss(Loss::MeanSquaredError { on: 5.0, off: 1.0 }).build().unwrap();
    let plain = Network::new(30, steps).layer(lif(20).tau_ms(5.0)).layer(lif(15)).readout(Readout::sum(4)).build();
    let one = Readout::last(4).gain(ReadoutGain::One).bias();
    let recurrent = Network::new(30, steps).layer(lif(12).tau_ms(5.0).recurrent().bias()).layer(cuba(9).recurrent());
    let recurrent = recurrent.readout(Readout::spike_count(lif(4).recurrent())).build().unwrap();
    let whole = lif(10).tau_ms(f64::INFINITY).init(Initialisation::Uniform { scale: 1.0 });
    let conv = |pool| {
        let shape =
            Convolution { channels: 2, height: 5, width: 6, filters: 3, kernel: 3, stride: 1, padding: 1, pool };
        let layer = SpikingLayer::convolution(shape).reset(Reset::ToValue);
        // One kind with biases, one without.
        if pool == 1 { layer.bias() } else { layer }
    };
    let conv =
        |pool| Network::new(60, steps).layer(conv(pool)).layer(lif(10)).readout(Readout::max(4)).build().unwrap();
    vec![
        ("counts", counts, true),
        ("recurrent", recurrent, true),
        ("plain", plain.unwrap(), true),
        ("no hidden layer", Network::new(30, steps).readout(one.clone()).build().unwrap(), true),
        ("gain one", Network::new(30, steps).layer(lif(10).bias()).readout(one).build().unwrap(), true),
        ("no leak", Network::new(30, steps).layer(whole).readout(Readout::sum(4)).build().unwrap(), true),
        ("convolution", conv(1), true),
        ("pooled", conv(2), false),
        ("subtracts", network(30, &[20, 10], 4, steps), false),
    ]
}

/// Weights after some steps of training, so that they are no numbers of a generator, and biases are not 0.
fn trained(network: &Network) -> (Weights, EventSet) {
    let batch = batch(network.inputs, network.time_steps, network.classes(), 6, 0.1, 7);
    let mut engine = Device::Cpu.open(network, Method::Sparse, &strong_weights(network, 3)).unwrap();
    for _ in 0..3 {
        engine.train(&batch, &Adam::with_lr(1e-2)).unwrap();
    }
    (engine.store().unwrap().weights, batch)
}

#[test]
fn own_exports_come_back_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.nir");
    for (what, network, exact) in own_networks() {
        let (weights, _) = trained(&network);
        for readout in [ExportReadout::Li, ExportReadout::None] {
            for dt in [None, Some(1e-4)] {
                let options = Export { readout, dt, force: !exact, preset: Some("shd".into()), ..Export::default() };
                to_nir(&network, &weights, &path, &options).unwrap_or_else(|e| panic!("{what}: {e}"));
                let read = from_nir(&path, &Import::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!((&read.network, &read.weights), (&network, &weights), "{what}");
                assert_eq!(
                    (read.report.preset.as_deref(), read.report.warnings.is_empty()),
                    (Some("shd"), exact),
                    "{what}"
                );
                let steps = from_nir(&path, &Import { time_steps: Some(7), ..Import::default() }).unwrap().network;
                assert_eq!((steps.time_steps, steps.hidden), (7, network.hidden.clone()), "{what}");
            }
        }
    }
}

/// The nodes alone, without our note, are the network too.
#[test]
fn the_nodes_of_an_export_compute_what_the_network_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.nir");
    for (what, network, exact) in own_networks().into_iter().filter(|(what, ..)| *what != "subtracts") {
        let (weights, batch) = trained(&network);
        for fold_gain in [false, true] {
            to_nir(&network, &weights, &path, &Export { fold_gain, force: !exact, ..Export::default() }).unwrap();
            // A time step that is not the noted one makes the note void.
            let dt = Some(network.dt_ms / 1000.0 * (1.0 + 1e-9));
            let mut options = Import { dt, time_steps: Some(network.time_steps), ..Import::default() };
            options.logits = network.integrator().map(|readout| readout.logits);
            let read = from_nir(&path, &options).unwrap();
            assert!(read.report.warnings.iter().any(|warning| warning.contains("then changed")), "{what}");
            let inspect = |network: &Network, weights: &Weights| {
                Device::Cpu.open(network, Method::Sparse, weights).unwrap().inspect(&batch).unwrap()
            };
            let (a, b) = (inspect(&network, &weights), inspect(&read.network, &read.weights));
            for (l, (a, b)) in a.spiking.iter().zip(&b.spiking).enumerate() {
                assert!(!a.spikes.is_empty() && a.spikes == b.spikes, "{what}: layer {l}");
            }
            let apart = a.logits.iter().zip(&b.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let scale = a.logits.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
            assert!(apart <= 1e-5 * scale, "{what}: logits differ by {apart} of {scale}");
        }
    }
}

#[test]
fn what_nir_cannot_hold_is_refused_with_the_change_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.nir");
    for (what, network, exact) in own_networks() {
        let result = to_nir(&network, &trained(&network).0, &path, &Export::default());
        assert_eq!(result.is_ok(), exact, "{what}");
        let Err(error) = result else { continue };
        let error = error.to_string();
        let part = if what == "pooled" { "SumPool2d" } else { "network.hidden[1].reset = to_value" };
        assert!(
            error.contains("hidden[0]") && error.contains(part) && error.contains("option force"),
            "{what}: {error}"
        );
        std::fs::remove_file(&path).unwrap_or_default();
        let forced = Export { force: true, ..Export::default() };
        assert!(!to_nir(&network, &trained(&network).0, &path, &forced).unwrap().changes.is_empty());
    }
    let infinite = SpikingLayer::cuba_lif(3, 2.0).tau_ms(f64::INFINITY).init(Initialisation::Uniform { scale: 1.0 });
    let network = Network::new(3, 5).layer(infinite.reset(Reset::ToValue)).readout(Readout::sum(2)).build().unwrap();
    let error = to_nir(&network, &Weights::init(&network, 1), &path, &Export::default()).unwrap_err().to_string();
    assert!(error.starts_with("hidden[0]") && error.contains("infinite"), "{error}");
}

fn program() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::cargo_bin("spikegrad").unwrap();
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command
}

#[test]
fn runs_are_exported_imported_tested_and_trained_further() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &str, code: i32| {
        let output = program().current_dir(folder.path()).args(arguments.split(' ')).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
        text
    };
    run(
        "train fmnist --device cpu --hidden 30 --epochs 1 --limit 500 --set network.hidden[0].reset=to_value --out first --quiet",
        0,
    );
    let said = run("export first --to first.nir", 0);
    assert!(said.contains("input (Input), fc1 (Linear), lif1 (LIF)") && said.contains("snnTorch"), "{said}");
    let said = run("import first.nir --out second", 0);
    assert!(said.contains("784-30-10") && said.contains("data fmnist") && !said.contains("steps later"), "{said}");
    let accuracy = |name: &str| {
        let said = run(&format!("eval {name} --device cpu --json"), 0);
        serde_json::from_str::<serde_json::Value>(said.lines().find(|line| line.starts_with('{')).unwrap()).unwrap()
            ["test_accuracy"]
            .as_f64()
            .unwrap()
    };
    let before = accuracy("first");
    assert_eq!(accuracy("second"), before);
    run("inspect second --out sample.safetensors", 0);
    run("raster second --out sample.png", 0);
    run("predict second --out predictions.csv", 0);
    let said = run("import first.nir --out second", 1);
    assert!(said.contains("already contains a run"), "{said}");
    std::fs::rename(folder.path().join("second"), folder.path().join("moved")).unwrap();
    run("train moved --device cpu --quiet", 0);
    assert!(accuracy("moved") > before);
    // The run's own configuration begins with the weights of the file again.
    run("train moved/config.toml --device cpu --epochs 1 --limit 1 --lr 1e-9 --out again --quiet", 0);
    assert_eq!(accuracy("again"), before);
    std::fs::remove_file(folder.path().join("moved/best.safetensors")).unwrap();
    let said = run("inspect moved --out moved/initial.safetensors", 1);
    assert!(said.contains("a file of the run"), "{said}");
    let fixture = fixture("lif_common.nir");
    let said = run(&format!("import {} --out third", fixture.display()), 1);
    assert!(said.contains("in seconds with --dt") && !folder.path().join("third").exists(), "{said}");
    let said = run(&format!("import {} --out third --dt 1e-4 --preset fmnist --time-steps 40", fixture.display()), 0);
    assert!(
        said.contains("lif2 (LIF): readout, counts spikes") && said.contains("the output comes 2 steps later"),
        "{said}"
    );
    run("export first --to first.txt", 2);
    run("train fmnist --device cpu --hidden 5 --epochs 1 --limit 64 --out fourth --quiet", 0);
    let said = run("export fourth --to fourth.nir", 1);
    assert!(said.contains("hidden[0] subtracts") && said.contains("with --force"), "{said}");
    let said = run("export fourth --to fourth.nir --force", 0);
    assert!(said.contains("warning: hidden[0] subtracts") && said.contains("--fold-gain"), "{said}");
}
