use super::*;
use crate::device::Device;
use crate::parallel::tests::Thread;
use crate::train::folder::RunFolder;
use crate::train::testing::{FakeEngine, config, events};
use crate::train::{
    BEST_FILE, CHECKPOINT_FILE, CONFIG_FILE, LearningRate, METRICS_FILE, Training, deal_out, metrics, open_ranks,
    stored_config, take_share,
};
use crate::weights::Weights;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// 18 samples in batches of 4: 5 batches per epoch, the last of 2; the test set takes 2 batches.
fn data() -> DataSet {
    DataSet::new(events(18, 0), events(7, 1))
}

#[derive(Default)]
struct Log {
    starts: Vec<Start>,
    steps: Vec<(u64, u64, u64)>,
    records: Vec<EpochRecord>,
    warnings: Vec<Warning>,
    choices: Vec<LayerChoice>,
}

impl Observer for Log {
    fn on_start(&mut self, start: &Start) {
        self.starts.push(start.clone());
    }
    fn on_step(&mut self, step: &StepProgress) {
        self.steps.push((step.epoch, step.batch, step.sums.samples));
    }
    fn on_epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        self.records.push(record.clone());
        ControlFlow::Continue(())
    }
    fn on_layer_methods(&mut self, choice: &LayerChoice) {
        self.choices.push(choice.clone());
    }
    fn on_warning(&mut self, warning: &Warning) {
        self.warnings.push(warning.clone());
    }
}

struct TestRun {
    _temp: tempfile::TempDir,
    path: PathBuf,
    config: RunConfig,
    data: DataSet,
    log: Log,
}

impl TestRun {
    fn new(config: RunConfig) -> Self {
        let temp = tempfile::tempdir().unwrap();
        TestRun { path: temp.path().join("run"), _temp: temp, config, data: data(), log: Log::default() }
    }

    fn engine(&self) -> FakeEngine {
        FakeEngine::new(&self.config.network)
    }

    fn go(&mut self, engine: &mut FakeEngine, resume: bool) -> Result<Outcome> {
        let stop = engine.stop_after.as_ref().map(|(_, flag)| flag.clone()).unwrap_or_default();
        let training = Training::new(&self.config, &self.data).folder(&self.path);
        training.resume(resume).stop(&stop).observer(&mut self.log).run_on(engine)
    }

    fn checkpoint(&self, name: &str) -> Checkpoint {
        let mut checkpoint = Checkpoint::load(&self.path.join(name), &self.config.network).unwrap();
        checkpoint.progress.sums.seconds = 0.0;
        checkpoint
    }

    fn metrics(&self) -> Vec<EpochRecord> {
        let mut records = metrics::read(&self.path.join(METRICS_FILE)).unwrap();
        for record in &mut records {
            (record.train_seconds, record.test_seconds) = (0.0, 0.0);
            record.memory = Default::default();
        }
        records
    }

    fn error(&mut self, resume: bool, parts: &[&str]) -> Error {
        let mut engine = self.engine();
        let error = self.go(&mut engine, resume).unwrap_err();
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        error
    }
}

/// Enables all options that depend on the step, the epoch or the sample.
fn options() -> RunConfig {
    let mut config = RunConfig { warmup_epochs: 1.5, ..cosine() };
    config.augment.drop = 0.3;
    config.adam.weight_decay = 0.5;
    config
}

fn cosine() -> RunConfig {
    RunConfig { schedule: LearningRate::Cosine { final_fraction: 0.1 }, ..config() }
}

