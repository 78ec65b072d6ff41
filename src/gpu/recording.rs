//! A step as a list of dispatches, built once for a batch size and replayed: pipelines, bind groups and sizes fixed.

use super::context::{Context, Instrumented};
use super::count::{Counted, KernelCount, Work as Executed};
use super::races::Logging;
use super::rewrite::GROUP;
use super::shaders::{Kernel, Program};
use crate::error::Result;
use std::sync::Arc;

/// Uniform data of each dispatch begins at a multiple of this (WebGPU's default alignment).
const UNIFORM_STRIDE: u64 = 256;

/// Which part of a step a dispatch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Forward and loss.
    Forward,
    /// Backward.
    Backward,
    /// The update.
    Update,
}

/// How many workgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Known when recorded.
    Groups(u64),
}

/// One dispatch, ready to encode.
pub struct Dispatch {
    /// Operation and layer.
    pub label: String,
    /// Its part of the step.
    pub phase: Phase,
    /// What runs.
    pub program: Program,
    /// Its parameters; empty where they lie in a buffer, which is then the first of `buffers`.
    pub parameters: Vec<u8>,
    /// What it binds, in order.
    pub buffers: Vec<wgpu::Buffer>,
    /// Its workgroups.
    pub work: Work,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    attached: Attached,
}

/// Where a dispatch says what it does.
enum Attached {
    Nothing,
    Counters(Counters),
    /// What begins the dispatch in the log of accesses, with its bindings; and the log.
    Log(wgpu::ComputePipeline, wgpu::BindGroup, wgpu::BindGroup),
}

/// Where a dispatch counts what it executes.
struct Counters {
    segments: Arc<[Executed]>,
    bind_group: wgpu::BindGroup,
    /// Where its counters begin, in bytes.
    offset: u64,
}

impl Dispatch {
    /// Encodes into a pass.
    pub fn encode(&self, pass: &mut wgpu::ComputePass) {
        if let Attached::Log(next, bind_group, _) = &self.attached {
            pass.set_pipeline(next);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        match &self.attached {
            Attached::Nothing => {}
            Attached::Counters(Counters { bind_group, .. }) | Attached::Log(_, _, bind_group) => {
                pass.set_bind_group(GROUP, bind_group, &[]);
            }
        }
        // More than 65,535 workgroups fold into y; the shaders unfold them with the same constant.
        let Work::Groups(n) = self.work;
        pass.dispatch_workgroups(n.min(65_535) as u32, n.div_ceil(65_535) as u32, 1);
    }
}

/// A recorded step.
pub struct Recording {
    /// What is cleared before the dispatches.
    pub clears: Vec<wgpu::Buffer>,
    /// The dispatches, in order.
    pub dispatches: Vec<Dispatch>,
    /// The counters of all dispatches, where the kernels count.
    counters: Option<wgpu::Buffer>,
}

struct Entry<'a> {
    label: String,
    phase: Phase,
    program: Program,
    pipeline: wgpu::ComputePipeline,
    says: Says,
    /// Where its uniform data begin, and how many bytes they are.
    uniform: (u64, usize),
    buffers: Vec<&'a wgpu::Buffer>,
    work: Work,
}

/// What an entry will say.
enum Says {
    Nothing,
    Counts(Arc<[Executed]>),
    /// Where its number among the logged dispatches begins.
    Log(u64),
}

/// Collects dispatches.
pub struct Recorder<'a> {
    context: &'a mut Context,
    phase: Phase,
    clears: Vec<wgpu::Buffer>,
    entries: Vec<Entry<'a>>,
    uniforms: Vec<u8>,
}

impl<'a> Recorder<'a> {
    /// An empty recording that begins with the forward phase.
    pub fn new(context: &'a mut Context) -> Self {
        Recorder { context, phase: Phase::Forward, clears: Vec::new(), entries: Vec::new(), uniforms: Vec::new() }
    }

    /// What follows belongs to `phase`.
    pub fn phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Clears a buffer before the step.
    pub fn clear(&mut self, buffer: &wgpu::Buffer) {
        self.clears.push(buffer.clone());
    }

