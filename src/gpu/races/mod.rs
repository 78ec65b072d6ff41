//! Looks for data races in the kernels of a step.
//!
//! An instrumented kernel logs every access to memory that several invocations can access and some may write: `read_write`
//! bindings and workgroup memory (`logged.rs`). After each dispatch the host analyses the log (`analyse.rs`). Two invocations
//! race if both access a word, one of them by a plain store, without a barrier for this kind of memory in between; nothing
//! orders invocations of different workgroups within a dispatch. An atomic store that nothing orders is reported as well,
//! although it is not a race.
//!
//! The log holds every access, not only the last one of each word. So the findings do not depend on the order in which an
//! adapter runs invocations: a race is found even on an adapter where it never happens, if the data make both invocations
//! access the word.

mod analyse;
mod logged;

pub use logged::{Kind, Logged, Place, Site, Sites, Variable};

use super::context::Context;
use super::region::Region;
use super::rewrite::GROUP;
use crate::error::{Error, Result};
use analyse::Findings;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the log, if the device binds as many.
const LOG_BYTES: u64 = 128 << 20;
/// Bytes of a record; the log's header takes as many.
const RECORD: u64 = 16;
/// The second word of a record that begins a dispatch.
const NEXT: u32 = u32::MAX;
/// Workgroups that a record can tell apart.
const MOST_GROUPS: u64 = (1 << 20) - 1;

/// A fault of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Two invocations access a word, and at least one of them stores.
    Race,
    /// The same, but both store the same value. Still a race, as stores need not be atomic.
    EqualStores,
    /// An atomic store and an atomic operation, or a store of another value: not a race, but the outcome depends on the order.
    Unordered,
    /// An index beyond the variable's end. Bounds checks, which release builds do without, would move it.
    OutOfRange,
    /// A load from workgroup memory to which nothing has been stored. It is not cleared before a workgroup begins.
    NeverStored,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Fault::Race => "a data race",
            Fault::EqualStores => "a data race of equal stores",
            Fault::Unordered => "an atomic store that nothing orders",
            Fault::OutOfRange => "an index out of range",
            Fault::NeverStored => "a load of what was never stored",
        })
    }
}

/// One side of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Its kind.
    pub kind: Kind,
    /// Line in the text of the kernel's variant ([`Kernel::wgsl`](super::shaders::Kernel::wgsl)), from 1.
    pub line: u32,
    /// The text of that line.
    pub text: String,
    /// The workgroup, counted through.
    pub workgroup: u32,
    /// The invocation's `local_invocation_index`.
    pub lane: u32,
    /// Barriers for this kind of memory that the invocation has passed.
    pub barriers: u32,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Access { kind, line, text, workgroup, lane, barriers } = self;
        write!(f, "{kind} by lane {lane} of workgroup {workgroup} after {barriers} barriers, line {line}: {text}")
    }
}

/// A faulty pair of accesses, or a single one: the first one found of its two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The fault.
    pub fault: Fault,
    /// The kernel and the names that it is compiled with, joined by `+`.
    pub kernel: String,
    /// The dispatch: operation and layer.
    pub label: String,
    /// What the kernel calls the variable.
    pub variable: String,
    /// The binding; `None` in workgroup memory.
    pub binding: Option<u32>,
    /// The word, counted from the variable's beginning.
    pub word: u32,
    /// One or two.
    pub accesses: Vec<Access>,
    /// Number of words with this finding, counted again for each dispatch.
    pub words: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Finding { fault, kernel, label, variable, word, words, .. } = self;
        let place = self.binding.map_or("workgroup memory".to_string(), |binding| format!("binding {binding}"));
        write!(f, "{kernel} ({label}): {fault} at word {word} of `{variable}` ({place}), {words} words in all")?;
        self.accesses.iter().try_for_each(|access| write!(f, "\n  {access}"))
    }
}

/// The analysed accesses of a kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Dispatches.
    pub dispatches: u64,
    /// Accesses to memory that invocations share.
    pub accesses: u64,
}

/// Analysed accesses and findings.
#[derive(Debug, Clone, Default)]
pub struct Races {
    /// By kernel: its name and those that it is compiled with, joined by `+`.
    pub checked: BTreeMap<String, Checked>,
    /// The findings.
    pub found: Vec<Finding>,
}

/// A dispatch that logs.
pub(super) struct Logging {
    label: String,
    /// The kernel's name and those that it is compiled with.
    kernel: String,
    sites: Arc<Sites>,
    groups: u64,
    /// For each binding the first binding of the same buffer, and the number of words.
    bindings: Vec<(u32, u64)>,
}

