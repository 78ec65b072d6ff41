//! Configurations given by the name of a preset, or by a TOML file that names a preset and overrides some of its fields.

use super::{NAMES, all, ours, paper};
use crate::data::OWN;
use crate::error::{Error, Result};
use crate::train::{RunConfig, read_config_text};
use std::path::Path;
use toml::{Table, Value};

/// The configuration for the name of a preset or the path of a `.toml` file.
///
/// With `paper`, presets are the paper's exact settings ([`paper`](super::paper)), otherwise ours ([`ours`](super::ours)).
///
/// # Errors
/// No such preset or file, or an error of [`load`].
pub fn resolve(word: &str, paper: bool) -> Result<RunConfig> {
    resolve_over(word, &|name| preset(name, paper))
}

/// [`resolve`], but what the data can tell is left open ([`RunConfig::is_open`]) unless the file sets it: the number of inputs,
/// their shape and the number of classes.
///
/// # Errors
/// As [`resolve`].
#[cfg(feature = "data")]
pub fn resolve_open(word: &str, paper: bool) -> Result<RunConfig> {
    resolve_over(word, &|name| {
        let mut config = preset(name, paper)?;
        super::leave_open(&mut config);
        Ok(config)
    })
}

/// A preset by its name.
type Base<'a> = &'a dyn Fn(&str) -> Result<RunConfig>;

fn resolve_over(word: &str, base: Base) -> Result<RunConfig> {
    match word.ends_with(".toml") {
        true => load_over(Path::new(word), base),
        false => base(word),
    }
}

/// Reads a TOML file that names a preset and overrides some of its fields. Paths in it are relative to its folder.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] naming the file, the field and its value.
pub fn load(path: &Path, paper: bool) -> Result<RunConfig> {
    load_over(path, &|name| preset(name, paper))
}

fn load_over(path: &Path, base: Base) -> Result<RunConfig> {
    let mut config = laid_over(&read_config_text(path)?, path, base)?;
    // Paths in a file are relative to its folder.
    let folder = path.parent().unwrap_or(Path::new(""));
    for path in [&mut config.data.path, &mut config.weights].into_iter().flatten() {
        *path = folder.join(&*path);
    }
    config.find_own_data(folder);
    Ok(config)
}

/// [`load`] from text. `path` is only used in errors.
///
/// ```
/// # use spikegrad::presets;
/// let text = r#"
///     preset = "fmnist"
///     epochs = 3
///     [network.readout]
///     tau_ms = 20
///     [[network.hidden]]    # one section per hidden layer
///     neurons = 300         # other fields are the preset's
/// "#;
/// let config = presets::from_toml(text, "example.toml".as_ref(), false)?;
/// assert_eq!(config.network.sizes(), [784, 300, 10]);
/// # Ok::<(), spikegrad::Error>(())
/// ```
///
/// # Errors
/// [`Error::Format`] naming the file, the field and its value.
pub fn from_toml(text: &str, path: &Path, paper: bool) -> Result<RunConfig> {
    laid_over(text, path, &|name| preset(name, paper))
}

fn laid_over(text: &str, path: &Path, base: Base) -> Result<RunConfig> {
    let format = |what: String| Error::format(path, what);
    let given: Table = toml::from_str(text).map_err(|e| format(e.to_string().trim_end().into()))?;
    let name = match given.get("preset") {
        Some(Value::String(name)) => name,
        Some(other) => {
            return Err(format(format!("preset = {other}: must be one of {}", all().join(", "))));
        }
        None => return Err(format(format!("preset is missing; add for example preset = \"{}\"", NAMES[0]))),
    };
    let config = match name == OWN {
        // The configuration of a run on custom data, which is complete.
        true => RunConfig::understood(given),
        false => {
            let base = base(name).map_err(|e| format(format!("preset = \"{name}\": {e}")))?;
            RunConfig::laid_over(&base, given)
        }
    };
    let config = config.map_err(format)?;
    config.check().map_err(|e| format(e.to_string()))?;
    Ok(config)
}