#[test]
fn every_sample_is_trained_and_tested_each_epoch() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    let outcome = run.go(&mut engine, false).unwrap();
    assert_eq!(engine.trained, [4, 4, 4, 4, 2].repeat(3));
    assert_eq!(engine.evaluations, 6);
    let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
    assert_eq!((summary.progress.step, summary.progress.epoch, summary.progress.batches), (15, 3, 0));
    assert_eq!(run.log.records.iter().map(|r| r.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    let record = &run.log.records[0];
    assert_eq!(record.train_accuracy, 9.0 / 18.0);
    assert_eq!(record.loss, record.loss_terms.total());
    assert_eq!(record.spike_density[1], 10.0 / (18.0 * 6.0 * 3.0));
    assert_eq!(stored_config(&run.path).unwrap(), run.config);
    assert_eq!(run.checkpoint(CHECKPOINT_FILE).state, engine.state);
    assert_eq!(run.log.steps.last(), Some(&(3, 5, 18)), "{:?}", run.log.steps);
    assert_eq!(run.log.steps[0], (1, 3, 4), "reports come later than their steps");
}

#[test]
fn each_epoch_has_all_samples_in_another_order() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    let mut epochs: Vec<Vec<_>> = engine.samples.chunks(18).map(<[_]>::to_vec).collect();
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2]);
    let mut all: Vec<_> = (0..18).map(|b| run.data.train.sample(b).to_vec()).collect();
    all.sort();
    for epoch in &mut epochs {
        epoch.sort();
        assert_eq!(*epoch, all);
    }
    assert!(run.log.records.iter().all(|r| r.train_seconds > 0.0 && r.test_seconds > 0.0));
}

#[test]
fn the_schedule_runs_over_all_steps() {
    let mut run = TestRun::new(cosine());
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    let expected: Vec<f64> = (0..15).map(|k| run.config.adam.lr * run.config.schedule.factor(k, 15)).collect();
    assert_eq!(engine.rates, expected);
}

#[test]
fn the_rate_rises_over_the_first_epochs() {
    let mut run = TestRun::new(RunConfig { warmup_epochs: 1.2, ..cosine() });
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    let scheduled = |k| run.config.adam.lr * run.config.schedule.factor(k, 15);
    for (k, rate) in engine.rates.iter().enumerate() {
        let warmth = ((k + 1) as f64 / 6.0).min(1.0);
        assert!((rate - warmth * scheduled(k as u64)).abs() < 1e-15, "step {k}");
    }
}

/// Each epoch trains every sample once, differently augmented, and tests on unchanged samples.
#[test]
fn augmented_samples_are_others_each_epoch() {
    let mut config = config();
    config.augment.drop = 0.5;
    let mut run = TestRun::new(config);
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    assert_eq!(engine.trained, [4, 4, 4, 4, 2].repeat(3));
    assert!(engine.held.is_none(), "the device need not hold the set");
    let spikes = |k: usize| -> usize { engine.samples[18 * k..][..18].iter().map(Vec::len).sum() };
    let all = run.data.train.events().len();
    assert!((0..3).all(|k| spikes(k) < all), "{} of {all}", spikes(0));
    assert!(engine.samples[..18] != engine.samples[18..36]);
    let mut again = run.engine();
    TestRun::new(run.config.clone()).go(&mut again, false).unwrap();
    assert_eq!(again.samples, engine.samples);
}

#[test]
fn best_is_the_first_epoch_with_the_best_test_accuracy() {
    let mut run = TestRun::new(RunConfig { epochs: 8, ..config() });
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    let accuracies: Vec<f64> = run.metrics().iter().map(|r| r.test_accuracy).collect();
    let best = accuracies.iter().cloned().fold(0.0, f64::max);
    let epoch = 1 + accuracies.iter().position(|&a| a == best).unwrap() as u64;
    let checkpoint = run.checkpoint(BEST_FILE);
    assert_eq!(checkpoint.progress.best, Some(Best { epoch, test_accuracy: best }));
    assert_eq!(checkpoint.progress.epoch, epoch);
    assert_eq!(run.checkpoint(CHECKPOINT_FILE).progress.best, checkpoint.progress.best);
}

#[test]
fn a_run_interrupted_anywhere_continues_as_if_never_stopped() {
    interrupt_anywhere(cosine());
    interrupt_anywhere(options());
}

