//! `mpirun -n N spikegrad train`: rank 0 reads the arguments and writes the run, the others follow.

#[cfg(feature = "mpi")]
pub use world::*;

#[cfg(not(feature = "mpi"))]
pub use alone::*;

use super::show::warn;
use super::signals::stop_on_signal;
use super::target::Target;
use anyhow::{Context, Result};
use spikegrad::data::DataSet;
use spikegrad::device::Device;
use spikegrad::engine::{Ranks, TrainingState};
use spikegrad::gpu::DeltaScratch;
use spikegrad::gpu::adapter::like_best;
use spikegrad::network::Network;
use spikegrad::parallel::shares::{DEFAULT_SHARDS, of_ranks};
use spikegrad::train::{
    CHECKPOINT_FILE, Checkpoint, EpochRecord, InMemory, Keeper, Outcome, Progress, RunConfig, Training, deal_out,
    open_ranks, take_share,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// Environment variables in which mpirun and srun say how many ranks there are: Open MPI, MPICH, Slurm.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// The number of ranks that this process was started as one of; `None` if it was started alone.
fn launched() -> Option<usize> {
    let size = |name: &str| std::env::var(name).ok()?.parse().ok();
    SIZES.iter().find_map(|name| size(name))
}

/// Whether the result must be that of any number of ranks, of which there may be one.
fn are_launched() -> bool {
    cfg!(feature = "mpi") && launched().is_some()
}

/// The devices of this process: of several ranks on a machine, each takes one.
pub fn own_devices(config: &RunConfig) -> spikegrad::Result<Vec<Device>> {
    let devices = config.devices()?;
    let Some((rank, ranks)) = place_on_host() else { return Ok(devices) };
    if devices.len() > 1 {
        if rank == 0 && devices.len() > ranks {
            warn(format_args!(
                "device {}: {} devices for {ranks} {} on this machine, so the last ones are not used",
                config.device,
                devices.len(),
                if ranks == 1 { "rank" } else { "ranks" }
            ));
        }
        return Ok(vec![devices[rank % devices.len()]]);
    }
    // What one process takes decides whether each rank takes a GPU.
    let one = devices[0].resolve_for(&config.network, config.method);
    if ranks > 1 && matches!((devices[0], one), (Device::Auto | Device::Gpu(None), Device::Gpu(_))) {
        let gpus = like_best(&spikegrad::gpu::adapters());
        if !gpus.is_empty() {
            return Ok(vec![Device::Gpu(Some(gpus[rank % gpus.len()]))]);
        }
    }
    Ok(devices)
}

/// Decides the shards of a run of several devices or ranks; `before` are those of a run that is continued.
///
/// # Errors
/// Fewer shards than ranks; a run without shards that is to be continued by several devices; a method that does without shards.
pub fn settle_shards(target: &mut Target, before: usize) -> Result<()> {
    let devices = target.config.devices()?.len();
    let ranks = connect().map_or(1, |ranks| ranks.size());
    if target.resume && before == 0 {
        anyhow::ensure!(
            devices == 1 && ranks == 1,
            "{}: a run without shards can be continued by one process with one device only; start another run with --shards \
             {DEFAULT_SHARDS}",
            target.folder.display()
        );
    } else if !target.resume && target.config.shards == 0 && (devices > 1 || are_launched()) {
        target.config.shards = DEFAULT_SHARDS;
    }
    if ranks > 1 && target.config.shards > 0 {
        of_ranks(target.config.shards, ranks)?;
    }
    Ok(target.config.check()?)
}

/// What the other ranks are told: the configuration, and after a 0 the checkpoint of a run that is continued.
fn orders(config: &RunConfig, target: &Target) -> Result<Vec<u8>> {
    let mut orders = config.to_toml()?.into_bytes();
    orders.push(0);
    let file = target.folder.join(CHECKPOINT_FILE);
    // Without a checkpoint, rank 0 says what is wrong with the run; and with a damaged one, before the others find out.
    if target.resume && file.exists() {
        Checkpoint::load(&file, &config.network)?;
        orders.extend(std::fs::read(&file).with_context(|| file.display().to_string())?);
    }
    Ok(orders)
}

/// Sends the other ranks, if there are some, the configuration and their samples. The configuration has what rank 0 decided for its
/// device: what each rank would measure for itself can depend on its host, and sums of dense layers depend on the δ scratch.
pub fn lead(config: &RunConfig, target: &Target, data: &DataSet) -> Result<()> {
    let Some(mut ranks) = connect() else { return Ok(()) };
    ranks.broadcast(orders(config, target)?)?;
    let shares = deal_out(config, data, ranks.size())?;
    ranks.exchange(&shares.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    Ok(())
}

/// Keeps nothing, since rank 0 writes the run, but has the checkpoint from which it is continued.
#[derive(Default)]
struct Follower(InMemory);

impl Keeper for Follower {
    fn place(&self) -> PathBuf {
        self.0.place()
    }

    fn resume(&mut self, config: &RunConfig) -> spikegrad::Result<Option<(Progress, TrainingState)>> {
        let before = self.0.resume(config);
        self.0.last = None;
        before
    }

    fn begin(&mut self, _: &RunConfig, _: u64) -> spikegrad::Result<()> {
        Ok(())
    }

    fn keep(&mut self, _: &Checkpoint) -> spikegrad::Result<()> {
        Ok(())
    }

    fn keep_best(&mut self, _: &Checkpoint) -> spikegrad::Result<()> {
        Ok(())
    }

    fn keep_epoch(&mut self, _: &EpochRecord) -> spikegrad::Result<()> {
        Ok(())
    }

    fn go_back(&mut self, network: &Network) -> spikegrad::Result<(Progress, TrainingState)> {
        self.0.go_back(network)
    }
}

/// Trains with rank 0, which reads the data and writes the run.
pub fn follow(tuning: bool) -> Result<ExitCode> {
    let mut ranks = connect().context("rank 0 is missing: started without MPI")?;
    let orders = ranks.broadcast(Vec::new())?;
    let (text, checkpoint) = orders.split_at(orders.iter().position(|&byte| byte == 0).unwrap_or(orders.len()));
    let mut config = RunConfig::from_toml(std::str::from_utf8(text)?)?;
    let data = take_share(&ranks.exchange(&vec![&[][..]; ranks.size()])?[0])?;
    let stop = stop_on_signal(None)?;
    let mut kept = Follower::default();
    if let Some(bytes) = checkpoint.get(1..).filter(|bytes| !bytes.is_empty()) {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), bytes)?;
        kept.0.last = Some(Checkpoint::load(file.path(), &config.network)?);
    }
    let batch = config.batch.min(data.train.len());
    let devices = own_devices(&config)?;
    let opened = open_ranks(&config, devices, batch, tuning, Some(ranks));
    begin(opened.as_ref().err())?;
    let mut engine = opened?;
    config.kernels = engine.kernels().map(str::parse).transpose()?;
    config.delta_mib = engine.delta_bytes().map(DeltaScratch::of_bytes);
    let outcome = Training::new(&config, &data).keeper(&mut kept).stop(&stop).run_on(engine.as_mut())?;
    Ok(match outcome {
        Outcome::Interrupted(_) => ExitCode::FAILURE,
        Outcome::Finished(_) | Outcome::Stopped(_) => ExitCode::SUCCESS,
    })
}

