//! A run whose GPU device is destroyed repeatedly must give the same bits as an undisturbed run.

use super::testing::{config, events};
use super::*;
use crate::data::DataSet;
use crate::engine::*;
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::gpu::{GpuEngine, GpuOptions};
use crate::network::Network;
use crate::optimiser::Adam;
use crate::parallel::Parallel;
use crate::parallel::tests::Thread;
use crate::weights::Weights;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// When to destroy the device.
#[derive(Clone, Copy)]
enum Blow {
    /// After this many calls.
    Calls(usize),
    /// By another thread after this time.
    After(Duration),
}

/// A gpu device that is destroyed by the next blow each time it is opened.
struct Fragile {
    engine: GpuEngine,
    blows: VecDeque<Blow>,
    calls: usize,
    /// The learning rate of each step.
    rates: Vec<f64>,
    reopened: usize,
    destroyed: bool,
}

impl Fragile {
    fn new(network: &Network, method: Method, blows: &[Blow]) -> Self {
        let engine = GpuEngine::new(network, method, &Weights::zeros_of(network), GpuOptions::default()).unwrap();
        let blows = blows.iter().copied().collect();
        let mut fragile = Fragile { engine, blows, calls: 0, rates: Vec::new(), reopened: 0, destroyed: false };
        fragile.arm();
        fragile
    }

    fn arm(&mut self) {
        if let Some(Blow::After(time)) = self.blows.front().copied() {
            self.blows.pop_front();
            let device = self.engine.wgpu_device().clone();
            std::thread::spawn(move || {
                std::thread::sleep(time);
                device.destroy();
            });
        }
    }

    fn call(&mut self) -> &mut GpuEngine {
        self.calls += 1;
        match self.blows.front_mut().filter(|_| !self.destroyed) {
            Some(Blow::Calls(0)) => {
                self.blows.pop_front();
                self.destroyed = true;
                self.engine.wgpu_device().destroy();
            }
            Some(Blow::Calls(n)) => *n -= 1,
            _ => {}
        }
        &mut self.engine
    }
}

impl Engine for Fragile {
    fn info(&self) -> DeviceInfo {
        self.engine.info()
    }
    fn kernels(&self) -> Option<&'static str> {
        self.engine.kernels()
    }
    fn delta_bytes(&self) -> Option<u64> {
        self.engine.delta_bytes()
    }
    fn network(&self) -> &Network {
        self.engine.network()
    }
    fn method(&self) -> Method {
        self.engine.method()
    }
    fn crossover(&self) -> f64 {
        // Some layers dense, some not.
        0.03
    }
    fn reopen(&mut self, state: &TrainingState) -> Result<()> {
        self.engine.reopen(state)?;
        self.reopened += 1;
        self.destroyed = false;
        self.arm();
        Ok(())
    }
    fn load(&mut self, state: &TrainingState) -> Result<()> {
        self.call().load(state)
    }
    fn store(&mut self) -> Result<TrainingState> {
        self.call().store()
    }
    fn set_layer_methods(&mut self, methods: &[LayerMethod]) -> Result<()> {
        self.call().set_layer_methods(methods)
    }
    fn hold(&mut self, set: Arc<EventSet>) -> Result<()> {
        self.engine.hold(set)
    }
    fn train_held(&mut self, samples: &[u32], adam: &Adam) -> Result<()> {
        self.rates.push(adam.lr);
        self.call().train_held(samples, adam)
    }
    fn train(&mut self, batch: &EventSet, adam: &Adam) -> Result<()> {
        self.call().train(batch, adam)
    }
    fn reports(&mut self, wait: bool) -> Result<Vec<StepReport>> {
        self.call().reports(wait)
    }
    fn predict(&mut self, batch: &EventSet) -> Result<Prediction> {
        self.call().predict(batch)
    }
    fn forward(&mut self, batch: &EventSet) -> Result<Forward> {
        self.call().forward(batch)
    }
    fn backward(&mut self, pass: Forward, logit_gradient: &[f32]) -> Result<Weights> {
        self.call().backward(pass, logit_gradient)
    }
    fn gradient(&mut self, batch: &EventSet) -> Result<(Weights, StepReport)> {
        self.call().gradient(batch)
    }
    fn update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()> {
        self.call().update(gradient, adam)
    }
    fn inspect(&mut self, batch: &EventSet) -> Result<Inspection> {
        self.call().inspect(batch)
    }
    fn profile(&mut self, batch: &EventSet, adam: &Adam) -> Result<Profile> {
        self.call().profile(batch, adam)
    }
    fn state_bytes(&self) -> Vec<(String, u64)> {
        self.engine.state_bytes()
    }
}

struct Trained {
    state: TrainingState,
    epochs: Vec<u64>,
    calls: usize,
    rates: Vec<f64>,
    reopened: usize,
    seconds: f64,
}

fn run(config: &RunConfig, blows: &[Blow]) -> Result<Trained> {
    run_watched(config, blows, &mut ())
}

