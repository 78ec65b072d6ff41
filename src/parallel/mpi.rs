//! Ranks that are started by `mpirun` or `srun`, through the MPI library of the machine.

use crate::engine::{Ranks, Traffic};
use crate::error::Result;
use crate::platform::{Instant, sleep};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::Request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// The least time that ranks have to start, to read their data and to open their devices.
const WHILE_STARTING: Duration = Duration::from_secs(600);
/// Polls without a pause, for messages that are under way.
const SPINS: u32 = 300;
/// Pause between later polls, so that ranks that share a core do not hinder each other.
const PAUSE: Duration = Duration::from_micros(50);
/// Largest part of a message: MPI counts in 32 bits.
const LARGEST: usize = 1 << 30;

/// The ranks of MPI's world. Dropping it ends MPI for the process.
pub struct World {
    world: SimpleCommunicator,
    patience: Duration,
    /// The time in which the messages of all ranks must have come.
    waits: Duration,
    say: fn(&str),
    traffic: Traffic,
    hosts: Vec<String>,
    local: usize,
    on_host: usize,
    // Dropped last.
    _universe: Universe,
}

impl World {
    /// Starts MPI, as one of several ranks or alone; `None` if it was started before. When the messages of all ranks have not come
    /// in the time of `patience`, `say` is told which are missing, and all ranks end.
    ///
    /// # Errors
    /// As [`Ranks::exchange`].
    pub fn start(patience: Duration, say: fn(&str)) -> Result<Option<World>> {
        // One thread of each process calls MPI.
        let Some((universe, _)) = mpi::initialize_with_threading(Threading::Serialized) else { return Ok(None) };
        let world = universe.world();
        let own = mpi::environment::processor_name().unwrap_or_else(|_| "a host without a name".into());
        let waits = patience.max(WHILE_STARTING);
        let mut world = World {
            world,
            patience,
            waits,
            say,
            traffic: Traffic::default(),
            hosts: Vec::new(),
            local: 0,
            on_host: 1,
            _universe: universe,
        };
        let hosts = world.share(own.as_bytes())?;
        world.hosts = hosts.iter().map(|host| String::from_utf8_lossy(host).into_owned()).collect();
        let (rank, host) = (world.rank(), world.hosts[world.rank()].clone());
        world.local = world.hosts[..rank].iter().filter(|other| **other == host).count();
        world.on_host = world.hosts.iter().filter(|other| **other == host).count();
        Ok(Some(world))
    }

    /// The number of this rank among those of its host.
    pub fn local_rank(&self) -> usize {
        self.local
    }

    /// The number of ranks on this host.
    pub fn ranks_of_host(&self) -> usize {
        self.on_host
    }

    /// From now on, `patience` holds; until now ranks had longer, as they read their data and open their devices.
    pub fn begin(&mut self) {
        self.waits = self.patience;
    }

    /// Says which ranks neither sent nor received, and ends all ranks.
    fn give_up(&self, silent: &BTreeSet<usize>) -> ! {
        let names: Vec<String> = silent.iter().map(|&rank| self.name(rank)).collect();
        (self.say)(&format!(
            "{}: waited {} s for {}; all ranks end. The last checkpoint is kept. --rank-patience SECONDS waits longer",
            self.name(self.rank()),
            self.waits.as_secs(),
            names.join(", ")
        ));
        abort()
    }
}

/// Ends all ranks.
pub fn abort() -> ! {
    SimpleCommunicator::world().abort(1)
}

// MPI is called by the thread that has the world; `Serialized` allows any.
#[expect(unsafe_code, reason = "the handle of a communicator is a pointer, and any thread may use it, one at a time")]
unsafe impl Send for World {}

/// A message under way: what has come of it.
#[derive(Default)]
struct Incoming {
    length: Option<u64>,
    bytes: Vec<u8>,
}

impl Incoming {
    fn is_whole(&self) -> bool {
        self.length == Some(self.bytes.len() as u64)
    }

    /// Takes the next part; the first one is the length.
    fn take(&mut self, part: Vec<u8>) {
        match self.length {
            None => self.length = Some(part.try_into().map_or(u64::MAX, u64::from_le_bytes)),
            Some(_) if self.bytes.is_empty() => self.bytes = part,
            Some(_) => self.bytes.extend(part),
        }
    }
}

impl Ranks for World {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn name(&self, rank: usize) -> String {
        let host = self.hosts.get(rank).map(|host| format!(" on {host}")).unwrap_or_default();
        format!("rank {rank} of {}{host}", self.size())
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn exchange(&mut self, mut messages: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let (own, began) = (self.rank(), Instant::now());
        let kept = std::mem::take(&mut messages[own]);
        let sent = messages.iter().map(|message| message.len() as u64).sum::<u64>();
        let lengths: Vec<[u8; 8]> = messages.iter().map(|message| (message.len() as u64).to_le_bytes()).collect();
        let others = || (0..messages.len()).filter(|&rank| rank != own);
        let mut incoming: Vec<Incoming> = messages.iter().map(|_| Incoming::default()).collect();
        mpi::request::scope(|scope| {
            let mut sends: Vec<(usize, Request<[u8], _>)> = Vec::new();
            for rank in others() {
                let to = self.world.process_at_rank(rank as i32);
                sends.push((rank, to.immediate_send(scope, &lengths[rank][..])));
                sends.extend(messages[rank].chunks(LARGEST).map(|part| (rank, to.immediate_send(scope, part))));
            }
            for poll in 0u32.. {
                for rank in others().filter(|&rank| !incoming[rank].is_whole()).collect::<Vec<_>>() {
                    let from = self.world.process_at_rank(rank as i32);
                    if let Some(pending) = from.immediate_matched_probe() {
                        incoming[rank].take(pending.matched_receive_vec().0);
                    }
                }
                sends =
                    sends.into_iter().filter_map(|(rank, send)| send.test().err().map(|send| (rank, send))).collect();
                let waited_for: Vec<usize> = others().filter(|&rank| !incoming[rank].is_whole()).collect();
                if waited_for.is_empty() && sends.is_empty() {
                    break;
                }
                if began.elapsed() > self.waits {
                    // What is under way cannot be called back, so this ends here.
                    let unsent = others().filter(|rank| sends.iter().any(|(to, _)| to == rank));
                    self.give_up(&waited_for.into_iter().chain(unsent).collect::<BTreeSet<_>>());
                }
                if poll > SPINS {
                    sleep(PAUSE);
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let mut received: Vec<Vec<u8>> = incoming.into_iter().map(|message| message.bytes).collect();
        received[own] = kept;
        self.traffic.seconds += began.elapsed().as_secs_f64();
        self.traffic.bytes += sent;
        Ok(received)
    }
}
