//! The folder of a run. It is locked while a run writes to it, and its files are replaced atomically.

use super::progress::DataMark;
use super::{Checkpoint, EpochRecord, Keeper, Progress, RunConfig, metrics};
use crate::data::OWN;
use crate::engine::TrainingState;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::files::{TEMPORARY_PREFIX, check_folder, write_atomically};
use crate::limits;
use crate::network::Network;
use crate::weights::Weights;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// File name of the run's configuration.
pub const CONFIG_FILE: &str = "config.toml";
/// File name of the run's metrics.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// File name of the checkpoint from which a run is resumed.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// File name of the checkpoint with the best test accuracy.
pub const BEST_FILE: &str = "best.safetensors";
/// File name of the weights that a run of [`begin_from`] begins with.
pub const INITIAL_FILE: &str = "initial.safetensors";

/// The configuration of the run in `folder`.
///
/// # Errors
/// A folder without a run, or a damaged `config.toml`.
pub fn stored_config(folder: &Path) -> Result<RunConfig> {
    let path = folder.join(CONFIG_FILE);
    if !path.exists() {
        return Err(Error::Config(format!(
            "{}: not the folder of a run, it has no {CONFIG_FILE}; give a folder written by train",
            folder.display()
        )));
    }
    let mut config = RunConfig::load_whole(&path)?;
    // The folder may have been moved since `begin_from` wrote it.
    if config.weights.as_deref() == Some(Path::new(INITIAL_FILE)) {
        let initial = folder.join(INITIAL_FILE);
        config.weights = Some(std::path::absolute(&initial).map_err(Error::io(&initial))?);
    }
    Ok(config)
}

/// The configuration of the run in `folder`, and a checkpoint with its file name: that of the best epoch, or with `last`, or if no
/// epoch is finished yet, the latest; before training, that of [`begin_from`].
///
/// # Errors
/// Those of [`stored_config`] and [`Checkpoint::load`].
pub fn stored_run(folder: &Path, last: bool) -> Result<(RunConfig, Checkpoint, &'static str)> {
    let mut config = stored_config(folder)?;
    config.find_own_data(folder);
    let preferred = if last { CHECKPOINT_FILE } else { BEST_FILE };
    let found = [preferred, CHECKPOINT_FILE, INITIAL_FILE].into_iter().find(|name| folder.join(name).exists());
    let file = found.unwrap_or(CHECKPOINT_FILE);
    let checkpoint = Checkpoint::load(&folder.join(file), &config.network)?;
    Ok((config, checkpoint, file))
}

impl RunConfig {
    /// Sets the path of the data of a run on custom data, which are kept in its `folder`, unless it has one.
    pub fn find_own_data(&mut self, folder: &Path) {
        if self.preset == OWN && self.data.path.is_none() {
            self.data.path = Some(folder.join(DATA_FILE));
        }
    }
}

/// Writes the folder of a run that begins with `weights` and has not trained yet: its `config.toml`, and the weights as
/// [`INITIAL_FILE`], a checkpoint that can be tested. Training it ([`Training::resume`](super::Training::resume)) begins with them.
///
/// # Errors
/// The folder contains a run or cannot be written; an invalid configuration; weights of other shapes, or not finite.
pub fn begin_from(folder: &Path, config: &RunConfig, weights: Weights) -> Result<()> {
    config.check()?;
    weights.check(&config.network)?;
    let folder = RunFolder::open(folder, false)?;
    let config = RunConfig { weights: Some(INITIAL_FILE.into()), ..config.clone() };
    let nothing = EventSet::new(config.network.inputs, config.network.time_steps);
    let progress = Progress::new(&config.network, DataMark::new(&nothing, &nothing), config.device.clone());
    let checkpoint = Checkpoint { config: config.clone(), progress, state: TrainingState::new(weights) };
    folder.save(INITIAL_FILE, &checkpoint)?;
    write_atomically(&folder.file(CONFIG_FILE), config.to_toml()?.as_bytes())
}

/// Checks that a run can be written to the folder, which need not exist, or continued there if `resume`. For checks before
/// data are loaded; [`Training`](super::Training) does it too.
///
/// # Errors
/// [`Error::Config`] if there is no run to resume, or one in the way, or the folder cannot be written to.
pub fn check_run_folder(folder: &Path, resume: bool) -> Result<()> {
    let outcome = check_contents(folder, resume);
    // A run that is going on cannot be resumed.
    match (&outcome, folder.join(LOCK_FILE).exists()) {
        (Err(_), true) => lock(folder).err().filter(|e| matches!(e, Error::Config(_))).map_or(outcome, Err),
        _ => outcome,
    }
}