fn preset(name: &str, of_paper: bool) -> Result<RunConfig> {
    if of_paper { paper(name) } else { ours(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::Augment;
    use crate::network::{Initialisation, Logits};
    use crate::presets;
    use crate::train::LearningRate;

    fn read(text: &str) -> Result<RunConfig> {
        from_toml(text, Path::new("run.toml"), false)
    }

    fn refused(text: &str, parts: &[&str]) {
        let error = read(text).expect_err(text);
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let error = error.to_string();
        for part in parts.iter().chain(&["run.toml"]) {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }

    #[test]
    fn a_file_changes_only_what_it_names() {
        let config = read(
            "preset = 'fmnist'\nepochs = 3\nadam.lr = 1e-3\n[network]\ntime_steps = 50\n[network.readout]\nlogits = 'max'",
        )
        .unwrap();
        let mut expected = presets::ours("fmnist").unwrap();
        expected.epochs = 3;
        expected.adam.lr = 1e-3;
        expected.network.time_steps = 50;
        expected.network.integrator_mut().unwrap().logits = Logits::Max;
        assert_eq!(config, expected);
    }

    #[cfg(feature = "data")]
    #[test]
    fn what_data_tell_is_open_unless_it_is_set() {
        use crate::data::fashion_mnist::facts_of;
        for name in [&presets::NAMES[..], &presets::OF_OURS].concat() {
            let mut config = resolve_open(name, false).unwrap();
            assert!(config.is_open(), "{name}");
            config.check().unwrap();
            config.fit_published().unwrap();
            assert_eq!(config, presets::ours(name).unwrap(), "{name}");
            if presets::OF_OURS.contains(&name) {
                continue;
            }
            (config.network.time_steps, config.network.dt_ms) = (0, 0.0);
            config.fit_published().unwrap();
            assert_eq!(config, presets::ours(name).unwrap(), "{name}: the time steps of Table 3");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "preset = 'fmnist'\nnetwork.readout.classes = 7").unwrap();
        let mut config = resolve_open(path.to_str().unwrap(), false).unwrap();
        config.fit(&facts_of(crate::data::Shape::row(9), 47, None)).unwrap();
        assert_eq!((config.network.inputs, config.network.classes()), (9, 7));
        assert_eq!(config.data.shape, None, "the images' shape is not a setting");
    }

    #[cfg(feature = "data")]
    #[test]
    fn samples_that_are_too_large_are_named() {
        use crate::data::{Shape, fashion_mnist::facts_of};
        let fit = |name: &str, side: usize| {
            let mut config = resolve_open(name, false).unwrap();
            config.fit(&facts_of(Shape { channels: 1, height: side, width: side }, 10, None)).map_err(|e| e.to_string())
        };
        fit("fmnist-conv", 32).unwrap();
        let error = fit("fmnist-conv", 64).unwrap_err();
        assert!(error.starts_with("maps of 64 × 64 are too large for network.hidden[0]: its 64 filters"), "{error}");
        assert!(error.contains("use smaller samples") && error.contains("network.hidden[0].connection"), "{error}");
        fit("fmnist", 256).unwrap();
        for name in ["fmnist", "fmnist-conv"] {
            let error = fit(name, 300).unwrap_err();
            assert!(error.contains("the samples of 300 × 300 have 90000 inputs, more than 65536"), "{error}");
        }
    }

    #[cfg(feature = "data")]
    #[test]
    fn open_fields_do_not_hide_wrong_ones() {
        let mut config = resolve_open("fmnist", false).unwrap();
        config.network.hidden[0].tau_ms = -1.0;
        assert!(config.check().unwrap_err().to_string().contains("network.hidden[0].tau_ms = -1"));
    }

    #[test]
    fn hidden_layers_are_as_many_as_the_file_has() {
        let text = "preset = 'shd'\n[[network.hidden]]\nneurons = 30\n[[network.hidden]]\ntau_ms = 7\n[[network.hidden]]\nb_th = inf";
        let hidden = read(text).unwrap().network.hidden;
        let base = &presets::ours("shd").unwrap().network.hidden[0];
        assert_eq!(hidden.iter().map(|l| l.neurons).collect::<Vec<_>>(), [30, 200, 200]);
        assert_eq!((hidden[1].tau_ms, hidden[2].b_th, hidden[2].beta), (7.0, f64::INFINITY, base.beta));
    }

    #[test]
    fn a_network_without_hidden_layers_is_written_and_read() {
        let mut config = presets::ours("fmnist").unwrap();
        config.network.hidden.clear();
        config.check().unwrap();
        assert_eq!(read(&config.to_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn another_kind_leaves_nothing_of_the_old_one() {
        let config = read("preset = 'fmnist'\nschedule = { kind = 'cosine', final_fraction = 0.1 }").unwrap();
        assert_eq!(config.schedule, LearningRate::Cosine { final_fraction: 0.1 });
        let readout = "preset = 'fmnist'\nnetwork.readout.init = { kind = 'uniform', scale = 1 }";
        assert_eq!(read(readout).unwrap().network.readout.init(), Initialisation::Uniform { scale: 1.0 });
    }

    #[test]
    fn errors_name_file_field_and_value() {
        refused("epochs = 3", &["preset", "missing"]);
        refused("preset = 'mnist'", &["preset", "`mnist`"]);
        refused("preset = 3", &["preset = 3"]);
        refused("preset = 'fmnist'\nepochs = ", &["line 2"]);
        refused("preset = 'fmnist'\nepoch = 3", &["`epoch` is not a field; did you mean `epochs`?"]);
        refused("preset = 'fmnist'\n[network]\nhiden = []", &["`network.hiden`", "did you mean `network.hidden`?"]);
        refused("preset = 'fmnist'\n[[hidden]]\nneurons = 3", &["did you mean `network.hidden`?"]);
        refused("preset = 'fmnist'\n[adam]\nepochs = 3", &["`adam.epochs`", "did you mean `epochs`?"]);
        refused("preset = 'fmnist'\n[[network.hidden]]\n[[network.hidden]]\ntau = 3", &["network.hidden[1].tau_ms`?"]);
        refused("preset = 'fmnist'\n[network.loss]\nkind = 'mse'", &["requires `on` and `off`", "network.loss={kind="]);
        refused("preset = 'fmnist'\ndata.shape = [1, 28, 28]", &["data.shape", "left out for fmnist"]);
        refused("preset = 'fmnist'\nweights = ''", &["weights = \"\": must be"]);
        refused("preset = 'fmnist'\nepochs = 'three'", &["epochs", "three"]);
        refused("preset = 'fmnist'\nepochs = -3", &["epochs = -3: must be a whole number, 0 or more"]);
        refused("preset = 'fmnist'\nepochs = 0", &["epochs = 0"]);
        refused("preset = 'fmnist'\nbatch = 0", &["batch = 0"]);
        refused("preset = 'fmnist'\nlimit = 0", &["limit = 0"]);
        refused("preset = 'fmnist'\ndevice = 'tpu'", &["device = tpu"]);
        refused("preset = 'fmnist'\nmethod = 'fast'", &["method", "fast"]);
        refused("preset = 'fmnist'\nadam.lr = -1.0", &["adam.lr = -1"]);
        refused(
            "preset = 'fmnist'\n[network]\nneurons = 3",
            &["`network.neurons` is not a field; did you mean `network.hidden[0].neurons`?"],
        );
        refused("preset = 'fmnist'\n[[network.hidden]]\ntau_ms = 0", &["network.hidden[0].tau_ms = 0"]);
        refused("preset = 'fmnist'\nnetwork.readout.init.scael = 2", &["scael"]);
        refused("preset = 'fmnist'\nadam.weight_decay = -0.1", &["adam.weight_decay = -0.1"]);
        refused("preset = 'fmnist'\nwarmup_epochs = -1", &["warmup_epochs = -1"]);
        refused("preset = 'fmnist'\ninitial_spikes = inf", &["initial_spikes = inf"]);
        refused("preset = 'shd'\naugment.flip = true", &["augment.flip", "shd"]);
        refused("preset = 'fmnist'\nschedule.final_fraction = 2", &["final_fraction"]);
        refused("preset = 'fmnist'\nschedule = { kind = 'cosine', final_fraction = 2 }", &["final_fraction = 2"]);
        assert!(read("preset = 'fmnist'\ndevice = 'gpu:1'").is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = resolve("no/such.toml", false).unwrap_err().to_string();
        assert!(error.contains("no/such.toml"), "{error}");
        assert!(resolve("imagenet", false).unwrap_err().to_string().contains("`imagenet`"));
        assert_eq!(resolve("fmnist", true).unwrap(), presets::paper("fmnist").unwrap());
    }

    #[test]
    fn what_is_written_reads_back_to_the_last_bit() {
        let mut config = presets::paper("nmnist").unwrap();
        config.limit = Some(1000);
        config.data.path = Some("/some/where".into());
        config.seed = i64::MAX as u64;
        config.schedule = LearningRate::Cosine { final_fraction: 1.0 / 3.0 };
        config.network.hidden[0].b_th = f64::INFINITY;
        config.network.hidden[1].v_rest = -0.1 - 0.2;
        for lr in [f64::MIN_POSITIVE, 5e-324, 1e300, 0.1 + 0.2, 1.0, f64::MAX] {
            config.adam.lr = lr;
            assert_eq!(read(&config.to_toml().unwrap()).unwrap(), config);
        }
    }

    /// Options that a run of an earlier version does not know are off, regardless of the current preset.
    #[test]
    fn a_whole_file_stands_for_itself() {
        let mut old = presets::ours("fmnist").unwrap();
        (old.warmup_epochs, old.initial_spikes, old.augment) = (0.0, 0.0, Augment::default());
        old.adam.weight_decay = 0.0;
        old.network.hidden[0].tau_ms = 7.0;
        let text = old.to_toml().unwrap();
        let (later, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| {
            [
                "warmup_epochs",
                "initial_spikes",
                "weight_decay",
                "[augment]",
                "shift",
                "flip",
                "drop",
                "stretch",
                "jitter",
                "blend",
            ]
            .iter()
            .any(|name| line.starts_with(name))
        });
        assert_eq!(later.len(), 11, "{text}");
        let whole = rest.join("\n");
        assert_eq!(read(&whole).unwrap(), old);
        refused(&whole.replace("epochs = ", "epoch = "), &["epoch"]);
    }

    #[test]
    fn the_examples_configurations_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let configs: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
        assert!(!configs.is_empty());
        for path in configs {
            load(&path, false).unwrap();
        }
    }
}
