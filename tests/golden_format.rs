//! Invalid golden files are refused, with an error that names the file and the field.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use spikegrad::Error;
use spikegrad::golden::{Case, NetworkCase};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A golden file taken apart, to be changed and written again.
struct Parts {
    config: Value,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn of(case: &str) -> Parts {
        let bytes = std::fs::read(golden(case)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let config = header.metadata().as_ref().unwrap()["config"].parse().unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let parts = |(name, t): (&str, TensorView)| (name.to_owned(), (t.dtype(), t.shape().into(), t.data().into()));
        Parts { config, tensors: tensors.iter().map(parts).collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        let metadata = HashMap::from([("config".to_owned(), self.config.to_string())]);
        self.bytes_with(Some(metadata))
    }

    fn bytes_with(&self, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
        let views = self
            .tensors
            .iter()
            .map(|(name, (dtype, shape, data))| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        safetensors::serialize(views, metadata).unwrap()
    }

    /// Sets the value at `at` of a tensor.
    fn set<const SIZE: usize>(&mut self, name: &str, at: usize, bytes: [u8; SIZE]) {
        self.tensors.get_mut(name).unwrap().2[at * SIZE..][..SIZE].copy_from_slice(&bytes);
    }

    fn tensor(&mut self, name: &str) -> &mut (Dtype, Vec<usize>, Vec<u8>) {
        self.tensors.get_mut(name).unwrap()
    }
}

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{case}.safetensors"))
}

fn read(bytes: &[u8]) -> Result<Case, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stranger.safetensors");
    std::fs::write(&path, bytes).unwrap();
    Case::read(&path)
}

/// The error message for invalid `bytes`; it names the file.
fn refusal(bytes: &[u8]) -> String {
    let error = read(bytes).expect_err("the file was taken");
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("stranger.safetensors: "), "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
    message
}

/// `tiny`, changed, is refused with a message that holds `words`.
fn refused(words: &str, change: impl Fn(&mut Parts)) {
    refused_of("tiny", words, change);
}

fn refused_of(case: &str, words: &str, change: impl Fn(&mut Parts)) {
    let mut parts = Parts::of(case);
    change(&mut parts);
    let message = refusal(&parts.bytes());
    assert!(message.contains(words), "{message:?} does not say {words:?}");
}

fn network_case(parts: &Parts) -> NetworkCase {
    match read(&parts.bytes()).unwrap() {
        Case::Network(case) => *case,
        Case::Delta(_) => panic!("kind"),
    }
}

#[test]
fn an_unchanged_file_is_read() {
    let case = network_case(&Parts::of("tiny"));
    assert_eq!((case.name.as_str(), case.purpose.as_str()), ("tiny", "smallest complete network"));
    assert_eq!((case.expected.adam_loss.len(), case.weights.layers.len()), (3, 2));
}

#[test]
fn files_that_are_not_safetensors() {
    let whole = Parts::of("tiny").bytes();
    for cut in [0, 1, 7, 8, 9, 100, 2000, whole.len() - 1] {
        assert!(refusal(&whole[..cut]).contains("not a complete safetensors file"), "cut at {cut}");
    }
    assert!(refusal(&[&whole[..], b"more"].concat()).contains("not a complete safetensors file"));
    for claimed in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 40, 99_999_999, whole.len() as u64] {
        let huge = [&claimed.to_le_bytes()[..], &whole[8..]].concat();
        assert!(refusal(&huge).contains("not a complete safetensors file"), "header of {claimed} bytes");
    }
    let header = br#"{"w":{"dtype":"F64","shape":[4294967296,4294967296,8],"data_offsets":[0,0]}}"#;
    refusal(&[&(header.len() as u64).to_le_bytes()[..], header].concat());
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    refusal(&[&(deep.len() as u64).to_le_bytes()[..], &deep].concat());
}

#[test]
fn files_that_cannot_be_read_at_all() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("absent.safetensors"), folder.path().to_owned()] {
        let error = Case::read(&path).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    // Sparse: it takes no space.
    let large = folder.path().join("large.safetensors");
    std::fs::File::create(&large).unwrap().set_len(300 << 20).unwrap();
    assert!(
        Case::read(&large).unwrap_err().to_string().contains("more than 268435456 bytes, the limit for a golden case")
    );
}

