//! The runs below a folder, side by side.

use super::{
    BEST_FILE, Best, CHECKPOINT_FILE, CONFIG_FILE, EpochRecord, METRICS_FILE, RunConfig, metrics, stored_config,
};
use crate::error::{Error, Result, shown};
use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use toml::Value;

/// A run, by the files in its folder.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEpochs {
    /// The run's folder.
    pub folder: PathBuf,
    /// Its configuration.
    pub config: RunConfig,
    /// Its finished epochs.
    pub records: Vec<EpochRecord>,
}

impl StoredEpochs {
    /// Reads the run in `folder`. A run without metrics has no epochs yet.
    ///
    /// # Errors
    /// As [`stored_config`] and [`metrics::read`].
    pub fn read(folder: &Path) -> Result<Self> {
        let config = stored_config(folder)?;
        let metrics = folder.join(METRICS_FILE);
        let records = if metrics.exists() { metrics::read(&metrics)? } else { Vec::new() };
        Ok(StoredEpochs { folder: folder.into(), config, records })
    }

    /// The number of finished epochs.
    pub fn epochs(&self) -> u64 {
        self.records.last().map_or(0, |record| record.epoch)
    }

    /// The best epoch, the first on ties, which `best.safetensors` is of; `None` before the first.
    pub fn best(&self) -> Option<Best> {
        let better = |best: Option<Best>, record: &EpochRecord| match best {
            Some(best) if best.test_accuracy >= record.test_accuracy => Some(best),
            _ => Some(Best { epoch: record.epoch, test_accuracy: record.test_accuracy }),
        };
        self.records.iter().fold(None, better)
    }

    /// Seconds spent training, without testing.
    pub fn train_seconds(&self) -> f64 {
        self.records.iter().fold(0.0, |sum, record| sum + record.train_seconds)
    }
}

/// The runs below a folder.
#[derive(Debug, Default)]
pub struct Runs {
    /// Those that could be read, the one with the best accuracy first.
    pub runs: Vec<StoredEpochs>,
    /// Folders that could not be read, and why.
    pub unreadable: Vec<(PathBuf, Error)>,
}

impl Runs {
    /// Finds the runs in `folder` and in all folders below it. Symbolic links are not followed.
    ///
    /// # Errors
    /// [`Error::Io`] if `folder` itself cannot be read; [`Error::Config`] if there are no runs, not even damaged ones.
    pub fn find(folder: &Path) -> Result<Self> {
        let mut found = Runs::default();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(at) = folders.pop() {
            match subfolders(&at) {
                Ok(below) => folders.extend(below),
                Err(e) if at == folder => return Err(Error::io(folder)(e)),
                Err(e) => found.unreadable.push((at.clone(), Error::io(&at)(e))),
            }
            if !is_run(&at) {
                continue;
            }
            match StoredEpochs::read(&at) {
                Ok(run) => found.runs.push(run),
                Err(e) => found.unreadable.push((at, e)),
            }
        }
        if found.runs.is_empty() && found.unreadable.is_empty() {
            return Err(Error::Config(format!(
                "{}: contains no run; give a folder below which train wrote runs",
                shown(folder)
            )));
        }
        let best = |run: &StoredEpochs| run.best().map_or(f64::NEG_INFINITY, |best| best.test_accuracy);
        let order = |a: &StoredEpochs, b: &StoredEpochs| -> Ordering {
            best(b).total_cmp(&best(a)).then_with(|| a.folder.cmp(&b.folder))
        };
        found.runs.sort_by(order);
        found.unreadable.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// The settings in which the runs differ, apart from `epochs`, each with its value in every run: `None` where it is not
    /// set. The names are those of [`Difference`](super::Difference).
    ///
    /// # Errors
    /// As [`RunConfig::to_toml`].
    pub fn settings(&self) -> Result<Vec<(String, Vec<Option<Value>>)>> {
        let mut settings: Vec<(String, Vec<Option<Value>>)> = Vec::new();
        for (k, run) in self.runs.iter().enumerate() {
            for (field, value) in run.config.fields()? {
                let known = settings.iter().position(|(name, _)| *name == field);
                let at = known.unwrap_or_else(|| {
                    settings.push((field, vec![None; self.runs.len()]));
                    settings.len() - 1
                });
                settings[at].1[k] = Some(value);
            }
        }
        settings.retain(|(field, values)| field != "epochs" && values.windows(2).any(|pair| pair[0] != pair[1]));
        Ok(settings)
    }
}

/// Whether the folder has a run, or what is left of one.
fn is_run(folder: &Path) -> bool {
    [CONFIG_FILE, CHECKPOINT_FILE, BEST_FILE, METRICS_FILE].iter().any(|name| folder.join(name).exists())
}

fn subfolders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut below = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // The type of a link is that of the link.
        if entry.file_type()?.is_dir() {
            below.push(entry.path());
        }
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::LossTerms;
    use crate::train::{MemoryRecord, testing};