fn interrupt_anywhere(config: RunConfig) {
    let mut whole = TestRun::new(config.clone());
    let mut engine = whole.engine();
    whole.go(&mut engine, false).unwrap();
    let calls = engine.trained.len() + engine.evaluations;
    assert_eq!(calls, 21);
    // Stopped after every `every` calls.
    for every in 1..=calls {
        let mut run = TestRun::new(config.clone());
        let mut resume = false;
        let mut sessions = 0;
        loop {
            let mut engine = run.engine();
            engine.stop_after = Some((every, Arc::default()));
            sessions += 1;
            assert!(sessions < 30, "no progress when stopped every {every} calls");
            match run.go(&mut engine, resume).unwrap() {
                Outcome::Finished(_) => break,
                Outcome::Interrupted(_) => resume = true,
                Outcome::Stopped(_) => panic!("nobody stopped it"),
            }
            if every == 1 && sessions == 5 {
                // The test set takes two calls, so a run stopped after each call would never finish it.
                break;
            }
        }
        if every == 1 {
            let mut engine = run.engine();
            run.go(&mut engine, true).unwrap();
        }
        assert_eq!(run.checkpoint(CHECKPOINT_FILE), whole.checkpoint(CHECKPOINT_FILE), "stopped every {every} calls");
        assert_eq!(run.checkpoint(BEST_FILE), whole.checkpoint(BEST_FILE), "stopped every {every} calls");
        assert_eq!(run.metrics(), whole.metrics(), "stopped every {every} calls");
    }
}

#[test]
fn a_run_killed_after_its_metrics_continues_from_the_checkpoint_before() {
    let mut whole = TestRun::new(config());
    let mut engine = whole.engine();
    whole.go(&mut engine, false).unwrap();

    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    engine.stop_after = Some((7, Arc::default()));
    run.go(&mut engine, false).unwrap();
    let old = std::fs::read(run.path.join(CHECKPOINT_FILE)).unwrap();
    let mut engine = run.engine();
    run.go(&mut engine, true).unwrap();
    std::fs::write(run.path.join(CHECKPOINT_FILE), old).unwrap();
    let mut half = std::fs::read(run.path.join(METRICS_FILE)).unwrap();
    half.extend(b"{\"epoch\"");
    std::fs::write(run.path.join(METRICS_FILE), half).unwrap();
    let mut engine = run.engine();
    run.go(&mut engine, true).unwrap();
    assert_eq!(run.checkpoint(CHECKPOINT_FILE), whole.checkpoint(CHECKPOINT_FILE));
    assert_eq!(run.metrics(), whole.metrics());

    // Without its checkpoint, a run of several epochs is not begun again, which would replace its best weights.
    std::fs::remove_file(run.path.join(CHECKPOINT_FILE)).unwrap();
    let mut engine = run.engine();
    let error = run.go(&mut engine, true).unwrap_err().to_string();
    assert!(error.contains("checkpoint.safetensors is missing") && error.contains("3 epochs"), "{error}");
    // Killed before the first checkpoint: begins again.
    let metrics = std::fs::read_to_string(run.path.join(METRICS_FILE)).unwrap();
    std::fs::write(run.path.join(METRICS_FILE), format!("{}\n", metrics.lines().next().unwrap())).unwrap();
    run.go(&mut run.engine(), true).unwrap();
    assert_eq!(run.metrics(), whole.metrics());
}