#[test]
fn a_config_that_is_missing_or_not_json() {
    let parts = Parts::of("tiny");
    assert!(refusal(&parts.bytes_with(None)).contains("no metadata entry `config`"));
    for text in ["", "{", "[1]", "null", "{\"lr\": NaN}", "{\"lr\": 1e999}"] {
        let metadata = HashMap::from([("config".to_owned(), text.to_owned())]);
        let message = refusal(&parts.bytes_with(Some(metadata)));
        assert!(message.contains("`config` is not a JSON object"), "{text}: {message}");
    }
    let nested = HashMap::from([("config".to_owned(), "[".repeat(200_000))]);
    refusal(&parts.bytes_with(Some(nested)));
}

#[test]
fn every_field_of_the_config_is_needed_and_typed() {
    let fields = "case purpose kind batch time_steps layers dt tau_hidden tau_readout v_th v_r v_rest v_init b_th beta \
                  readout_gain logits lambda_up nu_up lambda_low nu_low lr adam_betas adam_eps adam_steps format";
    for field in fields.split_whitespace() {
        refused(&format!("config field `{field}`: missing"), |parts| {
            parts.config.as_object_mut().unwrap().remove(field);
        });
        refused(&format!("config field `{field}`: "), |parts| parts.config[field] = json!({"a": 1}));
    }
    for field in ["n_in", "n_out", "kind"] {
        refused(&format!("config field `layers[1].{field}`: missing"), |parts| {
            parts.config["layers"][1].as_object_mut().unwrap().remove(field);
        });
    }
}

#[test]
fn values_of_the_config_that_cannot_work() {
    let value = |words: &str, field: &str, value: Value| refused(words, |parts| parts.config[field] = value.clone());
    value("config field `kind`: \"graph\", expected", "kind", json!("graph"));
    value("config field `batch`: 0", "batch", json!(0));
    value("config field `batch`: invalid", "batch", json!(-2));
    value("config field `batch`: invalid", "batch", json!(2.5));
    value("time_steps = 0: must be", "time_steps", json!(0));
    value("time_steps = 4294967296: must be", "time_steps", json!(1u64 << 32));
    value("config field `layers`: empty", "layers", json!([]));
    value("expected [5, 3] from the config", "layers", json!([{"kind": "linear", "n_in": 5, "n_out": 3}]));
    value("tau_ms = 0: must be positive", "tau_hidden", json!(0));
    value("config field `v_th`: null, expected a number", "v_th", Value::Null);
    value("v_th = ", "v_th", json!(1e300));
    value("dt_ms = -1", "dt", json!(-1));
    value("config field `readout_gain`: unknown variant", "readout_gain", json!("two"));
    value("config field `adam_betas`", "adam_betas", json!([0.9]));
    value("adam.beta2 = 1", "adam_betas", json!([0.9, 1.0]));
    value("adam.lr = 0", "lr", json!(0));
    value("config field `adam_steps`: 0", "adam_steps", json!(0));
    value("config field `adam_steps`: 30000000, expected 1 to 1000", "adam_steps", json!(30_000_000));
    value("config field `case`: expected", "case", json!("tiny\nPASS\u{1b}[2J"));
    value("config field `case`: expected", "case", json!("x".repeat(1000)));
    refused("config field `layers[1].n_in`: 9, expected 4", |parts| parts.config["layers"][1]["n_in"] = json!(9));
    refused("config field `layers[0].\"recurrent\"`: unknown", |parts| {
        parts.config["layers"][0]["recurrent"] = json!(true);
    });
    refused("config field `layers[1].\"v_th\"`: unknown", |parts| parts.config["layers"][1]["v_th"] = json!(1));
}

