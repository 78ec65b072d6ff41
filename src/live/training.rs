//! What pages see of a run that trains in this process, and do to it.

use super::control::{Command, Settings};
use super::exhibit::Exhibit;
use super::message::{Kernels, Level, Message, Source, Step};
use super::race::{self, Race, Times};
use super::{Live, State};
use crate::data::DataSet;
use crate::engine::{DeviceInfo, Engine};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::platform::{Instant, give_way};
use crate::train::{EpochRecord, Intervention, Observer, RunConfig, Start, StepProgress, Warning};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time of a run / time that looking into the device takes at most. A run in a browser is there to be looked at.
const SHARE: u32 = if cfg!(target_family = "wasm") { 5 } else { 100 };
/// Minimum time between two samples.
const SAMPLES: Duration = Duration::from_millis(300);
/// Minimum time between two measurements of the kernels.
const KERNELS: Duration = Duration::from_secs(5);
/// Minimum time between two messages about progress.
const STEPS: Duration = Duration::from_millis(100);
/// How often a paused run looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// What a page can do to a run, beside looking at it.
const ACTS: [&str; 5] = ["pause", "resume", "step", "set", "restart"];

/// An observer that shows the run to pages. Without a page it does nothing.
pub struct Watched<'a> {
    exhibit: Exhibit<'a>,
    config: &'a RunConfig,
    data: &'a DataSet,
    device: &'static str,
    stop: &'a AtomicBool,
    paused: bool,
    /// Whether to pause after the next step.
    single: bool,
    /// The settings of another run that is to follow.
    restart: Option<Settings>,
    race: Option<Race>,
    /// Whether a sample was shown.
    shown: bool,
    /// When the device may be looked into again.
    not_before: Instant,
    kernels_not_before: Option<Instant>,
    /// The last step, and when pages were last told of one.
    step: Option<Step>,
    told: Option<Instant>,
    raced: Option<Instant>,
    times: Times,
    /// Seconds of training and steps when times were last measured.
    mark: (f64, u64),
}

impl<'a> Watched<'a> {
    /// Introduces the run to pages: `config` on `data`, with the epochs that are done already. A paused run ends as soon
    /// as `stop` is set.
    pub fn new(
        live: &Live,
        config: &'a RunConfig,
        data: &'a DataSet,
        device: DeviceInfo,
        epochs: Vec<EpochRecord>,
        stop: &'a AtomicBool,
    ) -> Self {
        let kind = device.kind;
        let race = race::is_possible(config).then_some("race");
        let can: Vec<&str> = ACTS.into_iter().chain(race).collect();
        let now = Instant::now();
        let source = if cfg!(target_family = "wasm") { Source::Browser } else { Source::Native };
        let exhibit = Exhibit::new(live, source, config, data, device, epochs, &can);
        exhibit.state(State::Starting, "Prepares the first step.");
        Watched {
            exhibit,
            config,
            data,
            device: kind,
            stop,
            paused: false,
            single: false,
            restart: None,
            race: None,
            shown: false,
            not_before: now,
            kernels_not_before: Some(now + KERNELS),
            step: None,
            told: None,
            raced: None,
            times: Times::default(),
            mark: (0.0, 0),
        }
    }

    /// The settings of the run that is to follow this one, if a page asked for one.
    pub fn take_restart(&mut self) -> Option<Settings> {
        self.restart.take()
    }