/// What a process is for a run.
#[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "without MPI a process is alone"))]
pub enum Role {
    /// The only one.
    Alone,
    /// Rank 0.
    First,
    /// One of the others.
    Follower,
}

#[cfg(not(feature = "mpi"))]
mod alone {
    use super::*;
    use crate::cli::Usage;
    use anyhow::bail;

    pub fn start(_patience: u64) -> Result<Role> {
        match super::launched() {
            None | Some(1) => Ok(Role::Alone),
            Some(ranks) => bail!(Usage(format!(
                "started as one of {ranks} ranks, but built without MPI: build with cargo build --release --features mpi"
            ))),
        }
    }

    pub fn connect() -> Option<Box<dyn Ranks>> {
        None
    }

    pub(super) fn place_on_host() -> Option<(usize, usize)> {
        None
    }

    pub fn begin(_trouble: Option<&spikegrad::Error>) -> Result<()> {
        Ok(())
    }

    pub fn finish() {}

    pub fn fail(error: anyhow::Error) -> anyhow::Error {
        error
    }
}

#[cfg(feature = "mpi")]
mod world {
    use super::*;
    use crate::cli::Usage;
    use crate::cli::show::{BAD, causes, complain};
    use anyhow::bail;
    use spikegrad::Error;
    use spikegrad::engine::Traffic;
    use spikegrad::parallel::mpi::{World, abort};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    static WORLD: Mutex<Option<World>> = Mutex::new(None);
    /// How long a rank other than 0 lets rank 0 tell an error that all of them have.
    const TURN: Duration = Duration::from_secs(3);

    fn world() -> MutexGuard<'static, Option<World>> {
        WORLD.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts MPI if there are several ranks, and divides the cores of a machine among its ranks.
    pub fn start(patience: u64) -> Result<Role> {
        let Some(expected) = super::launched().filter(|&ranks| ranks > 1) else { return Ok(Role::Alone) };
        let Some(mut started) = World::start(Duration::from_secs(patience), |text| complain(text))? else {
            return Ok(Role::Alone);
        };
        let prepared = prepare(&mut started, expected);
        let role = if started.rank() == 0 { Role::First } else { Role::Follower };
        // Errors are told by `fail`, which needs it.
        *world() = Some(started);
        prepared.map(|()| role)
    }