#[test]
fn convolutions_that_cannot_work() {
    let conv = |words: &str, change: fn(&mut Value)| {
        let mut parts = Parts::of("conv");
        change(&mut parts.config["layers"]);
        let said = refusal(&parts.bytes());
        assert!(said.contains(words), "`{words}` is not in: {said}");
    };
    conv("config field `layers[0].c_out`: missing", |layers| drop(layers[0].as_object_mut().unwrap().remove("c_out")));
    conv("config field `layers[0].\"dilation\"`: unknown", |layers| layers[0]["dilation"] = json!(2));
    conv("config field `layers[1].n_in`: 64, expected 256", |layers| layers[0]["pool"] = json!(1));
    conv("config field `layers[1].kind`: \"conv2d\", expected \"linear\"", |layers| {
        layers[1] = json!({"kind": "conv2d", "c_in": 4, "height": 4, "width": 4, "c_out": 3, "kernel": 4, "padding": 0,
                           "stride": 1, "pool": 1});
    });
    conv("config field `layers[1].c_in`: 16 with height and width, expected 64", |layers| {
        layers[1] = json!({"kind": "conv2d", "c_in": 1, "height": 4, "width": 4, "c_out": 3, "kernel": 4, "padding": 0,
                           "stride": 1, "pool": 1});
    });
    conv("hidden[0].connection.padding = 3", |layers| {
        layers[0]["padding"] = json!(3);
        layers[1]["n_in"] = json!(144);
    });
    conv("tensor `w.0`: shape [4, 1, 3, 3], expected [4, 1, 5, 5]", |layers| {
        layers[0]["kernel"] = json!(5);
        layers[0]["padding"] = json!(2);
    });
    conv("config field `layers[1].n_in`: 64, expected 18446744073709551615", |layers| {
        layers[0]["height"] = json!(u64::MAX)
    });
}

#[test]
fn messages_quote_a_stranger_with_care() {
    let hostile = format!("\u{1b}[2J\nPASS {}", "x".repeat(100_000));
    for field in ["kind", "logits", "case"] {
        let mut parts = Parts::of("tiny");
        parts.config[field] = json!(hostile);
        assert!(refusal(&parts.bytes()).len() < 2000, "{field}");
    }
    let mut parts = Parts::of("tiny");
    parts.config["layers"][0][&hostile] = json!(1);
    assert!(refusal(&parts.bytes()).len() < 2000);
    let header = json!({hostile: {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]}}).to_string();
    assert!(refusal(&[&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).len() < 2000);
}

#[test]
fn sizes_beyond_the_file_are_refused_before_anything_is_allocated() {
    refused("tensor `spikes`: shape [2, 12, 5], expected [18446744073709551615, 12, 5]", |parts| {
        parts.config["batch"] = json!(u64::MAX);
    });
    refused("tensor `spikes`: shape [2, 12, 5], expected [2, 65536, 5]", |parts| {
        parts.config["time_steps"] = json!(65536);
    });
    refused("hidden[0].neurons = 9999999999", |parts| {
        parts.config["layers"][0]["n_out"] = json!(9_999_999_999u64);
        parts.config["layers"][1]["n_in"] = json!(9_999_999_999u64);
    });
}

#[test]
fn every_tensor_is_needed_with_its_type_and_shape() {
    for case in ["tiny", "appendix_c"] {
        for name in Parts::of(case).tensors.into_keys() {
            refused_of(case, &format!("tensor `{name}`: missing"), |parts| drop(parts.tensors.remove(&name)));
            // Same bytes, other type.
            refused_of(case, &format!("tensor `{name}`: type "), |parts| {
                let tensor = parts.tensor(&name);
                tensor.0 = match tensor.0 {
                    Dtype::U8 => Dtype::I8,
                    Dtype::F32 => Dtype::I32,
                    Dtype::I64 => Dtype::F64,
                    _ => Dtype::I64,
                };
            });
            // Same bytes, one dimension more.
            refused_of(case, &format!("tensor `{name}`: shape "), |parts| parts.tensor(&name).1.push(1));
        }
    }
    refused("tensor `w.0`: shape [4, 5], expected [5, 4]", |parts| parts.tensor("w.0").1.reverse());
    refused("tensor `e.0`: shape [8], expected [7]", |parts| {
        let tensor = parts.tensor("active.0");
        let at = tensor.2.iter().position(|&active| active == 1).unwrap();
        tensor.2[at] = 0;
        parts.set("ds.0", at, 0f64.to_le_bytes());
    });
}

