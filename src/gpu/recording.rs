//! A step as a list of dispatches, built once for a batch size and replayed: pipelines, bind groups and sizes fixed.

use super::context::Context;
use super::count::{self, Counted, KernelCount, Work as Executed};
use super::shaders::Kernel;
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
    /// The kernel, and the names that it is compiled with.
    pub kernel: Kernel,
    pub defined: Vec<&'static str>,
    /// Its parameters; empty where they lie in a buffer, which is then the first of `buffers`.
    pub parameters: Vec<u8>,
    /// What it binds, in order.
    pub buffers: Vec<wgpu::Buffer>,
    /// Its workgroups.
    pub work: Work,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    counters: Option<Counters>,
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
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        if let Some(counters) = &self.counters {
            pass.set_bind_group(count::GROUP, &counters.bind_group, &[]);
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
    kernel: (Kernel, Vec<&'static str>),
    pipeline: wgpu::ComputePipeline,
    segments: Option<Arc<[Executed]>>,
    /// Where its uniform data begin, and how many bytes they are.
    uniform: (u64, usize),
    buffers: Vec<&'a wgpu::Buffer>,
    work: Work,
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

    /// Appends a dispatch; binding 0 is `params`, then `buffers` in order.
    pub fn add<P: bytemuck::Pod>(
        &mut self,
        label: impl Into<String>,
        (kernel, defined): (Kernel, &[&'static str]),
        params: P,
        buffers: &[&'a wgpu::Buffer],
        work: Work,
    ) {
        if work == Work::Groups(0) {
            return;
        }
        let pipeline = self.context.pipeline(kernel, defined);
        let segments = self.context.segments(kernel, defined);
        let (label, phase, uniform) = (label.into(), self.phase, self.uniforms.len() as u64);
        self.uniforms.extend_from_slice(bytemuck::bytes_of(&params));
        self.uniforms.resize((uniform + UNIFORM_STRIDE) as usize, 0);
        let (kernel, uniform) = ((kernel, self.context.defined(kernel, defined)), (uniform, size_of::<P>()));
        self.entries.push(Entry { label, phase, kernel, pipeline, segments, uniform, buffers: buffers.to_vec(), work });
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
        let bytes = |entry: &Entry| {
            entry.segments.as_ref().map_or(0, |s| Counted::buffer_bytes(s).next_multiple_of(UNIFORM_STRIDE))
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
                let first = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &uniforms,
                    offset: entry.uniform.0,
                    size: std::num::NonZeroU64::new(UNIFORM_STRIDE),
                });
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
                let counters = counters.as_ref().zip(entry.segments.clone()).map(|(buffer, segments)| {
                    let offset = counter_offset;
                    counter_offset += bytes(&entry);
                    let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset,
                        size: std::num::NonZeroU64::new(Counted::buffer_bytes(&segments)),
                    });
                    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some("counters"),
                        layout: &entry.pipeline.get_bind_group_layout(count::GROUP),
                        entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
                    });
                    Counters { segments, bind_group, offset }
                });
                let (at, bytes) = entry.uniform;
                Dispatch {
                    buffers: entry.buffers.into_iter().cloned().collect(),
                    parameters: self.uniforms[at as usize..][..bytes].to_vec(),
                    kernel: entry.kernel.0,
                    defined: entry.kernel.1,
                    label: entry.label,
                    phase: entry.phase,
                    pipeline: entry.pipeline,
                    bind_group,
                    counters,
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
            let Some(Counters { segments, offset, .. }) = &dispatch.counters else { continue };
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
