//! Recorded steps as data: kernels, bindings and their order, to check or read a step without a GPU.

use super::GpuEngine;
use super::params::Parameters;
use super::pieces::Piece;
use super::recording::{Phase, Recording, Work};
use super::region::Region;
use super::shaders::Program;
use super::sparse::Purpose;
use std::fmt;

/// A buffer as a dispatch sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// What the kernel calls it.
    pub name: String,
    /// `uniform`, `read` or `read_write`; `clear` for what is zeroed before the dispatches.
    pub access: String,
    /// Number of the buffer: the weights of all layers come first, the others in the order of their first use.
    pub number: usize,
    /// Bytes that are bound, or cleared.
    pub bytes: u64,
    /// Numbers of the other buffers that it overlaps: parts of it, or what it is a part of.
    pub overlaps: Vec<usize>,
}

/// A dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Operation and layer.
    pub label: String,
    /// Its part of the step.
    pub phase: Phase,
    /// What runs.
    pub program: Program,
    /// Its parameters, those included that the kernel does not read.
    pub parameters: Parameters,
    /// Its other bindings, without the parameters of several layers.
    pub bindings: Vec<Bound>,
    /// Workgroups.
    pub groups: u64,
}

/// A recorded step, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its purpose.
    pub purpose: Purpose,
    /// Samples computed at once.
    pub samples: usize,
    /// Whether it is the first and the last piece of its step.
    pub whole: (bool, bool),
    /// Whether its samples come from the training set on the device.
    pub held: bool,
    /// Zeroed before the dispatches.
    pub cleared: Vec<Bound>,
    /// In order.
    pub dispatches: Vec<Scheduled>,
}

/// Gives numbers to buffers.
#[derive(Default)]
struct Numbers(Vec<Region>);

impl Numbers {
    fn of(&mut self, buffer: &Region) -> usize {
        self.0.iter().position(|known| known == buffer).unwrap_or_else(|| {
            self.0.push(buffer.clone());
            self.0.len() - 1
        })
    }

    /// Those of the other known buffers that share bytes with buffer `number`.
    fn overlaps(&self, number: usize) -> Vec<usize> {
        let overlaps = |&other: &usize| other != number && self.0[other].overlaps(&self.0[number]);
        (0..self.0.len()).filter(overlaps).collect()
    }
}

impl Schedule {
    fn of(piece: &Piece, recording: &Recording, numbers: &mut Numbers) -> Self {
        let clear = |buffer: &Region| Bound {
            name: "-".into(),
            access: "clear".into(),
            number: numbers.of(buffer),
            bytes: buffer.size(),
            overlaps: Vec::new(),
        };
        let cleared = recording.clears.iter().map(clear).collect();
        let dispatches = recording.dispatches.iter().map(|dispatch| {
            let Work::Groups(groups) = dispatch.work;
            let bound = dispatch.interface.bindings.iter().zip(&dispatch.buffers);
            let bound = bound.filter(|(binding, _)| binding.name != "layers").map(|(binding, buffer)| Bound {
                name: binding.name.clone(),
                access: binding.access.clone(),
                number: numbers.of(buffer),
                bytes: buffer.size(),
                overlaps: Vec::new(),
            });
            Scheduled {
                bindings: bound.collect(),
                label: dispatch.label.clone(),
                phase: dispatch.phase,
                program: dispatch.program.clone(),
                parameters: dispatch.parameters.clone(),
                groups,
            }
        });
        let dispatches = dispatches.collect();
        let whole = (piece.first, piece.last);
        Schedule { purpose: piece.purpose, samples: piece.samples, whole, held: piece.held, cleared, dispatches }
    }
}

impl GpuEngine {
    /// The steps that this engine has recorded so far: one for each purpose and number of samples that it was used with.
    /// Training, evaluation and inspection, larger batches last.
    pub fn schedules(&self) -> Vec<Schedule> {
        let mut recorded: Vec<_> = self.recordings.iter().collect();
        recorded.sort_by_key(|(piece, _)| {
            (piece.purpose as u8, piece.held, piece.samples, piece.total, piece.first, piece.last)
        });
        let mut numbers = Numbers::default();
        for strip in self.weights.iter().flat_map(|layer| &layer.strips) {
            for buffer in [&strip.weights, &strip.first, &strip.second, &strip.gradient] {
                numbers.of(buffer);
            }
        }
        let schedules = recorded.into_iter().map(|(piece, recording)| Schedule::of(piece, recording, &mut numbers));
        let mut schedules: Vec<_> = schedules.collect();
        for schedule in &mut schedules {
            let bound = schedule.dispatches.iter_mut().flat_map(|dispatch| &mut dispatch.bindings);
            bound.chain(&mut schedule.cleared).for_each(|bound| bound.overlaps = numbers.overlaps(bound.number));
        }
        schedules
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let from = if self.held { "the device" } else { "the host" };
        writeln!(
            f,
            "{:?}, {} samples from {from}, first and last piece: {:?}",
            self.purpose, self.samples, self.whole
        )?;
        for bound in &self.cleared {
            writeln!(f, "  clear #{} {} B", bound.number, bound.bytes)?;
        }
        for dispatch in &self.dispatches {
            let (phase, program) = (format!("{:?}", dispatch.phase), dispatch.program.name());
            write!(f, "  {phase:<8} {:<24} {program} x{}:", dispatch.label, dispatch.groups)?;
            for bound in &dispatch.bindings {
                let mark = if bound.access == "read_write" { "!" } else { "" };
                write!(f, " {}{mark} #{} {} B,", bound.name, bound.number, bound.bytes)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