impl Logging {
    /// A dispatch of `groups` workgroups; binding 0 is the uniform data, followed by `buffers` in order.
    pub fn new(label: String, kernel: String, sites: Arc<Sites>, groups: u64, buffers: &[Region]) -> Self {
        let first = |buffer: &Region| buffers.iter().position(|other| other == buffer).unwrap_or(0) as u32 + 1;
        let bound = buffers.iter().map(|buffer| (first(buffer), buffer.size() / 4));
        Logging { label, kernel, sites, groups, bindings: std::iter::once((0, 0)).chain(bound).collect() }
    }
}

/// The log of a device.
pub(super) struct AccessLog {
    buffer: Region,
    next: wgpu::ComputePipeline,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    dispatches: Vec<Arc<Logging>>,
    checked: BTreeMap<String, Checked>,
    findings: Findings,
}

impl AccessLog {
    /// An empty log.
    pub fn new(device: &wgpu::Device) -> Self {
        let limits = device.limits();
        let buffer = Region::whole(device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("access log"),
            size: LOG_BYTES.min(limits.max_storage_buffer_binding_size).min(limits.max_buffer_size) / RECORD * RECORD,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }));
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("next dispatch"),
            source: wgpu::ShaderSource::Wgsl(include_str!("../../../shaders/instrument/next_dispatch.wgsl").into()),
        });
        let next = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("next dispatch"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        AccessLog { buffer, next, seen: Mutex::default() }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a dispatch; returns its number.
    pub fn add(&self, dispatch: Logging) -> u32 {
        let known = &mut self.seen().dispatches;
        known.push(Arc::new(dispatch));
        known.len() as u32 - 1
    }

    /// The bindings of a dispatch: those of the pipeline that begins it in the log, and the log for the kernel itself.
    pub fn bind(
        &self,
        device: &wgpu::Device,
        number: wgpu::BufferBinding,
        kernel: &wgpu::ComputePipeline,
    ) -> (wgpu::ComputePipeline, wgpu::BindGroup, wgpu::BindGroup) {
        let log = || self.buffer.binding();
        let bind = |pipeline: &wgpu::ComputePipeline, group, entries: &[wgpu::BindGroupEntry]| {
            let layout = &pipeline.get_bind_group_layout(group);
            device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some("access log"), layout, entries })
        };
        let number = wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(number) };
        let next = bind(&self.next, 0, &[number, wgpu::BindGroupEntry { binding: 1, resource: log() }]);
        let own = bind(kernel, GROUP, &[wgpu::BindGroupEntry { binding: 0, resource: log() }]);
        (self.next.clone(), next, own)
    }

    /// Analyses the log and empties it. Waits.
    ///
    /// # Errors
    /// More accesses than the log holds.
    pub fn drain(&self, context: &Context) -> Result<()> {
        let used = u64::from(context.read_as::<u32>(&self.buffer, 1)?.first().copied().unwrap_or(0));
        let room = self.buffer.size() / RECORD - 1;
        if used > room {
            return Err(Error::Device(format!(
                "{used} accesses to look for races in, the log holds {room}; use a smaller batch or fewer time steps"
            )));
        }
        let records: Vec<[u32; 4]> = context.read_as(&self.buffer, used as usize + 1)?;
        let mut encoder = context.device.create_command_encoder(&Default::default());
        self.buffer.part(0, RECORD).clear(&mut encoder, 0);
        context.queue.submit([encoder.finish()]);
        let mut seen = self.seen();
        let mut rest = &records[1..];
        while let Some((&[number, ..], behind)) = rest.split_first() {
            let end = behind.iter().position(|record| record[1] == NEXT).unwrap_or(behind.len());
            let (own, next) = behind.split_at(end);
            rest = next;
            let Some(dispatch) = seen.dispatches.get(number as usize).cloned() else {
                return Err(Error::Device(format!(
                    "the log of accesses speaks of dispatch {number}, which nobody knows"
                )));
            };
            if dispatch.groups > MOST_GROUPS {
                let Logging { label, groups, .. } = &*dispatch;
                return Err(Error::Device(format!("{label}: {groups} workgroups, records tell {MOST_GROUPS} apart")));
            }
            analyse::analyse(&dispatch, own, &mut seen.findings)?;
            let checked = seen.checked.entry(dispatch.kernel.clone()).or_default();
            checked.dispatches += 1;
            checked.accesses += own.len() as u64;
        }
        Ok(())
    }

    /// The findings so far.
    pub fn races(&self) -> Races {
        let seen = self.seen();
        Races { checked: seen.checked.clone(), found: seen.findings.list() }
    }
}