    /// Appends a dispatch of a kernel that computes the paper's network, or has nothing to do with cells.
    pub fn add<P: bytemuck::Pod>(
        &mut self,
        label: impl Into<String>,
        (kernel, defined): (Kernel, &[&'static str]),
        params: P,
        buffers: &[&'a wgpu::Buffer],
        work: Work,
    ) {
        self.add_program(label, Program::new(kernel, defined, &[]), params, buffers, work);
    }

    /// Appends a dispatch; binding 0 is `params`, then `buffers` in order.
    pub fn add_program<P: bytemuck::Pod>(
        &mut self,
        label: impl Into<String>,
        program: Program,
        params: P,
        buffers: &[&'a wgpu::Buffer],
        work: Work,
    ) {
        if work == Work::Groups(0) {
            return;
        }
        let program = self.context.adapted(program);
        let pipeline = self.context.pipeline(&program);
        let (label, phase) = (label.into(), self.phase);
        const { assert!(size_of::<P>() <= UNIFORM_STRIDE as usize) };
        let uniform = (self.uniform(bytemuck::bytes_of(&params)), size_of::<P>());
        let instrumented = self.context.instrumented(&program);
        let says = match (instrumented, &self.context.log) {
            (Some(Instrumented::Counted(segments)), _) => Says::Counts(segments),
            (Some(Instrumented::Logged(sites)), Some(log)) => {
                let Work::Groups(groups) = work;
                let number = log.add(Logging::new(label.clone(), program.name(), sites, groups, buffers));
                Says::Log(self.uniform(bytemuck::bytes_of(&[number, 0, 0, 0])))
            }
            _ => Says::Nothing,
        };
        self.entries.push(Entry { label, phase, program, pipeline, says, uniform, buffers: buffers.to_vec(), work });
    }

    /// Where uniform data begin that are as given.
    fn uniform(&mut self, bytes: &[u8]) -> u64 {
        let begin = self.uniforms.len();
        self.uniforms.extend_from_slice(bytes);
        self.uniforms.resize(begin + UNIFORM_STRIDE as usize, 0);
        begin as u64
    }

    /// Makes the bind groups.
    pub fn finish(self) -> Recording {
        let device = &self.context.device;
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (self.uniforms.len() as u64).max(UNIFORM_STRIDE),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.context.queue.write_buffer(&uniforms, 0, &self.uniforms);
        let bytes = |entry: &Entry| match &entry.says {
            Says::Counts(segments) => Counted::buffer_bytes(segments).next_multiple_of(UNIFORM_STRIDE),
            _ => 0,
        };
        let counter_bytes: u64 = self.entries.iter().map(bytes).sum();
        let counters = (counter_bytes > 0).then(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("counters"),
                size: counter_bytes,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let mut counter_offset = 0;
        let dispatches = self
            .entries
            .into_iter()
            .map(|entry| {
                let uniform = |offset| wgpu::BufferBinding {
                    buffer: &uniforms,
                    offset,
                    size: std::num::NonZeroU64::new(UNIFORM_STRIDE),
                };
                let first = wgpu::BindingResource::Buffer(uniform(entry.uniform.0));
                let rest = entry.buffers.iter().map(|buffer| buffer.as_entire_binding());
                let entries: Vec<_> = std::iter::once(first)
                    .chain(rest)
                    .enumerate()
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource })
                    .collect();
                let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&entry.label),
                    layout: &entry.pipeline.get_bind_group_layout(0),
                    entries: &entries,
                });
                let attached = match (&entry.says, &counters, &self.context.log) {
                    (Says::Counts(segments), Some(buffer), _) => {
                        let offset = counter_offset;
                        counter_offset += bytes(&entry);
                        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer,
                            offset,
                            size: std::num::NonZeroU64::new(Counted::buffer_bytes(segments)),
                        });
                        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                            label: Some("counters"),
                            layout: &entry.pipeline.get_bind_group_layout(GROUP),
                            entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
                        });
                        Attached::Counters(Counters { segments: segments.clone(), bind_group, offset })
                    }
                    (&Says::Log(number), _, Some(log)) => {
                        let (next, begin, own) = log.bind(device, uniform(number), &entry.pipeline);
                        Attached::Log(next, begin, own)
                    }
                    _ => Attached::Nothing,
                };
                let (at, bytes) = entry.uniform;
                Dispatch {
                    buffers: entry.buffers.into_iter().cloned().collect(),
                    parameters: self.uniforms[at as usize..][..bytes].to_vec(),
                    program: entry.program,
                    label: entry.label,
                    phase: entry.phase,
                    pipeline: entry.pipeline,
                    bind_group,
                    attached,
                    work: entry.work,
                }
            })
            .collect();
        Recording { clears: self.clears, dispatches, counters }
    }
}

impl Recording {
    /// Encodes the whole step as one compute pass.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_clears(encoder);
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for dispatch in &self.dispatches {
            dispatch.encode(&mut pass);
        }
    }

    /// The dispatches in `parts` passes for as many submits, so that none takes long.
    pub fn encode_parts(&self, parts: usize) -> impl Iterator<Item = impl Fn(&mut wgpu::CommandEncoder)> {
        let each = self.dispatches.len().div_ceil(parts.max(1)).max(1);
        self.dispatches.chunks(each).map(|dispatches| {
            move |encoder: &mut wgpu::CommandEncoder| {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                dispatches.iter().for_each(|dispatch| dispatch.encode(&mut pass));
            }
        })
    }

    /// Encodes what must be zero before the dispatches.
    pub fn encode_clears(&self, encoder: &mut wgpu::CommandEncoder) {
        for buffer in &self.clears {
            encoder.clear_buffer(buffer, 0, None);
        }
    }

    /// Adds what each kernel executed since the last call to `kernels`, in the order of first dispatch. Waits.
    pub fn counted(&self, context: &Context, kernels: &mut Vec<KernelCount>) -> Result<()> {
        let Some(counters) = &self.counters else { return Ok(()) };
        let words: Vec<u32> = context.read_as(counters, counters.size() as usize / 4)?;
        let mut encoder = context.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(counters, 0, None);
        context.queue.submit([encoder.finish()]);
        for dispatch in &self.dispatches {
            let Attached::Counters(Counters { segments, offset, .. }) = &dispatch.attached else { continue };
            let own = words.get(*offset as usize / 4..).unwrap_or(&[]);
            let work = Counted::work(segments, own);
            if work == Executed::default() {
                continue;
            }
            match kernels.iter_mut().find(|kernel| kernel.name == dispatch.label) {
                Some(kernel) => {
                    kernel.dispatches += 1;
                    kernel.work += work;
                }
                None => kernels.push(KernelCount { name: dispatch.label.clone(), dispatches: 1, work }),
            }
        }
        Ok(())
    }
}