#[test]
fn values_of_tensors_that_cannot_be() {
    refused("tensor `labels`: label 3 of sample 1, expected 0 to 2", |parts| {
        parts.set("labels", 1, 3i64.to_le_bytes())
    });
    refused("tensor `labels`: label -1", |parts| parts.set("labels", 0, (-1i64).to_le_bytes()));
    refused("tensor `labels`: label 4294967296", |parts| parts.set("labels", 0, (1i64 << 32).to_le_bytes()));
    refused("tensor `spikes`: value 2 at 7, expected 0 or 1", |parts| parts.set("spikes", 7, [2]));
    refused("tensor `active.0`: value 255", |parts| parts.set("active.0", 0, [255]));
    refused("tensor `w.1`: value at 4 is NaN", |parts| parts.set("w.1", 4, f32::NAN.to_le_bytes()));
    refused("tensor `w.0`: value at 0 is NaN or inf", |parts| parts.set("w.0", 0, f32::INFINITY.to_le_bytes()));
    for name in ["v.0", "v.1", "logits", "loss.ce", "ds.0", "e.0", "dw.0", "adam.w.1", "adam.loss"] {
        refused(&format!("tensor `{name}`: value at 0 is NaN"), |parts| parts.set(name, 0, f64::NAN.to_le_bytes()));
    }
    refused("tensor `ds.0`: 1 at the inactive entry 0", |parts| parts.set("ds.0", 0, 1f64.to_le_bytes()));
}

#[test]
fn delta_cases_that_contradict_themselves() {
    let delta = |words: &str, change: fn(&mut Parts)| refused_of("appendix_c", words, change);
    delta("config field `alpha`: 1.5", |parts| parts.config["alpha"] = json!(1.5));
    delta("config field `neurons`: missing", |parts| _ = parts.config.as_object_mut().unwrap().remove("neurons"));
    delta("tensor `active`: shape [1, 10], expected [2, 10]", |parts| parts.config["neurons"] = json!(2));
    delta("tensor `error`: 1 at the inactive entry 0", |parts| parts.set("error", 0, 1f32.to_le_bytes()));
    delta("tensor `delta`: 1 at 0, which is not needed", |parts| parts.set("delta", 0, 1f64.to_le_bytes()));
    delta("tensor `error`: value at 1 is NaN", |parts| parts.set("error", 1, f32::NAN.to_le_bytes()));
    delta("tensor `delta`: no entries", |parts| {
        parts.config["neurons"] = json!(0);
        for (_, shape, data) in parts.tensors.values_mut() {
            shape[0] = 0;
            data.clear();
        }
    });
}

#[test]
fn what_this_version_does_not_support_is_said() {
    for (words, change) in [
        ("case tiny: v_init = 0.5", (|parts| parts.config["v_init"] = json!(0.5)) as fn(&mut Parts)),
        ("golden format 2", |parts| parts.config["format"] = json!(2)),
    ] {
        let mut parts = Parts::of("tiny");
        change(&mut parts);
        let error = read(&parts.bytes()).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains("stranger.safetensors"), "{error}");
    }
}

#[test]
fn a_layer_may_have_constants_of_its_own() {
    let mut parts = Parts::of("medium_max");
    parts.config["layers"][1]["tau"] = json!(5);
    parts.config["layers"][1]["v_th"] = json!(1.5);
    parts.config["layers"][1]["b_th"] = Value::Null;
    parts.config["layers"][2]["tau"] = json!(7);
    parts.config["b_th"] = json!(0.3);
    let network = network_case(&parts).network;
    let constants = |l: usize| (network.hidden[l].tau_ms, network.hidden[l].v_th, network.hidden[l].b_th);
    assert_eq!(constants(0), (10.0, 1.0, 0.3));
    assert_eq!(constants(1), (5.0, 1.5, f64::INFINITY));
    assert_eq!((network.integrator().unwrap().tau_ms, network.hidden[1].beta), (7.0, 100.0));
}