#[test]
fn more_epochs_may_be_asked_for_and_nothing_else() {
    let mut whole = TestRun::new(config());
    let mut engine = whole.engine();
    whole.go(&mut engine, false).unwrap();

    let mut run = TestRun::new(RunConfig { epochs: 2, ..config() });
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    let before = run.checkpoint(CHECKPOINT_FILE);
    run.config.epochs = 1;
    run.error(true, &["epochs: 2, 1", "another folder"]);
    run.config = RunConfig { batch: 3, seed: 5, ..config() };
    run.config.adam.lr = 0.5;
    let error = run.error(true, &["batch: 4, 3", "seed: 11, 5", "adam.lr: 0.0002, 0.5", "another folder"]);
    assert!(matches!(error, Error::Config(_)) && !error.to_string().contains("epochs"), "{error}");
    run.config = RunConfig { epochs: 2, ..config() };
    assert_eq!(run.checkpoint(CHECKPOINT_FILE), before);

    run.config.epochs = 3;
    let mut engine = run.engine();
    run.go(&mut engine, true).unwrap();
    assert_eq!(run.metrics(), whole.metrics());
    assert_eq!(stored_config(&run.path).unwrap().epochs, 3);

    let mut falling = TestRun::new(cosine());
    let mut engine = falling.engine();
    falling.go(&mut engine, false).unwrap();
    falling.config.epochs = 4;
    falling.error(true, &["epoch 4", "falls to its end at epoch 3", "weights ="]);
}

#[test]
fn a_configuration_edited_in_the_folder_is_noticed() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    run.config.adam.lr = 0.25;
    std::fs::write(run.path.join(CONFIG_FILE), run.config.to_toml().unwrap()).unwrap();
    run.error(true, &["adam.lr: 0.0002, 0.25"]);
}

#[test]
fn other_data_and_other_devices_are_noticed() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    engine.stop_after = Some((3, Arc::default()));
    run.go(&mut engine, false).unwrap();
    let data = std::mem::replace(&mut run.data, DataSet { train: Arc::new(events(18, 9)), ..data() });
    assert!(matches!(run.error(true, &["other data", "data.path"]), Error::Data(_)));
    run.data = data;
    let mut engine = run.engine();
    engine.name = "another".into();
    run.go(&mut engine, true).unwrap();
    assert_eq!(run.log.warnings.len(), 1);
    assert_eq!(run.log.warnings[0].kind, WarningKind::OtherDevice);
    assert!(run.log.warnings[0].text.contains("another"));
    assert!(run.log.starts[1].resumed && run.log.starts[1].batches_done == 3);
}

#[test]
fn limit_cuts_the_training_set_only() {
    let mut run = TestRun::new(RunConfig { limit: Some(6), epochs: 1, ..config() });
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    assert_eq!(engine.trained, [4, 2]);
    assert_eq!((run.log.starts[0].train_samples, run.log.starts[0].test_samples), (6, 7));
}

#[test]
fn a_run_is_neither_overwritten_nor_written_twice() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    run.error(true, &["nothing to resume"]);
    run.go(&mut engine, false).unwrap();
    run.error(false, &["already contains a run", "resume it"]);
    let _held = RunFolder::open(&run.path, true).unwrap();
    run.error(true, &["another run"]);
}

#[test]
fn what_cannot_be_trained_is_refused_before_a_folder_is_made() {
    let mut run = TestRun::new(RunConfig { batch: 0, ..config() });
    run.error(false, &["batch = 0"]);
    run.config = config();
    run.data.test = events(0, 0);
    run.error(false, &["test set has no samples"]);
    run.data = data();
    run.config.network.time_steps += 1;
    run.error(false, &["time steps"]);
    let mut engine = FakeEngine::new(&config().network);
    assert!(run.go(&mut engine, false).unwrap_err().to_string().contains("another network"));
    assert!(!run.path.exists());
}

#[test]
fn a_loss_or_weight_that_is_no_number_stops_and_keeps_the_last_good_checkpoint() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    engine.nan_loss_at = Some(8);
    let error = run.go(&mut engine, false).unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)), "{error:?}");
    assert!(error.to_string().contains("step 8 (epoch 2)") && error.to_string().contains("adam.lr"), "{error}");
    assert_eq!(run.checkpoint(CHECKPOINT_FILE).progress.step, 5);
    assert_eq!(run.metrics().len(), 1);

    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    engine.nan_weight_at = Some(9);
    let error = run.go(&mut engine, false).unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)) && error.to_string().contains("w.1"), "{error:?}");
    assert_eq!(run.checkpoint(CHECKPOINT_FILE).progress.step, 5);
    assert_eq!(run.metrics().len(), 1, "no line for an epoch that could not be saved");
}

