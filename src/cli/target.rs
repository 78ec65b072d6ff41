//! Which run `spikegrad train` starts or continues, and in which folder.

use super::Usage;
use super::configure::{is_file, is_preset, named};
use anyhow::{Context, Result, bail};
use spikegrad::presets;
use spikegrad::train::{CONFIG_FILE, LOCK_FILE, RunConfig, stored_config};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Folder of the runs that are given no folder.
pub const RUNS: &str = "runs";

/// A run to start or to continue.
pub struct Target {
    /// The run's folder.
    pub folder: PathBuf,
    /// Whether to continue the run in it.
    pub resume: bool,
    /// The configuration, without the changes of the flags.
    pub config: RunConfig,
    /// Removes the folder if the run does not begin.
    _claim: Option<Claim>,
}

impl Target {
    /// Another run beside this one, with this configuration: `runs/wide-2` after `runs/wide`.
    pub fn beside(&self, config: RunConfig) -> Result<Target> {
        let name = self.folder.file_name().unwrap_or(OsStr::new("run")).to_string_lossy().into_owned();
        let stem =
            name.rsplit_once('-').filter(|(_, number)| is_number(number)).map_or(name.as_str(), |(stem, _)| stem);
        let folder = claim(self.folder.parent().unwrap_or(Path::new("")), stem, 2)?;
        Ok(Target { folder: folder.clone(), resume: false, config, _claim: Some(Claim(folder)) })
    }
}

/// An empty folder that was created for a run, so that no other run takes it.
struct Claim(PathBuf);

impl Drop for Claim {
    fn drop(&mut self) {
        // A run that was refused leaves at most its lock. A folder with anything else is kept: removing it fails.
        let alone = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == LOCK_FILE);
        if fs::read_dir(&self.0).is_ok_and(|mut entries| entries.all(alone)) {
            let _ = fs::remove_file(self.0.join(LOCK_FILE));
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// What train is told about the run.
pub struct Words<'a> {
    /// A preset, a TOML file or a run's folder.
    pub what: Option<&'a str>,
    /// --out.
    pub out: Option<&'a Path>,
    /// --data.
    pub data: Option<&'a Path>,
    pub resume: bool,
    pub paper: bool,
}

/// Finds the run that the words mean.
pub fn find(words: &Words) -> Result<Target> {
    let &Words { what, out, data, resume, paper } = words;
    let stored = |folder: &Path| {
        if paper {
            bail!(Usage(format!("--paper: {} is a run with settings of its own", folder.display())));
        }
        let mut config = stored_config(folder)?;
        config.find_own_data(folder);
        Ok(Target { folder: folder.into(), resume: true, config, _claim: None })
    };
    let Some(what) = what else {
        if !resume {
            bail!(Usage(
                "give a PRESET, a TOML file or the folder of a run; --resume alone continues the last run".into()
            ));
        }
        return stored(&out.map_or_else(|| last_run(&Suitable::Any, data), |out| Ok(out.into()))?);
    };
    // A preset's name means the preset, whatever folders there are.
    if !is_preset(what) && Path::new(what).join(CONFIG_FILE).exists() {
        let same =
            |out: &Path| matches!((out.canonicalize(), Path::new(what).canonicalize()), (Ok(a), Ok(b)) if a == b);
        return match out {
            Some(out) if !same(out) => {
                let copy = Path::new(what).join(CONFIG_FILE);
                bail!(Usage(format!(
                    "{what} is the folder of a run, which is continued there; to start another run with its settings in {}, \
                     give {}",
                    out.display(),
                    copy.display()
                )))
            }
            _ => stored(Path::new(what)),
        };
    }
    let file = is_file(what);
    if !is_preset(what) && Path::new(what).is_dir() {
        // Says what the folder of a run has.
        stored_config(Path::new(what))?;
    }
    if !file && Path::new(what).is_file() {
        bail!(Usage(format!(
            "{what} is a file; give a preset, and the file as its data (--data) or weights (--weights)"
        )));
    }
    let named = named(what, paper, ", or the folder of a run")?;
    if file && paper && presets::load(Path::new(what), false)? == named {
        bail!(Usage(format!(
            "--paper: {what} sets all fields in which the paper's settings differ from ours; remove --paper"
        )));
    }
    let stem = match Path::new(what).file_stem() {
        // A run's own configuration is called config.toml; the run would be called config.
        Some(stem) if stem != "config" => stem.to_string_lossy().into_owned(),
        _ => named.preset.clone(),
    };
    if !resume {
        return match out {
            Some(out) => Ok(Target { folder: out.into(), resume, config: named, _claim: None }),
            None => {
                let folder = claim(Path::new(RUNS), &stem, 1)?;
                Ok(Target { folder: folder.clone(), resume, config: named, _claim: Some(Claim(folder)) })
            }
        };
    }
    let folder = match (out, Path::new(what).parent()) {
        (Some(out), _) => out.into(),
        (None, Some(parent)) if file && stem_is_config(what) => parent.into(),
        (None, _) if file => last_run(&Suitable::Named(&stem), data)?,
        (None, _) => last_run(&Suitable::Of(&named.preset), data)?,
    };
    let config = if file { named } else { continued(&folder, &named, paper)? };
    Ok(Target { folder, resume, config, _claim: None })
}

fn stem_is_config(what: &str) -> bool {
    Path::new(what).file_name().is_some_and(|name| name == CONFIG_FILE)
}

fn is_number(word: &str) -> bool {
    word.parse::<u64>().is_ok()
}

/// Creates the first of `STEM`, `STEM-2`, ... in `parent` that does not exist, from number `first` on.
fn claim(parent: &Path, stem: &str, first: u64) -> Result<PathBuf> {
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    for n in first.. {
        let name = if n == 1 { stem.into() } else { format!("{stem}-{n}") };
        let folder = parent.join(name);
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).context(folder.display().to_string()),
        }
    }
    bail!("{}: has no free folder for a run", parent.display())
}