/// [`check_run_folder`], apart from runs that are going on.
fn check_contents(folder: &Path, resume: bool) -> Result<()> {
    let holds = |name: &&&str| folder.join(name).exists();
    match [CONFIG_FILE, CHECKPOINT_FILE, BEST_FILE, METRICS_FILE].iter().find(holds) {
        _ if resume && !holds(&&CONFIG_FILE) => Err(Error::Config(format!(
            "{}: nothing to resume, there is no {CONFIG_FILE}; start a run there instead of resuming one",
            folder.display()
        ))),
        Some(name) if !resume => Err(Error::Config(format!(
            "{}: already contains a run ({name}); resume it, or choose another folder",
            folder.display()
        ))),
        _ => check_folder(folder).map_err(|e| match e {
            Error::Io { source, .. } => {
                Error::Config(format!("{}: cannot be written to ({source}); choose another folder", folder.display()))
            }
            other => other,
        }),
    }
}

/// File name of custom data.
pub const DATA_FILE: &str = "data.safetensors";

/// Locked while a run writes the folder.
pub const LOCK_FILE: &str = ".lock";

/// A run's folder, locked until this is dropped.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Whether to resume the run in it.
    resume: bool,
    lock: File,
    /// Whether the folder was created for the run.
    created: bool,
}

impl Drop for RunFolder {
    /// A run that was refused leaves no folder that only has its lock.
    fn drop(&mut self) {
        let names = || std::fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.file_name());
        if self.created && names().all(|name| name == LOCK_FILE) && self.check().is_ok() {
            let _ = std::fs::remove_file(self.file(LOCK_FILE));
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

impl RunFolder {
    /// Creates and locks the folder. It must contain a run if `resume`, and none otherwise.
    pub(crate) fn open(path: &Path, resume: bool) -> Result<Self> {
        check_run_folder(path, resume)?;
        let created = !path.exists();
        std::fs::create_dir_all(path).map_err(|e| {
            Error::Config(format!("{}: cannot create the folder ({e}); choose another", path.display()))
        })?;
        limits::refuse_link(&path.join(METRICS_FILE))?;
        let lock = lock(path)?;
        // Another process may have written a run meanwhile.
        check_contents(path, resume)?;
        remove_leftovers(path)?;
        Ok(RunFolder { path: path.into(), resume, lock, created })
    }

    /// Checks that the folder has not been removed, or replaced by that of another run, to which files would then be
    /// written.
    pub(crate) fn check(&self) -> Result<()> {
        match is_still_at(&self.lock, &self.file(LOCK_FILE)) {
            true => Ok(()),
            false => Err(Error::Config(format!(
                "{}: the run's folder was removed or replaced during the run; start again in another",
                self.path.display()
            ))),
        }
    }

    /// The path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Checks that the run can be resumed with the configuration `now`.
    fn check_conflicts(&self, begun: &RunConfig, now: &RunConfig) -> Result<()> {
        let conflicts = begun.resumed_with(now).differences(now)?;
        if conflicts.is_empty() {
            return Ok(());
        }
        if now.epochs > begun.epochs && conflicts.iter().all(|conflict| conflict.field == "epochs") {
            return Err(Error::Config(format!(
                "{}: the run cannot be continued to epoch {}, since its learning rate falls to its end at epoch {}; start \
                 another run with weights = {} and more epochs",
                self.path.display(),
                now.epochs,
                begun.epochs,
                self.file(BEST_FILE).display()
            )));
        }
        let list: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
        Err(Error::Config(format!(
            "{}: a resumed run keeps its configuration, but these fields differ (run, now): {}; leave them \
             unchanged, or start another run in another folder",
            self.path.display(),
            list.join("; ")
        )))
    }

    /// Writes a checkpoint under `name`.
    fn save(&self, name: &str, checkpoint: &Checkpoint) -> Result<()> {
        // The check comes as late as possible, so that no file of another run is overwritten.
        checkpoint.save_after(&self.file(name), || self.check())
    }
}

impl Keeper for RunFolder {
    fn place(&self) -> PathBuf {
        self.file(CHECKPOINT_FILE)
    }

    fn resume(&mut self, config: &RunConfig) -> Result<Option<(Progress, TrainingState)>> {
        if !self.resume {
            return Ok(None);
        }
        self.check_conflicts(&stored_config(&self.path)?, config)?;
        if !self.place().exists() {
            // A run killed before its first checkpoint, at the end of its first epoch at the latest, starts from the beginning.
            let epochs = metrics::read(&self.file(METRICS_FILE)).map_or(0, |records| records.len());
            return match epochs {
                0 | 1 => Ok(None),
                _ => Err(Error::Config(format!(
                    "{}: {CHECKPOINT_FILE} is missing, without which its {epochs} epochs cannot be continued; put it back, or start \
                     another run from {BEST_FILE} (weights)",
                    self.path.display()
                ))),
            };
        }
        let Checkpoint { config: begun, progress, state } = Checkpoint::load(&self.place(), &config.network)?;
        self.check_conflicts(&begun, config)?;
        Ok(Some((progress, state)))
    }

    fn begin(&mut self, config: &RunConfig, epoch: u64) -> Result<()> {
        write_atomically(&self.file(CONFIG_FILE), config.to_toml()?.as_bytes())?;
        metrics::truncate_after(&self.file(METRICS_FILE), epoch)
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.save(CHECKPOINT_FILE, checkpoint)
    }

    fn keep_best(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.save(BEST_FILE, checkpoint)
    }

    fn keep_epoch(&mut self, record: &EpochRecord) -> Result<()> {
        self.check()?;
        metrics::append(&self.file(METRICS_FILE), record)
    }

    fn go_back(&mut self, network: &Network) -> Result<(Progress, TrainingState)> {
        let Checkpoint { progress, state, .. } = Checkpoint::load(&self.place(), network)?;
        metrics::truncate_after(&self.file(METRICS_FILE), progress.epoch)?;
        Ok((progress, state))
    }
}

/// Whether `path` still refers to the open `file`.
#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(file), Ok(found)) => inode(file) == inode(found),
        _ => false,
    }
}