    /// Checks that these are the ranks that were started, all of one version, and divides the cores among them.
    fn prepare(ranks: &mut World, expected: usize) -> Result<()> {
        // Several processes that MPI takes for runs of their own.
        if ranks.size() < expected {
            bail!(Usage(format!(
                "started as one of {expected} ranks, but MPI sees {}: use srun --mpi=pmix, or the mpirun of the MPI library that \
                 spikegrad was built with",
                ranks.size()
            )));
        }
        same_version(ranks)?;
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            let threads = (std::thread::available_parallelism()?.get() / ranks_of_cores(ranks)?).max(1);
            rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
        }
        Ok(())
    }

    /// How many ranks share the cores of this one: mpirun may bind each to cores of its own, or all to none.
    fn ranks_of_cores(ranks: &mut World) -> Result<usize> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cores = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap_or_default();
        let rank = ranks.rank();
        let all = ranks.share(format!("{} {cores}", ranks.host(rank)).as_bytes())?;
        Ok(all.iter().filter(|theirs| **theirs == all[rank]).count())
    }

    /// Ranks of other versions may send other messages.
    fn same_version(ranks: &mut World) -> Result<()> {
        let all = ranks.share(env!("CARGO_PKG_VERSION").as_bytes())?;
        if let Some(other) = all.iter().position(|theirs| *theirs != all[0]) {
            let [theirs, first] = [other, 0].map(|rank| String::from_utf8_lossy(&all[rank]).into_owned());
            bail!("{} is spikegrad {theirs}, but rank 0 is {first}; install one version", ranks.name(other));
        }
        Ok(())
    }

    pub(super) fn place_on_host() -> Option<(usize, usize)> {
        world().as_ref().map(|world| (world.local_rank(), world.ranks_of_host()))
    }

    /// The ranks for an engine.
    pub fn connect() -> Option<Box<dyn Ranks>> {
        world().as_ref().map(|_| Box::new(Connected) as Box<dyn Ranks>)
    }

    /// Waits for all ranks; from then on, they wait for each other no longer than a step may take. If one has `trouble` with its
    /// device, all end with that, so that rank 0 ends in order.
    pub fn begin(trouble: Option<&Error>) -> Result<()> {
        let Some(world) = &mut *world() else { return Ok(()) };
        let all = world.share(trouble.map(ToString::to_string).unwrap_or_default().as_bytes())?;
        if let Some(rank) = all.iter().position(|trouble| !trouble.is_empty()) {
            bail!("{}: {}", world.name(rank), String::from_utf8_lossy(&all[rank]));
        }
        world.begin();
        Ok(())
    }

    /// Ends MPI.
    pub fn finish() {
        world().take();
    }

    /// Tells the error and ends all ranks, if there are several.
    pub fn fail(error: anyhow::Error) -> anyhow::Error {
        let Some(name) = world().as_ref().map(|world| (world.rank(), world.name(world.rank()))) else { return error };
        // Errors of the run come to all ranks alike.
        let own = matches!(
            error.downcast_ref(),
            Some(Error::Io { .. } | Error::Device(_) | Error::DeviceLost(_) | Error::Ranks(_))
        );
        if name.0 != 0 && !own {
            std::thread::sleep(TURN);
        }
        let text = causes(&error);
        // Some say which rank they are of.
        let of = if text.starts_with("rank ") { String::new() } else { name.1 + ": " };
        complain(format_args!("{BAD}error:{BAD:#} {of}{text}"));
        abort()
    }

    /// The world, as several engines in turn have it.
    struct Connected;

    impl Ranks for Connected {
        fn rank(&self) -> usize {
            world().as_ref().map_or(0, Ranks::rank)
        }

        fn size(&self) -> usize {
            world().as_ref().map_or(1, Ranks::size)
        }

        fn name(&self, rank: usize) -> String {
            world().as_ref().map_or_else(String::new, |world| world.name(rank))
        }

        fn traffic(&self) -> Traffic {
            world().as_ref().map(Ranks::traffic).unwrap_or_default()
        }

        fn exchange(&mut self, messages: &[&[u8]]) -> spikegrad::Result<Vec<Vec<u8>>> {
            match &mut *world() {
                Some(world) => world.exchange(messages),
                None => Ok(messages.iter().map(|message| message.to_vec()).collect()),
            }
        }
    }
}