    fn record(epoch: u64, test_accuracy: f64) -> EpochRecord {
        EpochRecord {
            epoch,
            loss: 1.0,
            loss_terms: LossTerms::default(),
            train_accuracy: 0.5,
            test_accuracy,
            activity: vec![0.01; 2],
            spike_density: vec![0.01; 2],
            train_seconds: 1.5,
            test_seconds: 0.5,
            exchange: None,
            rescued: None,
            memory: MemoryRecord::default(),
        }
    }

    /// Writes the folder of a run.
    fn put(folder: &Path, config: &RunConfig, accuracies: &[f64]) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(CONFIG_FILE), config.to_toml().unwrap()).unwrap();
        for (k, &accuracy) in accuracies.iter().enumerate() {
            metrics::append(&folder.join(METRICS_FILE), &record(k as u64 + 1, accuracy)).unwrap();
        }
    }

    #[test]
    fn runs_are_found_at_any_depth_and_the_best_is_first() {
        let temp = tempfile::tempdir().unwrap();
        let config = testing::config();
        put(&temp.path().join("none"), &config, &[]);
        put(&temp.path().join("a/deep"), &config, &[0.5, 0.7, 0.7, 0.6]);
        put(&temp.path().join("a"), &config, &[0.9]);
        fs::create_dir(temp.path().join("empty")).unwrap();
        let found = Runs::find(temp.path()).unwrap();
        let names: Vec<_> = found.runs.iter().map(|run| run.folder.strip_prefix(temp.path()).unwrap()).collect();
        assert_eq!(names, ["a", "a/deep", "none"].map(Path::new));
        assert!(found.unreadable.is_empty() && found.settings().unwrap().is_empty());
        let deep = &found.runs[1];
        assert_eq!(deep.best(), Some(Best { epoch: 2, test_accuracy: 0.7 }));
        assert_eq!((deep.epochs(), deep.train_seconds()), (4, 6.0));
        assert_eq!((found.runs[2].best(), found.runs[2].epochs()), (None, 0));
        assert_eq!(Runs::find(&temp.path().join("a/deep")).unwrap().runs.len(), 1);
    }

    #[test]
    fn settings_are_those_that_differ() {
        let temp = tempfile::tempdir().unwrap();
        let config = testing::config();
        let mut other = RunConfig { seed: 7, epochs: config.epochs + 1, limit: Some(3), ..config.clone() };
        let last = other.network.hidden.last().unwrap().clone();
        other.network.hidden.push(last);
        put(&temp.path().join("a"), &config, &[0.5]);
        put(&temp.path().join("b"), &other, &[0.4]);
        let settings = Runs::find(temp.path()).unwrap().settings().unwrap();
        let of = |name: &str| settings.iter().find(|(field, _)| field == name).map(|(_, values)| values.clone());
        assert_eq!(of("seed").unwrap()[1], Some(Value::Integer(7)));
        assert_eq!(of("limit").unwrap(), [None, Some(Value::Integer(3))]);
        let added = of(&format!("network.hidden[{}].neurons", config.network.hidden.len())).unwrap();
        assert!(added[0].is_none() && added[1].is_some());
        assert!(of("epochs").is_none() && of("batch").is_none(), "{settings:?}");
    }

    #[test]
    fn damaged_runs_are_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        put(&temp.path().join("whole"), &testing::config(), &[0.5]);
        put(&temp.path().join("strange"), &testing::config(), &[0.5]);
        fs::write(temp.path().join("strange").join(METRICS_FILE), "hello\n").unwrap();
        fs::create_dir(temp.path().join("half")).unwrap();
        fs::write(temp.path().join("half").join(CHECKPOINT_FILE), "").unwrap();
        fs::create_dir(temp.path().join("other")).unwrap();
        fs::write(temp.path().join("other").join(CONFIG_FILE), "title = 'a site'").unwrap();
        let found = Runs::find(temp.path()).unwrap();
        assert_eq!(found.runs.len(), 1);
        let errors: Vec<String> = found.unreadable.iter().map(|(_, error)| error.to_string()).collect();
        for (error, part) in errors.iter().zip(["no config.toml", "config.toml", "metrics.jsonl: line 1"]) {
            assert!(error.contains(part), "{errors:?}");
        }
        assert_eq!(errors.len(), 3);
        let empty = tempfile::tempdir().unwrap();
        assert!(Runs::find(empty.path()).unwrap_err().to_string().contains("contains no run"));
        assert!(matches!(Runs::find(&empty.path().join("absent")), Err(Error::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        put(&temp.path().join("all/run"), &testing::config(), &[0.5]);
        std::os::unix::fs::symlink(temp.path(), temp.path().join("all/circle")).unwrap();
        assert_eq!(Runs::find(temp.path()).unwrap().runs.len(), 1);
    }
}