/// An open file can be neither removed nor renamed on Windows.
#[cfg(not(unix))]
fn is_still_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

/// Locks a folder to which only one process may write, until the returned file is closed.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_FILE);
    limits::refuse_link(&path)?;
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Config(format!(
            "{}: another run is writing to this folder; wait for it, or choose another folder",
            folder.display()
        ))),
        // Some network file systems do not support locks; the folder is then used without one.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(Error::io(path)(e)),
    }
}

/// Removes temporary files of a killed run. The folder is locked, so no other process uses them.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            std::fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<RunFolder>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn two_runs_do_not_write_one_folder() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("deep/run");
        let first = RunFolder::open(&path, false).unwrap();
        let refused = message(RunFolder::open(&path, false));
        assert!(refused.contains("another run") && refused.contains("deep/run"), "{refused}");
        drop(first);
        RunFolder::open(&path, false).unwrap();
    }

    #[test]
    fn a_run_is_not_overwritten_and_nothing_is_not_resumed() {
        let temp = tempfile::tempdir().unwrap();
        let missing = message(RunFolder::open(&temp.path().join("none"), true));
        assert!(missing.contains("nothing to resume") && !temp.path().join("none").exists(), "{missing}");
        for name in [CONFIG_FILE, CHECKPOINT_FILE, METRICS_FILE] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), "old").unwrap();
            let refused = message(RunFolder::open(folder.path(), false));
            assert!(
                refused.contains(name) && refused.contains("resume it") && refused.contains("another folder"),
                "{refused}"
            );
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), "old");
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_links() {
        for name in [METRICS_FILE, LOCK_FILE] {
            let temp = tempfile::tempdir().unwrap();
            let run = temp.path().join("run");
            std::fs::create_dir(&run).unwrap();
            std::os::unix::fs::symlink(temp.path().join("elsewhere"), run.join(name)).unwrap();
            let refused = message(RunFolder::open(&run, false));
            assert!(refused.contains(name) && refused.contains("is a symbolic link"), "{refused}");
            assert!(!temp.path().join("elsewhere").exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_was_replaced_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run");
        let first = RunFolder::open(&path, false).unwrap();
        first.check().unwrap();
        std::fs::rename(&path, temp.path().join("moved")).unwrap();
        assert!(first.check().unwrap_err().to_string().contains("removed or replaced"));
        let second = RunFolder::open(&path, false).unwrap();
        second.check().unwrap();
        assert!(first.check().unwrap_err().to_string().contains("start again in another"));
    }

    #[test]
    fn a_file_is_no_folder() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        std::fs::write(&path, "mine").unwrap();
        let refused = message(RunFolder::open(&path, false));
        assert!(
            refused.contains("file: cannot be written to (is not a folder") && refused.contains("choose another"),
            "{refused}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_folder_with_nothing_but_the_lock_goes_with_the_run() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run");
        drop(RunFolder::open(&path, false).unwrap());
        assert!(!path.exists());
        let folder = RunFolder::open(&path, false).unwrap();
        crate::files::write_atomically(&folder.file("file"), b"whole").unwrap();
        drop(folder);
        assert!(path.join("file").exists());
        // One's own empty folder is kept.
        drop(RunFolder::open(temp.path(), false).unwrap());
        assert!(temp.path().join(LOCK_FILE).exists());
    }

    #[test]
    fn what_a_killed_run_left_half_written_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(".spikegrad-killed"), "half").unwrap();
        let folder = RunFolder::open(temp.path(), false).unwrap();
        crate::files::write_atomically(&folder.file("file"), b"whole").unwrap();
        let mut names: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [LOCK_FILE, "file"]);
    }
}
