//! Runs one after another: the first, and those that the page asks for.

use spikegrad::data::{DataSet, load};
use spikegrad::device::Device;
use spikegrad::engine::{DeviceInfo, Engine};
use spikegrad::error::Result;
use spikegrad::gpu::{GpuOptions, adapters};
use spikegrad::live::{Level, Live, Settings, State, Watched};
use spikegrad::memory::{self, Densities};
use spikegrad::presets::ours;
use spikegrad::train::{InMemory, Outcome, RunConfig, Training};
use spikegrad::weights::Weights;
use std::sync::atomic::AtomicBool;

/// Epochs of a run: what the subset needs, and some more to look at.
const EPOCHS: u64 = 20;
/// Memory that a browser gives a program of 32-bit WebAssembly, with some room.
const MOST_MEMORY: u64 = 3 << 30;

/// A run, and what is kept of it.
struct Run {
    config: RunConfig,
    kept: InMemory,
}

/// Trains on the subset of Fashion-MNIST, and then as the page asks. Returns if the page is closed.
///
/// # Errors
/// The first run fails.
pub fn session(device: Device, live: &Live) -> Result<()> {
    let mut config = ours("fmnist")?;
    config.epochs = EPOCHS;
    config.device = device.to_string();
    let data = load("fmnist", None, &config.network)?;
    let mut run = Run { config, kept: InMemory::default() };
    let mut before: Option<Run> = None;
    loop {
        match (train(&mut run, &data, live), before.take()) {
            (Ok(Some(settings)), _) => match settings.apply(&run.config) {
                Ok(config) => before = Some(std::mem::replace(&mut run, Run { config, kept: InMemory::default() })),
                Err(error) => live.note(Level::Error, format!("{error}. The run before is continued.")),
            },
            (Ok(None), _) => return Ok(()),
            (Err(error), Some(earlier)) => {
                live.note(Level::Error, format!("{error}. The run before is continued."));
                run = earlier;
            }
            (Err(error), None) => return Err(error),
        }
    }
}

/// Trains to the end, and shows the best network as long as the page is open. Returns the settings of the run that is to follow.
fn train(run: &mut Run, data: &DataSet, live: &Live) -> Result<Option<Settings>> {
    let Opened { mut engine, device } = open(&mut run.config, data)?;
    let stop = AtomicBool::new(false);
    let done = run.kept.epochs.clone();
    let mut watched = Watched::new(live, &run.config, data, device, done, &stop);
    let training = Training::new(&run.config, data).keeper(&mut run.kept).observer(&mut watched);
    let outcome = training.run_on(engine.as_mut())?;
    if let Some(settings) = watched.take_restart() {
        return Ok(Some(settings));
    }
    if let (Outcome::Finished(_) | Outcome::Stopped(_), Some(best)) = (&outcome, &run.kept.best) {
        engine.load(&best.state)?;
    }
    live.state(State::Ended, "The run has ended; samples are shown by its best epoch.");
    let mut exhibit = watched.into_exhibit();
    exhibit.test(engine.as_mut())?;
    Ok(exhibit.linger(engine.as_mut(), &stop))
}

/// Why `auto` takes the cpu device.
fn why_not_the_gpu() -> &'static str {
    let found = adapters();
    match (found.is_empty(), found.iter().any(|adapter| adapter.usable)) {
        (true, _) => "no WebGPU here",
        (_, false) => "the limits of WebGPU here are too low",
        (_, true) => "WebGPU is software here and takes longer",
    }
}

/// An open device, and what is said of it.
struct Opened {
    engine: Box<dyn Engine>,
    device: DeviceInfo,
}

/// Opens the device of `config`; for `auto`, a GPU if there is one that can be used, else the cpu device, which then says why.
fn open(config: &mut RunConfig, data: &DataSet) -> Result<Opened> {
    config.check()?;
    let wanted: Device = config.device.parse()?;
    let resolved = wanted.resolve_for(&config.network, config.method);
    let mut why = (wanted == Device::Auto && resolved == Device::Cpu).then(|| why_not_the_gpu().to_string());
    let mut opened = open_on(resolved, config, data);
    if let (Err(error), Device::Auto) = (&opened, wanted)
        && resolved != Device::Cpu
    {
        why = Some(format!("the GPU cannot be used: {error}"));
        // For later runs, and a race, too.
        config.device = Device::Cpu.to_string();
        opened = open_on(Device::Cpu, config, data);
    }
    let engine = opened?;
    let mut device = engine.info();
    device.detail.extend(why.map(|why| format!("; {why}")));
    Ok(Opened { engine, device })
}

fn open_on(device: Device, config: &RunConfig, data: &DataSet) -> Result<Box<dyn Engine>> {
    let (network, method) = (&config.network, config.method);
    let densities = Densities::usual(data.train.density(), network.time_steps);
    let batch = config.batch.min(data.train.len());
    memory::estimate_with(network, method, batch, device, &densities, None)?.check(Some(MOST_MEMORY))?;
    let weights = Weights::init(network, config.seed);
    let options = GpuOptions { batch: Some(batch), ..GpuOptions::default() };
    let mut engine = device.open_with(network, method, &weights, options)?;
    // What a browser refuses, it tells with the first work.
    engine.predict(&data.test.head(1))?;
    Ok(engine)
}
