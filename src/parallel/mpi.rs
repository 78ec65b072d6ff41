//! Ranks that are started by `mpirun` or `srun`, through the MPI library of the machine.

use crate::engine::{Ranks, Traffic};
use crate::error::Result;
use crate::platform::{Instant, sleep};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::{Request, Scope};
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
/// Bytes of a length.
const LENGTH: usize = 8;
/// Most bytes of a message that are sent with its length.
const HEAD: usize = 4088;
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

    /// The host of a rank.
    pub fn host(&self, rank: usize) -> &str {
        &self.hosts[rank]
    }

    /// The number of this rank among those of its host.
    pub fn local_rank(&self) -> usize {
        self.local
    }

    /// The number of ranks on this host.
    pub fn ranks_of_host(&self) -> usize {
        self.on_host
    }

    /// From now on `patience` holds. Until then, ranks have longer, as they read data and open their devices.
    pub fn begin(&mut self) {
        self.waits = self.patience;
    }

    /// Waits until what is under way to and from other ranks has arrived. Nothing may block: that would starve the kernel's own
    /// part of a transfer where there is no idle core.
    fn complete<'a, S: Scope<'a>>(&self, mut requests: Vec<(usize, Request<'a, [u8], S>)>, began: Instant) {
        let (mut waited, mut last) = (began.elapsed(), Instant::now());
        for poll in 0u32.. {
            // A process that was stopped and goes on has not waited.
            waited += last.elapsed().min(Duration::from_secs(1));
            last = Instant::now();
            requests = requests
                .into_iter()
                .filter_map(|(rank, request)| request.test().err().map(|request| (rank, request)))
                .collect();
            if requests.is_empty() {
                return;
            }
            if waited > self.waits {
                // What is under way cannot be called back, so this ends here.
                self.give_up(&requests.iter().map(|(rank, _)| *rank).collect());
            }
            if poll > SPINS {
                sleep(PAUSE);
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Says with which ranks an exchange is not complete, and ends all ranks.
    fn give_up(&self, silent: &BTreeSet<usize>) -> ! {
        let names: Vec<String> = silent.iter().map(|&rank| self.name(rank)).collect();
        (self.say)(&format!(
            "{}: waited {} s for {}; all ranks end; a checkpoint that is there is kept. --rank-patience SECONDS waits longer",
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

    fn exchange(&mut self, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let (own, began) = (self.rank(), Instant::now());
        // The head of a message says its length, and has all of a short one.
        let head =
            |message: &&[u8]| [&(message.len() as u64).to_le_bytes()[..], &message[..message.len().min(HEAD)]].concat();
        let heads: Vec<Vec<u8>> = messages.iter().map(head).collect();
        let mut incoming = vec![[0; LENGTH + HEAD]; messages.len()];
        mpi::request::scope(|scope| {
            let mut requests = Vec::new();
            for (rank, buffer) in incoming.iter_mut().enumerate().filter(|(rank, _)| *rank != own) {
                let other = self.world.process_at_rank(rank as i32);
                requests.push((rank, other.immediate_receive_into(scope, &mut buffer[..])));
                requests.push((rank, other.immediate_send(scope, &heads[rank][..])));
            }
            self.complete(requests, began);
        });
        self.traffic.waiting += began.elapsed().as_secs_f64();
        let length =
            |head: &[u8; LENGTH + HEAD]| head.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize);
        let mut received: Vec<Vec<u8>> = incoming.iter().map(|head| vec![0; length(head)]).collect();
        mpi::request::scope(|scope| {
            let mut requests = Vec::new();
            for (rank, message) in received.iter_mut().enumerate().filter(|(rank, _)| *rank != own) {
                let other = self.world.process_at_rank(rank as i32);
                let in_head = message.len().min(HEAD);
                let (begin, rest) = message.split_at_mut(in_head);
                begin.copy_from_slice(&incoming[rank][LENGTH..][..begin.len()]);
                requests.extend(rest.chunks_mut(LARGEST).map(|part| (rank, other.immediate_receive_into(scope, part))));
                let rest = messages[rank].get(HEAD..).unwrap_or_default();
                requests.extend(rest.chunks(LARGEST).map(|part| (rank, other.immediate_send(scope, part))));
            }
            self.complete(requests, began);
        });
        self.traffic.seconds += began.elapsed().as_secs_f64();
        let sent = messages.iter().enumerate().filter(|(rank, _)| *rank != own);
        self.traffic.bytes += sent.map(|(_, message)| message.len() as u64).sum::<u64>();
        received[own] = messages[own].to_vec();
        Ok(received)
    }
}