    /// The network, to be shown after the end of the run.
    pub fn into_exhibit(mut self) -> Exhibit<'a> {
        self.tell_step();
        self.exhibit
    }

    fn is_watched(&self) -> bool {
        self.exhibit.hub.is_watched()
    }

    fn carry_out(&mut self, command: Command, engine: &mut dyn Engine, wish: &mut Intervention) -> Result<()> {
        match command {
            Command::Pause {} => self.pause(),
            Command::Resume {} | Command::Step {} => {
                self.paused = false;
                self.single = command == Command::Step {};
                if !self.single {
                    self.exhibit.state(State::Running, "Training.");
                }
            }
            Command::Set { lr } => {
                wish.lr = lr.or(wish.lr);
                let lr = lr.unwrap_or(self.config.adam.lr);
                if let Some(step) = &mut self.step {
                    step.lr = lr;
                }
                self.tell_step();
                self.exhibit.hub.note(Level::Info, format!("The learning rate is {lr} from the next step on."));
            }
            Command::Restart { settings } => {
                self.restart = Some(settings);
                wish.stop = true;
            }
            Command::Race { on: false } => self.race = None,
            Command::Race { on: true } => {
                let weights = engine.store()?.weights;
                match Race::begin(self.config, &weights) {
                    Ok(race) => self.race = Some(race),
                    Err(error) => self.exhibit.hub.note(Level::Error, error),
                }
            }
            Command::Sample { .. } | Command::Weights { .. } | Command::Draw { .. } => {
                self.exhibit.serve(&command, engine)?
            }
        }
        Ok(())
    }

    fn pause(&mut self) {
        (self.paused, self.single) = (true, false);
        self.tell_step();
        self.exhibit.hub.tell_epochs(true);
        self.exhibit.state(State::Paused, "Paused before the next step.");
    }

    fn tell_step(&mut self) {
        if let Some(step) = self.step {
            self.told = Some(Instant::now());
            self.exhibit.hub.tell(&Message::Step(step));
        }
    }

    /// Waits for commands while paused.
    fn wait(&mut self, engine: &mut dyn Engine, wish: &mut Intervention) -> Result<()> {
        let begun = Instant::now();
        self.exhibit.show(engine)?;
        self.shown = true;
        while self.paused && !wish.stop && !self.stop.load(Ordering::Relaxed) {
            // A race leaves no time to sleep.
            give_way();
            let time = if self.race.is_some() { Duration::ZERO } else { LOOK };
            if let Some(command) = self.exhibit.control.wait(time) {
                self.carry_out(command, engine, wish)?;
            }
            self.race();
        }
        wish.paused += begun.elapsed();
        Ok(())
    }

    /// Lets both methods make a step, if they race.
    fn race(&mut self) {
        let Some(race) = &mut self.race else { return };
        match race.run(self.config, self.data) {
            Ok(message) if self.raced.is_none_or(|raced| raced.elapsed() >= STEPS) => {
                self.raced = Some(Instant::now());
                self.exhibit.hub.tell(&message);
            }
            Ok(_) => {}
            Err(error) => {
                self.exhibit.hub.note(Level::Error, error);
                self.race = None;
            }
        }
        if !self.exhibit.hub.is_watched() {
            self.race = None;
        }
    }

    /// Shows the sample or the kernels, if there is time for it.
    fn look(&mut self, engine: &mut dyn Engine) -> Result<()> {
        let begun = Instant::now();
        if begun < self.not_before {
            return Ok(());
        }
        match std::mem::replace(&mut self.shown, true) && self.kernels_not_before.is_some_and(|due| begun >= due) {
            true => {
                self.kernels_not_before = Some(begun + KERNELS);
                self.time_kernels(engine)?;
            }
            false => self.exhibit.show(engine)?,
        }
        let took = begun.elapsed();
        self.not_before = Instant::now() + (took * (SHARE - 1)).max(SAMPLES.saturating_sub(took));
        Ok(())
    }

    /// Measures a step, which changes the weights, and takes it back.
    fn time_kernels(&mut self, engine: &mut dyn Engine) -> Result<()> {
        let mut batch = EventSet::new(0, 0);
        let samples: Vec<u32> = (0..self.config.batch.min(self.data.train.len()) as u32).collect();
        batch.gather(&self.data.train, &samples);
        let state = engine.store()?;
        let measured = engine.profile(&batch, &self.config.adam);
        if let Err(Error::Unsupported(why)) = &measured {
            // Nothing was computed, and nothing will be.
            self.kernels_not_before = None;
            self.exhibit.hub.note(Level::Info, format!("the kernels are not timed: {why}"));
            return Ok(());
        }
        engine.load(&state)?;
        match measured {
            Ok(profile) => {
                if let Some(kernels) = Kernels::of(profile, self.device) {
                    self.exhibit.hub.tell(&Message::Kernels(kernels));
                }
                Ok(())
            }
            Err(error @ Error::DeviceLost(_)) => Err(error),
            Err(error) => {
                self.exhibit.hub.note(Level::Warning, format!("the kernels cannot be timed: {error}"));
                Ok(())
            }
        }
    }
}

impl Observer for Watched<'_> {
    fn on_start(&mut self, start: &Start) {
        let text = match (start.resumed, start.epochs) {
            (true, epochs) => format!("Training, continued after epoch {} of {epochs}.", start.epochs_done),
            (false, 1) => "Training for 1 epoch.".into(),
            (false, epochs) => format!("Training for {epochs} epochs."),
        };
        self.exhibit.state(State::Running, text);
    }

    fn between_steps(&mut self, engine: &mut dyn Engine) -> Result<Intervention> {
        give_way();
        let mut wish = Intervention::default();
        if self.single {
            self.pause();
        }
        while !wish.stop
            && let Some(command) = self.exhibit.control.next()
        {
            self.carry_out(command, engine, &mut wish)?;
        }
        if self.paused {
            self.wait(engine, &mut wish)?;
        }
        if self.race.is_some() {
            let begun = Instant::now();
            self.race();
            wish.paused += begun.elapsed();
        }
        if !wish.stop && self.is_watched() {
            self.exhibit.hub.tell_epochs(false);
            self.look(engine)?;
        }
        Ok(wish)
    }

    fn on_step(&mut self, step: &StepProgress) {
        if !self.is_watched() {
            return;
        }
        let number = (step.epoch - 1) * step.batches + step.batch;
        let (seconds, before) = std::mem::replace(&mut self.mark, (step.session_seconds, number));
        if before > 0 && number > before {
            self.times.add(1e3 * (step.session_seconds - seconds) / (number - before) as f64);
        }
        self.step = Some(Step {
            step: number,
            epoch: step.epoch,
            epochs: step.epochs,
            batch: step.batch,
            batches: step.batches,
            loss: step.sums.mean_loss().total(),
            accuracy: step.sums.accuracy(),
            ms: self.times.median(),
            lr: step.lr,
        });
        if self.told.is_none_or(|told| told.elapsed() >= STEPS) {
            self.tell_step();
        }
    }

    fn on_tested(&mut self, wrong: &[u32]) {
        self.exhibit.set_wrong(wrong);
    }

    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        self.exhibit.hub.add_epoch(record);
        ControlFlow::Continue(())
    }

    fn on_warning(&mut self, warning: &Warning) {
        self.exhibit.hub.note(Level::Warning, &warning.text);
    }
}
