//! The training loop: epochs of steps, with a test and a checkpoint after each.

use super::checkpoint::{Checkpoint, check_numbers};
use super::evaluate::{TestResult, evaluate_while};
use super::guard::{self, Warning, WarningKind};
use super::initial::initial_state;
use super::metrics::{EpochRecord, MemoryRecord};
use super::progress::{Best, DataMark, EpochSums, Progress};
use super::rescue::{self, Rescue};
use super::{Intervention, Keeper, LayerChoice, Observer, Outcome, RunConfig, Start, StepProgress, Summary};
use crate::auto;
use crate::data::order::{batches, order_in_shards};
use crate::data::{DataSet, Shape};
use crate::engine::{Engine, LayerMethod, Method, Ranks, Traffic, TrainingState};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;
use crate::platform::{Instant, sleep};
use crate::shards::Shards;
use crate::system::resident_memory;
use crate::weights::Weights;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The samples of a run.
pub(super) struct Samples<'a> {
    train: Arc<EventSet>,
    test: &'a EventSet,
    shape: Option<Shape>,
    /// The weights to begin with, in place of the configuration's.
    weights: Option<&'a Weights>,
}

/// Checks the arguments of a run; returns its samples.
pub(super) fn check<'a>(
    config: &RunConfig,
    data: &'a DataSet,
    weights: Option<&'a Weights>,
    engine: &dyn Engine,
) -> Result<Samples<'a>> {
    config.check()?;
    if engine.network() != &config.network {
        return Err(Error::Config("the engine has another network than the configuration".into()));
    }
    let train = match config.limit {
        Some(limit) if limit < data.train.len() => Arc::new(data.train.head(limit)),
        _ => Arc::clone(&data.train),
    };
    for (name, set) in [("training", &*train), ("test", data.measured())] {
        if set.is_empty() {
            return Err(Error::Data(format!("the {name} set has no samples")));
        }
        let network = &config.network;
        set.check_fits(network.inputs, network.time_steps, network.classes())?;
    }
    data.check_class_names(config.network.classes())?;
    config.augment.check_shape(data.shape, config.network.inputs)?;
    if let Some(weights) = weights {
        weights.check(&config.network)?;
    }
    Ok(Samples { train, test: data.measured(), shape: data.shape, weights })
}

/// Runs with arguments that passed [`check`].
pub(super) fn run(
    config: &RunConfig,
    samples: Samples,
    engine: &mut dyn Engine,
    keeper: &mut dyn Keeper,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    Trainer::begin(config, samples, engine, keeper, observer)?.run(stop, observer)
}

/// What ranks must agree on between two steps.
struct Decision {
    /// Whether to stop.
    stop: bool,
    /// What rank 0 decides for all.
    decided: bool,
    /// The learning rate, if it was changed by hand.
    lr: Option<f64>,
}

struct Trainer<'a> {
    config: &'a RunConfig,
    train: Arc<EventSet>,
    test: &'a EventSet,
    shape: Option<Shape>,
    engine: &'a mut dyn Engine,
    keeper: &'a mut dyn Keeper,
    progress: Progress,
    /// Sums since the session began, excluding those before an interruption.
    session: EpochSums,
    last: Option<EpochRecord>,
    /// When the last checkpoint was written.
    saved: Instant,
    /// How often the device was lost since then.
    losses: u32,
    /// What exchanges took up to the last finished step; `None` without ranks.
    exchanged: Option<Traffic>,
    /// Whether the observer stopped the run.
    enough: bool,
    /// Kind and layer of the warnings after the last epoch: what lasts is told once.
    warned: Vec<(WarningKind, Option<usize>)>,
}

/// Makes sure that all ranks have the same fact.
fn all_same(ranks: &mut dyn Ranks, what: &str, remedy: &str, fact: String) -> Result<()> {
    let all = ranks.share(fact.as_bytes())?;
    match all.iter().position(|theirs| *theirs != all[0]) {
        Some(other) => Err(Error::Ranks(format!("{} has another {what} than rank 0{remedy}", ranks.name(other)))),
        None => Ok(()),
    }
}

