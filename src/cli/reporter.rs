//! Shows a training run: its progress, a line per epoch, warnings.

use super::progress::Progress;
use super::show::{self, clock, complain, magnitude, percent, percents, say, warn};
use spikegrad::engine::{Engine, LayerMethod};
use spikegrad::train::{EpochRecord, EpochSums, LayerChoice, Observer, Start, StepProgress, Warning};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
/// How much is printed, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Lines on standard output, the bar on standard error.
    Normal,
    /// Everything on standard error: standard output is for one JSON object.
    Aside,
    /// Warnings only.
    Quiet,
}

impl Voice {
    /// Prints a line about the run.
    pub fn tell(self, line: &str) {
        match self {
            // The run continues even if the line cannot be printed.
            Voice::Normal => drop(say(line)),
            Voice::Aside => complain(line),
            Voice::Quiet => {}
        }
    }
}

/// Work after an epoch.
type AfterEpochs<'a> = dyn FnMut(&EpochRecord, &mut dyn Engine) + 'a;

/// Shows a run on the terminal.
pub struct Reporter<'a> {
    voice: Voice,
    progress: Progress,
    drawn: Option<Instant>,
    epochs: u64,
    samples: u64,
    introduction: Vec<String>,
    /// What the epochs are measured on: `test` or `validation`.
    measured: &'static str,
    /// Called after an epoch, unless that would take too much of the time.
    after_epochs: Option<Box<AfterEpochs<'a>>>,
    /// When it may be called again.
    not_before: Instant,
}

/// Time of a run / time that calls after epochs take at most.
const SHARE: u32 = 50;
/// How long the first call is expected to take.
const FIRST_CALL: Duration = Duration::from_millis(300);
/// Minimum time between two redraws of the bar.
const REFRESH: Duration = Duration::from_millis(100);

impl<'a> Reporter<'a> {
    /// `introduction` is printed when training begins, `measured` is what epochs are measured on: `test` or `validation`.
    pub fn new(voice: Voice, progress: Progress, measured: &'static str, introduction: Vec<String>) -> Self {
        let (after_epochs, not_before) = (None, Instant::now() + SHARE * FIRST_CALL);
        Reporter {
            voice,
            progress,
            drawn: None,
            epochs: 0,
            samples: 0,
            introduction,
            measured,
            after_epochs,
            not_before,
        }
    }

    /// Calls `work` after epochs, such as to redraw a figure: after each but the last, unless that would take more than 2 %
    /// of the time.
    pub fn after_epochs(self, work: impl FnMut(&EpochRecord, &mut dyn Engine) + 'a) -> Self {
        Reporter { after_epochs: Some(Box::new(work)), ..self }
    }

    /// Removes the line of progress.
    pub fn clear(&self) {
        self.progress.clear();
    }

    /// Seconds that the rest of the training will take, without the tests.
    fn seconds_left(&self, step: &StepProgress) -> f64 {
        let left = (step.epochs + 1 - step.epoch) * self.samples - step.sums.samples.min(self.samples);
        left as f64 * step.session_seconds / step.session_samples.max(1) as f64
    }
}

impl Observer for Reporter<'_> {
    fn on_start(&mut self, start: &Start) {
        (self.epochs, self.samples) = (start.epochs, start.train_samples);
        self.introduction.iter().for_each(|line| self.voice.tell(line));
        start.notes.iter().for_each(|note| self.voice.tell(&format!("note     {note}")));
        if start.resumed {
            let batch = match start.batches_done {
                0 => String::new(),
                n => format!(", batch {n} of epoch {}", start.epochs_done + 1),
            };
            self.voice.tell(&format!("resumed  after epoch {} of {}{batch}", start.epochs_done, start.epochs));
        }
        if start.epochs_done < start.epochs {
            let epoch = format!("epoch {}/{}", start.epochs_done + 1, start.epochs);
            self.progress.count(epoch, start.batches_done, start.batches, vec!["starting".into()]);
        }
    }

    fn on_layer_methods(&mut self, choice: &LayerChoice) {
        let layers = choice.methods.iter().map(|method| match method {
            LayerMethod::Sparse => "sparse",
            LayerMethod::Dense => "dense",
        });
        let layers: Vec<&str> = layers.collect();
        let crossover = match choice.crossover {
            density if density < 1.0 => format!("; dense is faster above {}", percent(density)),
            _ => String::new(),
        };
        let densities =
            choice.densities.iter().map(|density| density.map_or("-".into(), |d| format!("{:.2}", 100.0 * d)));
        let densities = densities.collect::<Vec<String>>().join(" / ");
        let line = format!("method   {} (density {densities} %{crossover})", layers.join(" / "));
        self.progress.aside(|| {
            self.voice.tell(&line);
            choice.notes.iter().for_each(|note| self.voice.tell(&format!("note     {note}")));
        });
    }

    fn on_step(&mut self, step: &StepProgress) {
        let last = step.sums.samples == self.samples;
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < REFRESH) && !last {
            return;
        }
        self.drawn = Some(Instant::now());
        let epoch = format!("epoch {}/{}", step.epoch, step.epochs);
        match last {
            true => self.progress.stage(format!("{epoch}, testing")),
            false => {
                let left = format!("{} left", clock(self.seconds_left(step)));
                let details = std::iter::once(left).chain(details(step.sums, step)).collect();
                self.progress.count(epoch, step.batch, step.batches, details);
            }
        }
    }

    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        let line = epoch_line(record, self.epochs, self.measured);
        self.progress.aside(|| self.voice.tell(&line));
        ControlFlow::Continue(())
    }

    fn after_epoch(&mut self, record: &EpochRecord, engine: &mut dyn Engine) {
        if let Some(work) = &mut self.after_epochs
            && record.epoch < self.epochs
            && Instant::now() >= self.not_before
        {
            let begun = Instant::now();
            work(record, engine);
            self.not_before = Instant::now() + SHARE * begun.elapsed();
        }
    }

    fn on_warning(&mut self, warning: &Warning) {
        self.progress.aside(|| warn(&warning.text));
    }
}

/// The loss, the accuracy and the speed, for the line of progress.
fn details(sums: &EpochSums, step: &StepProgress) -> [String; 3] {
    let rate = step.session_spikes as f64 / step.session_seconds.max(1e-9);
    let loss = format!("loss {:.4}", sums.mean_loss().total());
    [loss, format!("train {:.1} %", 100.0 * sums.accuracy()), format!("{} spikes/s", magnitude(rate))]
}

/// `epoch 3/8  loss 0.4711  train 83.10 %  test 82.66 %  active 1.02 / 0.85 %  spikes 1.73 / 1.20 %  4.1 s`.
fn epoch_line(record: &EpochRecord, epochs: u64, measured: &str) -> String {
    let digits = epochs.to_string().len();
    // Without spiking layers, there is nothing to be active or to spike.
    let shares = |name, layers: &[f64]| match layers.is_empty() {
        true => String::new(),
        false => format!("  {name} {}", percents(layers)),
    };
    let mut line = format!(
        "epoch {:>digits$}/{epochs}  loss {:.4}  train {}  {measured} {}{}{}  {} s",
        record.epoch,
        record.loss,
        percent(record.train_accuracy),
        percent(record.test_accuracy),
        shares("active", &record.activity),
        shares("spiking", &record.spike_density),
        show::three_digits(record.train_seconds + record.test_seconds)
    );
    if let Some(rescue) = &record.rescued {
        line.push_str(&format!("  (spiking layer {} re-initialised, weights × {:.2})", rescue.layer, rescue.factor));
    }
    line
}