#[test]
fn a_dead_layer_is_rescued_until_it_wakes() {
    let config = RunConfig { epochs: 6, ..config() };
    let initial: f32 = Weights::init(&config.network, config.seed).layers[1].data.iter().map(|w| w.abs()).sum();
    let dead = Some((1, 3.0 * initial));
    let mut run = TestRun::new(config.clone());
    let mut engine = run.engine();
    engine.dead = dead;
    run.go(&mut engine, false).unwrap();
    let rescued: Vec<Option<Rescue>> = run.metrics().iter().map(|r| r.rescued).collect();
    let draws = rescued.iter().flatten().count();
    assert!((1..5).contains(&draws), "{rescued:?}");
    for (k, rescue) in rescued.iter().enumerate() {
        let draw = k as u64 + 1;
        let expected = Rescue { layer: 1, draw, factor: 1.5f64.powi(draw as i32) };
        assert_eq!(*rescue, (k < draws).then_some(expected));
    }
    assert_eq!(run.checkpoint(CHECKPOINT_FILE).progress.rescues, [0, draws as u64]);
    assert_eq!(run.log.warnings.len(), draws);

    // An interrupted run rescues the same layers.
    let mut other = TestRun::new(config);
    for (resume, stop_after) in [(false, 6), (true, 9), (true, 1000)] {
        let mut engine = other.engine();
        engine.dead = dead;
        engine.stop_after = Some((stop_after, Arc::default()));
        other.go(&mut engine, resume).unwrap();
    }
    assert_eq!(other.checkpoint(CHECKPOINT_FILE), run.checkpoint(CHECKPOINT_FILE));
    assert_eq!(other.metrics(), run.metrics());
}

#[test]
fn nothing_is_rescued_after_the_last_epoch_or_against_the_users_will() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    engine.dead = Some((0, f32::INFINITY));
    run.go(&mut engine, false).unwrap();
    assert_eq!(run.metrics().iter().map(|r| r.rescued.is_some()).collect::<Vec<_>>(), [true, true, false]);

    let mut run = TestRun::new(RunConfig { rescue: false, ..config() });
    let mut engine = run.engine();
    engine.dead = Some((0, f32::INFINITY));
    run.go(&mut engine, false).unwrap();
    assert!(run.metrics().iter().all(|r| r.rescued.is_none()));
    assert_eq!(run.log.warnings.iter().filter(|w| w.kind == WarningKind::Dead).count(), 3);
}

/// With `auto`, methods are chosen by the first batch and after each epoch, and only reported if they change.
#[test]
fn auto_chooses_for_each_layer_and_keeps_to_it() {
    use LayerMethod::{Dense, Sparse};
    let mut config = config();
    config.method = Method::Auto;
    let mut run = TestRun::new(config);
    let mut engine = run.engine();
    // In the fake device, 1/24 of the first hidden layer's entries spike during evaluation, and at most 5 of 48 to 96
    // during training; the input's density is higher.
    engine.crossover = 0.08;
    run.go(&mut engine, false).unwrap();
    let densities = &run.log.choices[0].densities;
    let [first, second, third] = densities[..] else { panic!("{densities:?}") };
    assert!(first > Some(0.1) && second < Some(0.06) && third < Some(0.06) && third.is_some(), "{densities:?}");
    assert_eq!(run.log.choices.len(), 1, "{:?}", run.log.choices);
    assert_eq!(engine.layer_methods, [Dense, Sparse, Sparse]);
    assert_eq!(run.checkpoint(CHECKPOINT_FILE).progress.layer_methods, [Dense, Sparse, Sparse]);
}