/// Makes sure that all ranks train the same run; returns rank 0's mark of the data. The others may have the events of their shards
/// alone, but all labels.
fn same_run(ranks: &mut dyn Ranks, config: &RunConfig, train: &EventSet, test: &EventSet) -> Result<DataMark> {
    all_same(ranks, "version", "", env!("CARGO_PKG_VERSION").into())?;
    // Fields that each rank may have for itself.
    let RunConfig { data, device, kernels, delta_mib, shares, weights, .. } = RunConfig::new(config.network.clone());
    let common = RunConfig { data, device, kernels, delta_mib, shares, weights, ..config.clone() };
    all_same(ranks, "configuration", "", format!("{common:?}"))?;
    let labels = |set: &EventSet| DataMark::new(&set.only(|_| false), &EventSet::new(0, 0)).hash;
    all_same(ranks, "data set", "", labels(train) + &labels(test))?;
    let own = DataMark::new(train, test);
    let hash = ranks.broadcast(own.hash.clone().into_bytes())?;
    Ok(DataMark { hash: String::from_utf8_lossy(&hash).into_owned(), ..own })
}

/// Maximum number of losses of the device without a checkpoint in between.
const MOST_LOSSES: u32 = 3;

impl<'a> Trainer<'a> {
    fn begin(
        config: &'a RunConfig,
        Samples { train, test, shape, weights }: Samples<'a>,
        engine: &'a mut dyn Engine,
        keeper: &'a mut dyn Keeper,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let info = engine.info();
        let mark = match engine.ranks() {
            None => DataMark::new(&train, test),
            Some(ranks) => same_run(ranks, config, &train, test)?,
        };
        let kernels = engine.kernels().map(|name| format!(", {name} kernels")).unwrap_or_default();
        let device = format!("{} {}{kernels}", info.kind, info.name);
        let session = EpochSums::new(&config.network);
        let fresh = Progress::new(&config.network, mark.clone(), device.clone());
        let saved = Instant::now();
        let mut trainer = Trainer {
            config,
            train,
            test,
            shape,
            engine,
            keeper,
            progress: fresh,
            session,
            last: None,
            saved,
            losses: 0,
            exchanged: None,
            enough: false,
            warned: Vec::new(),
        };

        let mut notes = Vec::new();
        let kept = trainer.keeper.resume(config)?;
        let resumed = kept.is_some();
        let state = match kept {
            Some((progress, state)) => {
                trainer.restore(progress, &mark, &device, observer)?;
                state
            }
            None => match weights {
                Some(weights) => TrainingState::new(weights.clone()),
                None => trainer.initial(&mut notes)?,
            },
        };
        let state = trainer.same_start(state)?;
        trainer.engine.load(&state)?;
        if !config.augment.is_on() {
            trainer.engine.hold(Arc::clone(&trainer.train))?;
        }
        trainer.keeper.begin(config, trainer.progress.epoch)?;
        if !resumed {
            trainer.save_checkpoint(state)?;
        }
        notes.extend(trainer.engine.notes());
        notes.extend(trainer.progress.lr.map(|lr| format!("learning rate {lr}, as it was changed by hand")));
        let start = Start {
            device: info,
            epochs: config.epochs,
            epochs_done: trainer.progress.epoch,
            batches: trainer.batches(),
            batches_done: trainer.progress.batches,
            train_samples: trainer.train.len() as u64,
            test_samples: trainer.test.len() as u64,
            resumed,
            notes,
        };
        observer.on_start(&start);
        Ok(trainer)
    }

    /// Restores the layer methods of a resumed run, or chooses initial ones from the densities of the first batch. The
    /// number of active entries is not known yet and assumed to be that of spikes.
    fn begin_layer_methods(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if !self.progress.layer_methods.is_empty() {
            return self.engine.set_layer_methods(&self.progress.layer_methods);
        }
        let batch = self.train.head(self.config.batch);
        let mut spikes = self.engine.predict_together(&batch)?.spikes;
        let active = spikes.clone();
        // The other ranks have the events of their shards alone.
        spikes.insert(0, self.of_rank_0(batch.events().len() as u64)?);
        self.progress.layer_methods = vec![LayerMethod::Sparse; self.config.network.weight_layers()];
        let densities = auto::densities(&self.config.network, batch.len() as u64, &spikes, &active);
        self.choose_layer_methods(densities, true, observer)
    }