/// Which runs may be continued.
enum Suitable<'a> {
    Any,
    /// Those of this preset, whatever their folders are called.
    Of(&'a str),
    /// Those in folders named after a TOML file.
    Named(&'a str),
}

impl Suitable<'_> {
    fn admits(&self, folder: &Path, config: &RunConfig) -> bool {
        let name = folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        match self {
            Suitable::Any => true,
            Suitable::Of(preset) => config.preset == *preset,
            Suitable::Named(stem) => name == *stem || name.strip_prefix(&format!("{stem}-")).is_some_and(is_number),
        }
    }
}

/// The suitable run in `runs/` that was started or continued last; of those on `data`, if there are any.
fn last_run(suitable: &Suitable, data: Option<&Path>) -> Result<PathBuf> {
    let data = data.and_then(|data| data.canonicalize().ok());
    let entries = fs::read_dir(RUNS).into_iter().flatten().flatten();
    let runs = entries.filter_map(|entry| {
        let folder = entry.path();
        let written = fs::metadata(folder.join(CONFIG_FILE)).and_then(|facts| facts.modified()).ok()?;
        // A run whose configuration is damaged is found by its folder's name; the error is told when it is continued.
        let config = stored_config(&folder).ok();
        let suits = match &config {
            Some(config) => suitable.admits(&folder, config),
            None => !matches!(suitable, Suitable::Of(_)),
        };
        let read = config.and_then(|config| config.data.path?.canonicalize().ok());
        suits.then_some((data.is_some() && read == data, written, folder))
    });
    match (runs.max(), suitable) {
        (Some((_, _, folder)), _) => Ok(folder),
        (None, Suitable::Of(preset)) => bail!("{RUNS}: no run of preset {preset} to resume; give the run's folder"),
        (None, _) => bail!("{RUNS}: no run to resume; give its folder"),
    }
}

/// The stored configuration of a run that was started from the preset `named`.
fn continued(folder: &Path, named: &RunConfig, paper: bool) -> Result<RunConfig> {
    let mut stored = stored_config(folder)?;
    if stored.preset != named.preset {
        bail!(
            "{}: contains a run of preset {}, not {}; use the run's preset",
            folder.display(),
            stored.preset,
            named.preset
        );
    }
    if paper {
        // Takes the settings in which ours differ from the paper's, so that a run started without --paper is refused.
        (stored.adam, stored.schedule) = (named.adam, named.schedule);
        (stored.warmup_epochs, stored.initial_spikes) = (named.warmup_epochs, named.initial_spikes);
        stored.augment = named.augment;
        if let (Some(readout), Some(paper)) = (stored.network.integrator_mut(), named.network.integrator()) {
            (readout.gain, readout.logits) = (paper.gain, paper.logits);
        }
        for (layer, paper) in stored.network.hidden.iter_mut().zip(&named.network.hidden) {
            layer.beta = paper.beta;
        }
    }
    Ok(stored)
}