/// A resumed run continues with its previous methods, so the results are the same bits.
#[test]
fn auto_resumes_with_its_methods() {
    let mut config = config();
    config.method = Method::Auto;
    let mut run = TestRun::new(config);
    let mut engine = run.engine();
    engine.crossover = 0.08;
    engine.stop_after = Some((4, Arc::new(AtomicBool::new(false))));
    assert!(matches!(run.go(&mut engine, false).unwrap(), Outcome::Interrupted(_)));
    let methods = engine.layer_methods.clone();
    let mut resumed = run.engine();
    resumed.crossover = 1e9;
    run.go(&mut resumed, true).unwrap();
    assert_eq!(run.log.choices[0].methods, methods);
    // After an epoch, methods are chosen with the new device's crossover.
    assert_eq!(run.log.choices.len(), 2);
    assert_eq!(resumed.layer_methods, [LayerMethod::Sparse; 3]);
}

#[test]
fn other_methods_choose_nothing() {
    let mut run = TestRun::new(config());
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    assert!(run.log.choices.is_empty() && engine.layer_methods.is_empty());
    assert!(run.checkpoint(CHECKPOINT_FILE).progress.layer_methods.is_empty());
}

#[test]
fn epochs_are_measured_on_what_was_held_out() {
    let mut run = TestRun::new(RunConfig { epochs: 1, ..config() });
    run.data.validation = Some(events(3, 2));
    let mut engine = run.engine();
    run.go(&mut engine, false).unwrap();
    assert_eq!(run.log.starts[0].test_samples, 3);
    // The test set is invalid, but not used.
    run.data.test = events(0, 0);
    run.path = run.path.with_file_name("again");
    run.go(&mut engine, false).unwrap();
    run.data.validation = Some(events(0, 0));
    run.path = run.path.with_file_name("none");
    assert!(run.go(&mut engine, false).is_err());
}

/// Intervenes before one step.
struct Hand {
    steps_left: usize,
    intervention: Intervention,
    log: Log,
}

impl Observer for Hand {
    fn between_steps(&mut self, engine: &mut dyn Engine) -> Result<Intervention> {
        assert_eq!(engine.network().inputs, 5);
        let now = self.steps_left == 0;
        self.steps_left = self.steps_left.wrapping_sub(1);
        Ok(if now { self.intervention } else { Intervention::default() })
    }
    fn on_start(&mut self, start: &Start) {
        self.log.on_start(start);
    }
}

#[test]
fn a_learning_rate_changed_by_hand_stays_and_a_stopped_run_goes_on_with_it() {
    let run = TestRun::new(config());
    let given = run.config.adam.lr;
    let session = |steps_left, intervention, resume| {
        let mut hand = Hand { steps_left, intervention, log: Log::default() };
        let mut engine = run.engine();
        let training = Training::new(&run.config, &run.data).folder(&run.path).resume(resume);
        let outcome = training.observer(&mut hand).run_on(&mut engine).unwrap();
        (outcome, engine.rates, hand.log.starts.remove(0).notes)
    };
    let (outcome, rates, notes) = session(3, Intervention { lr: Some(0.25), ..Intervention::default() }, false);
    assert!(matches!(outcome, Outcome::Finished(_)) && notes.is_empty());
    assert_eq!((&rates[..3], &rates[3..]), (&[given; 3][..], &[0.25; 12][..]));

    std::fs::remove_dir_all(&run.path).unwrap();
    let (outcome, rates, _) = session(3, Intervention { lr: Some(0.25), stop: true, ..Intervention::default() }, false);
    assert!(matches!(outcome, Outcome::Interrupted(_)));
    assert_eq!(rates, [given; 3]);
    let (outcome, rates, notes) = session(usize::MAX, Intervention::default(), true);
    assert!(matches!(outcome, Outcome::Finished(_)));
    assert_eq!(rates, [0.25; 12]);
    assert!(notes.iter().any(|note| note.contains("0.25")), "{notes:?}");
}