    /// Chooses layer methods by these densities, and reports them if they changed or if `tell`.
    fn choose_layer_methods(
        &mut self,
        densities: Vec<Option<f64>>,
        tell: bool,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let crossover = self.engine.crossover();
        let methods = auto::choose(&self.progress.layer_methods, &densities, crossover);
        if tell || methods != self.progress.layer_methods {
            self.engine.set_layer_methods(&methods)?;
            let mut notes = self.engine.notes();
            notes.dedup();
            observer.on_layer_methods(&LayerChoice { methods: methods.clone(), densities, crossover, notes });
            self.progress.layer_methods = methods;
        }
        Ok(())
    }

    /// The number that rank 0 has.
    fn of_rank_0(&mut self, own: u64) -> Result<u64> {
        let Some(ranks) = self.engine.ranks() else { return Ok(own) };
        Ok(ranks.broadcast(own.to_le_bytes().to_vec())?.try_into().map_or(own, u64::from_le_bytes))
    }

    /// Begins with the state of rank 0.
    fn same_start(&mut self, mut state: TrainingState) -> Result<TrainingState> {
        let crossover = self.engine.crossover();
        let Some(ranks) = self.engine.ranks() else { return Ok(state) };
        all_same(ranks, "step", "", state.step.to_string())?;
        if self.config.method == Method::Auto {
            let remedy = ", which the method auto depends on; give --method sparse";
            all_same(ranks, "kind of device", remedy, crossover.to_string())?;
        }
        let parts = [&mut state.weights, &mut state.first, &mut state.second];
        let layers = parts.into_iter().flat_map(|part| &mut part.layers);
        if ranks.rank() == 0 {
            let bytes: Vec<&[u8]> = layers.map(|layer| bytemuck::cast_slice(&layer.data)).collect();
            ranks.broadcast(bytes.concat())?;
        } else {
            let theirs = ranks.broadcast(Vec::new())?;
            let floats = layers.flat_map(|layer| &mut layer.data).zip(theirs.as_chunks().0);
            floats.for_each(|(own, theirs)| *own = f32::from_ne_bytes(*theirs));
        }
        Ok(state)
    }

    /// What all ranks do next: stop if one of them is to stop, and what rank 0 decides.
    fn agree(&mut self, own: Decision) -> Result<Decision> {
        let Some(ranks) = self.engine.ranks() else { return Ok(own) };
        let mut message = vec![u8::from(own.stop), u8::from(own.decided)];
        message.extend(own.lr.into_iter().flat_map(f64::to_le_bytes));
        let all = ranks.share(&message)?;
        let lr = all[0].get(2..).and_then(|bytes| bytes.try_into().ok()).map(f64::from_le_bytes);
        Ok(Decision { stop: all.iter().any(|message| message[0] != 0), decided: all[0][1] != 0, lr })
    }

    fn initial(&mut self, notes: &mut Vec<String>) -> Result<TrainingState> {
        if self.engine.ranks().is_some_and(|ranks| ranks.rank() > 0) && self.config.weights.is_some() {
            // Rank 0 reads them.
            return Ok(TrainingState::new(Weights::init(&self.config.network, self.config.seed)));
        }
        let (state, factors) = initial_state(self.engine, self.config, &self.train)?;
        if !factors.is_empty() {
            let factors: Vec<String> = factors.iter().map(|factor| format!("{factor:.3}")).collect();
            notes.push(format!("initial weights rescaled by {} for initial_spikes", factors.join(", ")));
        }
        Ok(state)
    }

    /// Restores the run's progress, after checking that it fits the data.
    fn restore(
        &mut self,
        mut progress: Progress,
        mark: &DataMark,
        device: &str,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let path = self.keeper.place();
        if progress.data != *mark {
            let counts = |mark: &DataMark| format!("{} + {}", mark.train_samples, mark.test_samples);
            let (theirs, ours) = (counts(&progress.data), counts(mark));
            let differ = match theirs == ours {
                true => format!("of {ours} samples, too, but other ones"),
                false => format!("of {theirs} samples, these are {ours}"),
            };
            return Err(Error::Data(format!(
                "{}: the run was started with other data ({differ}); give those of the run (data.path), or start another run in \
                 another folder",
                path.display()
            )));
        }
        let steps = progress.epoch.checked_mul(self.batches()).and_then(|n| n.checked_add(progress.batches));
        if progress.batches > self.batches() || steps != Some(progress.step) {
            return Err(Error::format(
                path,
                format!(
                    "step {} is not batch {} after {} epochs of {} batches; use another checkpoint",
                    progress.step,
                    progress.batches,
                    progress.epoch,
                    self.batches()
                ),
            ));
        }
        if progress.device != device {
            let text = format!(
                "the run was trained on {}; it continues on {device}, where rounding may differ",
                progress.device
            );
            observer.on_warning(&Warning { kind: WarningKind::OtherDevice, layer: None, text });
            progress.device = device.into();
        }
        self.progress = progress;
        Ok(())
    }

