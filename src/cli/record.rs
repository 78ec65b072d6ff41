//! `train --record`: the raster of a test sample after each epoch, as an animation.

use super::raster;
use super::show::percent;
use anyhow::{Result, anyhow};
use spikegrad::data::DataSet;
use spikegrad::engine::Engine;
use spikegrad::error::Error;
use spikegrad::plot::{Animation, AnimationFormat};
use spikegrad::train::{EpochRecord, Intervention, Observer, RunConfig, Start, Summary};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Time of a run / time that writing the file takes at most while it goes on.
const SHARE: u32 = 20;

/// Parses `--record` for clap: refuses other endings before any work.
pub fn file(word: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(word);
    AnimationFormat::of(&path)
        .map_err(|_| "animations are written as GIF or PNG; use a name that ends in .gif or .png")?;
    Ok(path)
}

/// The file of run `k`, from 1, of those that a page started one after another: `run.gif`, `run-2.gif`, ...
pub fn numbered(path: &Path, k: u32) -> PathBuf {
    let (stem, ending) = (path.file_stem().unwrap_or_default(), path.extension().unwrap_or_default());
    match k {
        0 | 1 => path.into(),
        k => path.with_file_name(format!("{}-{k}.{}", stem.display(), ending.display())),
    }
}

/// Draws the first test sample before the first step and after each epoch.
pub struct Recorder<'a> {
    file: PathBuf,
    config: &'a RunConfig,
    data: &'a DataSet,
    /// What the epochs are measured on: `test` or `validation`.
    measured: &'static str,
    animation: Animation,
    /// Number and title of the first frame, until it is drawn.
    first: Option<(u64, String)>,
    /// Why a frame is missing.
    failed: Option<Error>,
    /// When the file may be written again.
    not_before: Instant,
}

/// A finished recording.
pub struct Recording {
    pub file: PathBuf,
    pub frames: usize,
}

impl<'a> Recorder<'a> {
    /// Records into `file`, which is replaced. `measured` is what epochs are measured on: `test` or `validation`.
    pub fn new(file: PathBuf, config: &'a RunConfig, data: &'a DataSet, measured: &'static str) -> Self {
        let (animation, not_before) = (Animation::default(), Instant::now());
        Recorder { file, config, data, measured, animation, first: None, failed: None, not_before }
    }

    /// Adds the last frame if it is missing, and writes the file.
    pub fn finish(mut self, engine: &mut dyn Engine, summary: &Summary) -> Result<Recording> {
        let drawn = self.draw_last(engine, summary);
        if !self.animation.is_empty() {
            self.animation.save(&self.file)?;
        }
        drawn?;
        match self.failed {
            Some(error) => Err(anyhow!("{}: frames are missing: {error}", self.file.display())),
            None => Ok(Recording { file: self.file, frames: self.animation.len() }),
        }
    }

    /// Writes the frames so far, of a run that failed.
    pub fn keep(&self) {
        if !self.animation.is_empty() {
            // Why the run failed is what matters.
            let _ = self.animation.save(&self.file);
        }
    }

    /// Writes the frames so far, unless that would take too much of the time.
    fn keep_meanwhile(&mut self) {
        let begun = Instant::now();
        if begun >= self.not_before {
            // What is wrong is said at the end, as of the other figures.
            self.keep();
            self.not_before = Instant::now() + SHARE * begun.elapsed();
        }
    }

    fn draw_first(&mut self, engine: &mut dyn Engine) -> spikegrad::Result<()> {
        if let Some((epoch, state)) = self.first.clone() {
            self.draw(epoch, &state, engine)?;
            self.first = None;
        }
        Ok(())
    }

    fn draw_last(&mut self, engine: &mut dyn Engine, summary: &Summary) -> spikegrad::Result<()> {
        // Missing if there was nothing to train.
        self.draw_first(engine)?;
        match &summary.last {
            // Within the next epoch, the weights are no longer those of this one.
            Some(record) if summary.progress.batches == 0 && self.animation.last() != Some(record.epoch) => {
                self.draw(record.epoch, &self.state(record), engine)
            }
            _ => Ok(()),
        }
    }

    /// Adds a frame with the engine's weights. Only the loss of the device is an error now, which the run recovers from.
    fn draw(&mut self, epoch: u64, state: &str, engine: &mut dyn Engine) -> spikegrad::Result<()> {
        let title = format!("{state}: {}", raster::sample_name(self.config, self.data, 0));
        let drawn = raster::sample(engine, self.config, self.data, 0, title)
            .and_then(|raster| self.animation.push(epoch, &raster));
        match drawn {
            Err(error @ Error::DeviceLost(_)) => Err(error),
            Err(error) => {
                self.failed.get_or_insert(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// `Epoch 3, test accuracy 85.12 %`.
    fn state(&self, record: &EpochRecord) -> String {
        let EpochRecord { epoch, test_accuracy, .. } = record;
        match &record.rescued {
            // The weights are not those that were tested.
            Some(rescue) => format!("Epoch {epoch}, spiking layer {} re-initialised", rescue.layer),
            None => format!("Epoch {epoch}, {} accuracy {}", self.measured, percent(*test_accuracy)),
        }
    }
}

impl Observer for Recorder<'_> {
    fn on_start(&mut self, start: &Start) {
        let done = start.epochs_done;
        let state = match (start.resumed, start.batches_done) {
            (false, _) => format!("Epoch {done}, before training"),
            (true, 0) => format!("Continued after epoch {done}"),
            (true, _) => format!("Continued within epoch {}", done + 1),
        };
        self.first = Some((done, state));
    }

    fn between_steps(&mut self, engine: &mut dyn Engine) -> spikegrad::Result<Intervention> {
        if self.first.is_none() {
            return Ok(Intervention::default());
        }
        let begun = Instant::now();
        self.draw_first(engine)?;
        self.keep_meanwhile();
        Ok(Intervention { paused: begun.elapsed(), ..Intervention::default() })
    }

    fn after_epoch(&mut self, record: &EpochRecord, engine: &mut dyn Engine) {
        if self.animation.wants(record.epoch) {
            // The next step notices that the device is lost.
            let _ = self.draw(record.epoch, &self.state(record), engine);
            self.keep_meanwhile();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_runs_that_follow_are_numbered() {
        let names = [1, 2, 10].map(|k| numbered(Path::new("talk/run.1.GIF"), k));
        assert_eq!(names, ["talk/run.1.GIF", "talk/run.1-2.GIF", "talk/run.1-10.GIF"].map(PathBuf::from));
    }

    #[test]
    fn other_endings_are_refused() {
        for name in ["a.gif", "a.png", "b/A.GIF"] {
            assert_eq!(file(name), Ok(PathBuf::from(name)));
        }
        for name in ["a.svg", "a.mp4", "gif", ".gif", ""] {
            assert!(file(name).unwrap_err().contains(".gif or .png"), "{name}");
        }
    }
}