fn run_watched(config: &RunConfig, blows: &[Blow], observer: &mut dyn Observer) -> Result<Trained> {
    let data = DataSet::new(events(18, 0), events(7, 1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut engine = Fragile::new(&config.network, config.method, blows);
    let clock = std::time::Instant::now();
    let outcome = Training::new(config, &data).folder(&path).observer(observer).run_on(&mut engine);
    if !path.join(CHECKPOINT_FILE).exists() {
        return Err(Error::Data(format!("lost before the first checkpoint: {}", outcome.unwrap_err())));
    }
    outcome?;
    let seconds = clock.elapsed().as_secs_f64();
    let records = metrics::read(&path.join(METRICS_FILE)).unwrap();
    let state = Checkpoint::load(&path.join(CHECKPOINT_FILE), &config.network).unwrap().state;
    let epochs = records.iter().map(|record| record.epoch).collect();
    let Fragile { calls, rates, reopened, .. } = engine;
    Ok(Trained { state, epochs, calls, rates, reopened, seconds })
}

fn configs() -> [RunConfig; 3] {
    let mut augmented = RunConfig { checkpoint_seconds: 1e-9, ..config() };
    augmented.augment.drop = 0.3;
    [config(), augmented, RunConfig { method: Method::Auto, ..config() }]
}

/// Destroys the device before each call of a run; with a checkpoint after every step, also several times in a row.
#[test]
fn a_run_survives_the_loss_of_its_device_at_any_call() {
    for (config, every) in configs().into_iter().zip([1, 3, 3]) {
        let peace = run(&config, &[]).unwrap();
        assert!(peace.calls > 30, "{}", peace.calls);
        // The first call loads the initial weights, before the run exists.
        for at in (1..peace.calls).step_by(every) {
            let hit = run(&config, &[Blow::Calls(at)]).unwrap();
            assert_eq!((hit.reopened, &hit.epochs), (1, &peace.epochs), "lost before call {at}");
            assert!(hit.state == peace.state, "other bits after a loss before call {at}");
        }
        let often = run(&config, &[Blow::Calls(9), Blow::Calls(7), Blow::Calls(0)]).unwrap();
        assert_eq!((often.reopened, &often.epochs), (3, &peace.epochs));
        assert!(often.state == peace.state, "other bits after three losses");
        let seldom = run(&RunConfig { checkpoint_seconds: 0.0, ..config }, &[]).unwrap();
        assert!(seldom.state == peace.state, "checkpoints change the bits");
    }
}

/// Destroys the device from another thread at any time.
#[test]
fn a_run_survives_the_loss_of_its_device_at_any_time() {
    let config = RunConfig { epochs: 6, ..config() };
    let peace = run(&config, &[]).unwrap();
    let mut before = 0;
    for k in 0..30 {
        let hit = run(&config, &[Blow::After(Duration::from_secs_f64(peace.seconds * f64::from(k) / 30.0))]);
        match hit {
            // A loss before the first checkpoint ends the run.
            Err(Error::Data(why)) if why.contains("the GPU was lost") => before += 1,
            Err(error) => panic!("{error} at {k} thirtieths"),
            Ok(hit) => {
                assert_eq!(hit.epochs, peace.epochs);
                assert!(hit.state == peace.state, "other bits after a loss at {k} thirtieths");
            }
        }
    }
    assert!(before < 15, "{before} of 30 losses were too early to show anything");
}

#[test]
fn a_device_that_is_lost_too_often_ends_the_run() {
    let error = run(&config(), &[Blow::Calls(6), Blow::Calls(3), Blow::Calls(2), Blow::Calls(0)]).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, Error::DeviceLost(_)) && text.contains("checkpoint.safetensors"), "{text}");
}

/// The run goes back to a checkpoint that is older than the change.
#[test]
fn a_learning_rate_changed_by_hand_survives_the_loss() {
    struct Hand(usize);
    impl Observer for Hand {
        fn between_steps(&mut self, _: &mut dyn Engine) -> Result<Intervention> {
            self.0 += 1;
            Ok(Intervention { lr: (self.0 == 3).then_some(0.25), ..Intervention::default() })
        }
    }
    let config = config();
    let steps = run(&config, &[]).unwrap().rates.len();
    let hit = run_watched(&config, &[Blow::Calls(9)], &mut Hand(0)).unwrap();
    assert!(hit.reopened == 1 && hit.rates.len() > steps, "{} losses, {} steps", hit.reopened, hit.rates.len());
    let (before, after) = hit.rates.split_at(2);
    assert!(before == [config.adam.lr; 2] && after.iter().all(|&lr| lr == 0.25), "{:?}", hit.rates);
}

/// A rank that went back to its last checkpoint would send the others messages of other steps.
#[test]
fn a_rank_that_loses_its_device_ends_the_run() {
    let config = RunConfig { shards: 2, epochs: 1000, ..config() };
    let train = |ranks: Thread| {
        let blows: &[Blow] = if ranks.rank() == 1 { &[Blow::Calls(9)] } else { &[] };
        let device = Box::new(Fragile::new(&config.network, config.method, blows));
        let mut engine = Parallel::new(vec![device], 2, Some(Box::new(ranks)), None).unwrap();
        let data = DataSet::new(events(18, 0), events(7, 1));
        Training::new(&config, &data).run_on(&mut engine).unwrap_err().to_string()
    };
    let said: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = Thread::all(2).into_iter().map(|ranks| scope.spawn(|| train(ranks))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(said[0].contains("rank 1 of 2 has ended") && said[1].contains("the GPU was lost"), "{said:?}");
}