    /// Runs to the end, recovering from losses of the device.
    fn run(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        // Other ranks would not go back to the last checkpoint.
        let alone = self.engine.ranks().is_none_or(|ranks| ranks.size() == 1);
        loop {
            match self.run_on_device(stop, observer) {
                Err(Error::DeviceLost(why)) if alone => self.recover(why, observer)?,
                outcome => return outcome,
            }
        }
    }

    /// Reopens the device and returns to the last checkpoint. The steps since then are repeated, with the same results.
    fn recover(&mut self, mut why: String, observer: &mut dyn Observer) -> Result<()> {
        loop {
            self.losses += 1;
            let path = self.keeper.place();
            if self.losses > MOST_LOSSES {
                return Err(Error::DeviceLost(format!(
                    "{why}, {} times since {} was written, from which the run can be resumed; a smaller batch may help, \
                     since it makes steps shorter",
                    self.losses,
                    path.display()
                )));
            }
            // The driver may need some time after a reset.
            sleep(Duration::from_millis(250) * (self.losses - 1));
            match self.go_back() {
                Err(Error::DeviceLost(again)) => why = again,
                Err(error) => return Err(error),
                Ok(()) => {
                    let text =
                        format!("{why}; it was reopened and training continues from step {}", self.progress.step);
                    observer.on_warning(&Warning { kind: WarningKind::DeviceLost, layer: None, text });
                    return Ok(());
                }
            }
        }
    }

    fn go_back(&mut self) -> Result<()> {
        let (progress, state) = self.keeper.go_back(&self.config.network)?;
        self.engine.reopen(&state)?;
        // A learning rate that was set by hand stays so.
        self.progress = Progress { lr: self.progress.lr.or(progress.lr), ..progress };
        Ok(())
    }

    fn run_on_device(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        if self.config.method == Method::Auto {
            self.begin_layer_methods(observer)?;
        }
        while self.progress.epoch < self.config.epochs && !self.out_of_patience() {
            let finished = self.train_epoch(stop, observer)? && self.finish_epoch(stop, observer)?;
            if !finished {
                let state = self.engine.store()?;
                self.save_checkpoint(state)?;
                return Ok(Outcome::Interrupted(self.summary()));
            }
            if self.enough {
                break;
            }
        }
        match self.progress.epoch < self.config.epochs {
            true => Ok(Outcome::Stopped(self.summary())),
            false => Ok(Outcome::Finished(self.summary())),
        }
    }

    /// Whether the accuracy has not improved for as many epochs as the configuration allows.
    fn out_of_patience(&self) -> bool {
        let best = self.progress.best.map_or(0, |best| best.epoch);
        self.config.patience > 0 && self.progress.epoch - best.min(self.progress.epoch) >= self.config.patience
    }