#[test]
fn both_of_two_observers_are_asked() {
    let run = TestRun::new(config());
    let hand = |intervention| Hand { steps_left: 0, intervention, log: Log::default() };
    let paused = std::time::Duration::from_secs(1);
    let mut both = (
        Some(hand(Intervention { lr: Some(0.5), paused, ..Intervention::default() })),
        hand(Intervention { stop: true, paused, ..Intervention::default() }),
    );
    let asked = both.between_steps(&mut run.engine()).unwrap();
    assert_eq!(asked, Intervention { lr: Some(0.5), stop: true, paused: 2 * paused });
    both.1.steps_left = 0;
    let outcome = Training::new(&run.config, &run.data).observer(&mut both).run_on(&mut run.engine()).unwrap();
    assert!(matches!(outcome, Outcome::Interrupted(_)) && outcome.summary().progress.step == 0);
}

#[test]
fn a_pause_is_no_time_of_training() {
    let mut run = TestRun::new(config());
    let pause = std::time::Duration::from_millis(300);
    struct Pause(std::time::Duration);
    impl Observer for Pause {
        fn between_steps(&mut self, _: &mut dyn Engine) -> Result<Intervention> {
            let paused = std::mem::take(&mut self.0);
            sleep(paused);
            Ok(Intervention { paused, ..Intervention::default() })
        }
    }
    run.config.epochs = 1;
    Training::new(&run.config, &run.data)
        .folder(&run.path)
        .observer(&mut Pause(pause))
        .run_on(&mut run.engine())
        .unwrap();
    let seconds = metrics::read(&run.path.join(METRICS_FILE)).unwrap()[0].train_seconds;
    assert!(seconds < pause.as_secs_f64(), "{seconds}");
}

/// Trains as two ranks, each with a configuration and data of its own; returns how each of them ended, and the methods of layers that
/// were chosen.
fn two_ranks(runs: [(RunConfig, DataSet); 2]) -> Vec<Result<(crate::engine::TrainingState, Vec<LayerChoice>)>> {
    let train = |ranks: Thread, (config, data): (RunConfig, DataSet)| {
        let mut engine = open_ranks(&config, vec![Device::Cpu], config.batch, false, Some(Box::new(ranks)))?;
        let mut log = Log::default();
        Training::new(&config, &data).observer(&mut log).run_on(engine.as_mut())?;
        Ok((engine.store()?, log.choices))
    };
    std::thread::scope(|scope| {
        let ranks = Thread::all(2).into_iter().zip(runs);
        let threads: Vec<_> = ranks.map(|(ranks, run)| scope.spawn(move || train(ranks, run))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn ranks_with_the_samples_of_their_shards_train_as_one_with_all() {
    let mut config = RunConfig { shards: 2, initial_spikes: 0.5, method: Method::Auto, ..options() };
    config.augment.blend = 0.5;
    let share = take_share(&deal_out(&config, &data(), 2).unwrap()[1]).unwrap();
    assert!(share.train.events().len() < data().train.events().len());
    let mut engine = open_ranks(&config, vec![Device::Cpu], config.batch, false, None).unwrap();
    let mut log = Log::default();
    Training::new(&config, &data()).observer(&mut log).run_on(engine.as_mut()).unwrap();
    for end in two_ranks([(config.clone(), data()), (config, share)]) {
        let (state, choices) = end.unwrap();
        assert_eq!(state, engine.store().unwrap());
        assert!(!choices.is_empty() && choices == log.choices, "{choices:?} {:?}", log.choices);
    }
}

#[test]
fn ranks_of_another_run_are_refused() {
    let refused = |other: (RunConfig, DataSet), what: &str| {
        let config = RunConfig { shards: 2, ..config() };
        for end in two_ranks([(config, data()), other]) {
            let text = end.unwrap_err().to_string();
            assert!(text.contains(&format!("rank 1 of 2 has another {what} than rank 0")), "{text}");
        }
    };
    refused((RunConfig { shards: 2, seed: 12, ..config() }, data()), "configuration");
    refused((RunConfig { shards: 2, ..config() }, DataSet::new(events(18, 2), events(7, 1))), "data set");
}