    /// Trains the rest of the epoch; `false` if interrupted.
    fn train_epoch(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<bool> {
        let mut clock = Instant::now();
        self.exchanged = self.engine.ranks().map(|ranks| ranks.traffic());
        let order = order_in_shards(self.shards(), self.config.seed, self.progress.epoch + 1);
        let mut stopped = false;
        for samples in batches(&order, self.config.batch).skip(self.progress.batches as usize) {
            let stop = stop.load(Ordering::Relaxed) || self.intervene(&mut clock, observer)?;
            let every = self.config.checkpoint_seconds;
            let decided = every > 0.0 && self.saved.elapsed().as_secs_f64() >= every;
            let agreed = self.agree(Decision { stop, decided, lr: self.progress.lr })?;
            (stopped, self.progress.lr) = (agreed.stop, agreed.lr);
            if agreed.decided && !stopped {
                self.finish_steps(&mut clock, observer)?;
                let state = self.engine.store()?;
                check_numbers(&state, &self.config.network, self.lr())?;
                self.save_checkpoint(state)?;
            }
            if stopped {
                break;
            }
            let adam = self.adam();
            if self.config.augment.is_on() {
                let RunConfig { seed, augment, .. } = self.config;
                let (shards, epoch) = (self.shards(), self.progress.epoch + 1);
                let batch = augment.batch(&self.train, samples, self.shape, shards, *seed, epoch)?;
                self.engine.train(&batch, &adam)?;
            } else {
                self.engine.train_held(samples, &adam)?;
            }
            self.progress.batches += 1;
            self.progress.step += 1;
            self.collect(false, &clock, observer)?;
        }
        self.finish_steps(&mut clock, observer)?;

        let trained = (self.progress.batches * self.config.batch as u64).min(self.train.len() as u64);
        if self.progress.sums.samples != trained {
            let counted = self.progress.sums.samples;
            return Err(Error::Device(format!("the device reported {counted} of {trained} trained samples")));
        }
        Ok(!stopped)
    }

    /// Lets the observer look into the device and change the run; whether it stops it.
    fn intervene(&mut self, clock: &mut Instant, observer: &mut dyn Observer) -> Result<bool> {
        let Intervention { lr, stop, paused } = observer.between_steps(self.engine)?;
        self.progress.lr = lr.or(self.progress.lr);
        *clock += paused;
        Ok(stop)
    }

    /// Waits for the queued steps, and adds the time since `clock`.
    fn finish_steps(&mut self, clock: &mut Instant, observer: &mut dyn Observer) -> Result<()> {
        self.collect(true, clock, observer)?;
        let seconds = clock.elapsed().as_secs_f64();
        self.progress.sums.seconds += seconds;
        let before = self.exchanged;
        self.exchanged = self.engine.ranks().map(|ranks| ranks.traffic());
        if let Some((now, before)) = self.exchanged.zip(before) {
            self.progress.sums.exchange.add(now.since(before));
        }
        self.session.seconds += seconds;
        *clock = Instant::now();
        Ok(())
    }

    /// The learning rate before the factors of schedule and warm-up.
    fn lr(&self) -> f64 {
        self.progress.lr.unwrap_or(self.config.adam.lr)
    }

    /// The optimiser of the next step.
    fn adam(&self) -> Adam {
        let factor = self.config.schedule.factor(self.progress.step, self.config.epochs * self.batches());
        let rising = (self.progress.step + 1) as f64 / (self.config.warmup_epochs * self.batches() as f64);
        let warmth = if rising < 1.0 { rising } else { 1.0 };
        Adam { lr: self.lr() * factor * warmth, ..self.config.adam }
    }

    /// Adds the reports of finished steps; with `wait`, of all queued steps.
    fn collect(&mut self, wait: bool, clock: &Instant, observer: &mut dyn Observer) -> Result<()> {
        let reports = self.engine.reports(wait)?;
        for report in &reports {
            guard::check_step(report, &self.config.network, self.progress.epoch + 1, self.lr())?;
            self.progress.sums.add(report);
            self.session.add(report);
        }
        if !reports.is_empty() {
            observer.on_step(&StepProgress {
                epoch: self.progress.epoch + 1,
                epochs: self.config.epochs,
                batch: self.progress.batches,
                batches: self.batches(),
                sums: &self.progress.sums,
                session_samples: self.session.samples,
                session_spikes: self.session.spikes.iter().sum(),
                session_seconds: self.session.seconds + clock.elapsed().as_secs_f64(),
                lr: self.lr(),
            });
        }
        Ok(())
    }

    /// Tests, warns, rescues and saves; `false` if interrupted during the test, which a resumed run repeats.
    fn finish_epoch(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<bool> {
        let mut state = self.engine.store()?;
        check_numbers(&state, &self.config.network, self.lr())?;
        let clock = Instant::now();
        let alone = self.engine.ranks().is_none();
        let mut go_on = || {
            observer.on_test_batch();
            // Several ranks test to the end, as they have not agreed to stop.
            !alone || !stop.load(Ordering::Relaxed)
        };
        let test = evaluate_while(self.engine, self.test, self.config.batch, &mut go_on)?;
        if test.samples < self.test.len() as u64 {
            return Ok(false);
        }
        let test_seconds = clock.elapsed().as_secs_f64();
        observer.on_tested(&test.wrong);
        let warnings = guard::inspect(self.config, &self.progress.sums);
        for warning in &warnings {
            // Each rescue of a dead layer is a new start.
            if warning.kind == WarningKind::Dead || !self.warned.contains(&(warning.kind, warning.layer)) {
                observer.on_warning(warning);
            }
        }
        self.warned = warnings.iter().map(|warning| (warning.kind, warning.layer)).collect();
        let mut record = self.record(&test, test_seconds);
        let sums = std::mem::replace(&mut self.progress.sums, EpochSums::new(&self.config.network));
        self.progress.epoch += 1;
        self.progress.batches = 0;

        if self.progress.best.is_none_or(|best| record.test_accuracy > best.test_accuracy) {
            self.progress.best = Some(Best { epoch: record.epoch, test_accuracy: record.test_accuracy });
            let best = self.checkpoint(state)?;
            self.keeper.keep_best(&best)?;
            state = best.state;
        }
        record.rescued = self.rescue(&sums, &mut state)?;
        if self.config.method == Method::Auto {
            let densities = auto::densities(&self.config.network, sums.samples, &sums.spikes, &sums.active);
            self.choose_layer_methods(densities, false, observer)?;
        }
        // The metrics are written before the checkpoint: resuming drops a superfluous line, but cannot add a missing one.
        self.keeper.keep_epoch(&record)?;
        self.save_checkpoint(state)?;
        let decided = observer.on_epoch(&record).is_break();
        self.enough = self.agree(Decision { stop: false, decided, lr: None })?.decided;
        observer.after_epoch(&record, self.engine);
        self.last = Some(record);
        Ok(true)
    }

    /// Re-initialises the lowest dead layer by the rule of [`rescue`].
    fn rescue(&mut self, sums: &EpochSums, state: &mut TrainingState) -> Result<Option<Rescue>> {
        if !self.config.rescue || self.progress.epoch >= self.config.epochs {
            return Ok(None);
        }
        let Some(layer) = rescue::lowest_dead(sums) else { return Ok(None) };
        self.progress.rescues[layer] += 1;
        let draw = self.progress.rescues[layer];
        let spiked = sums.spikes[layer + 1] > 0;
        let rescue = rescue::redraw(&self.config.network, self.config.seed, layer, draw, spiked, state);
        self.engine.load(state)?;
        Ok(Some(rescue))
    }

    fn record(&self, test: &TestResult, test_seconds: f64) -> EpochRecord {
        let sums = &self.progress.sums;
        let loss_terms = sums.mean_loss();
        EpochRecord {
            epoch: self.progress.epoch + 1,
            loss: loss_terms.total(),
            loss_terms,
            train_accuracy: sums.accuracy(),
            test_accuracy: test.accuracy(),
            activity: sums.activity(&self.config.network),
            spike_density: sums.spike_density(&self.config.network),
            train_seconds: sums.seconds,
            exchange: self.exchanged.map(|_| sums.exchange),
            test_seconds,
            rescued: None,
            memory: MemoryRecord { host: resident_memory(), device: self.engine.device_memory() },
        }
    }

    fn save_checkpoint(&mut self, state: TrainingState) -> Result<()> {
        let checkpoint = self.checkpoint(state)?;
        self.keeper.keep(&checkpoint)?;
        (self.saved, self.losses) = (Instant::now(), 0);
        Ok(())
    }

    fn checkpoint(&self, state: TrainingState) -> Result<Checkpoint> {
        if state.step != self.progress.step {
            return Err(Error::Device(format!(
                "the device counted {} steps, but {} were trained",
                state.step, self.progress.step
            )));
        }
        Ok(Checkpoint { config: self.config.clone(), progress: self.progress.clone(), state })
    }

    fn summary(&self) -> Summary {
        Summary { progress: self.progress.clone(), last: self.last.clone() }
    }

    /// How batches are divided.
    fn shards(&self) -> Shards {
        Shards { samples: self.train.len(), batch: self.config.batch, shards: self.config.shards }
    }

    /// Batches per epoch.
    fn batches(&self) -> u64 {
        self.train.len().div_ceil(self.config.batch) as u64
    }
}

#[cfg(all(test, feature = "runs"))]
#[path = "run_tests.rs"]
mod tests;
