//! A step as a list of dispatches, built once for a batch size and replayed: pipelines, bind groups and sizes fixed.

use super::adapter::AdapterSummary;
use super::context::{Compiled, Context, Instrumented};
use super::count::{Counted, KernelCount, Work as Executed};
use super::interface::Interface;
use super::lockstep::MOST_LAYERS;
use super::params::{Parameters, Params, Uniform};
use super::races::Logging;
use super::region::Region;
use super::rewrite::GROUP;
use super::shaders::Program;
use crate::error::Result;
use std::num::NonZeroU64;
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
    /// Its parameters, those included that the kernel does not read.
    pub parameters: Parameters,
    /// What the kernel declares.
    pub interface: Arc<Interface>,
    /// The buffers of `interface.bindings`.
    pub buffers: Vec<Region>,
    /// Its workgroups.
    pub work: Work,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    attached: Attached,
}

/// The output of an instrumented dispatch.
enum Attached {
    Nothing,
    Counters(Counters),
    /// The pipeline that begins the dispatch in the log of accesses, its bindings, and the log's.
    Log(wgpu::ComputePipeline, wgpu::BindGroup, wgpu::BindGroup),
}

/// The counters of a dispatch.
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
    /// Buffers to be cleared before the dispatches.
    pub clears: Vec<Region>,
    /// The dispatches, in order.
    pub dispatches: Vec<Dispatch>,
    /// The counters of all dispatches, if the kernels count.
    counters: Option<Region>,
}

/// A buffer and the variable of the kernel that it is bound to.
pub type Bind<'a> = (&'static str, &'a Region);

struct Entry {
    label: String,
    phase: Phase,
    program: Program,
    compiled: Compiled,
    parameters: Parameters,
    /// Where its uniform data begin.
    uniform: u64,
    says: Says,
    /// In the order in which the kernel declares them.
    buffers: Vec<Region>,
    work: Work,
}

/// What an instrumented entry records.
enum Says {
    Nothing,
    Counts(Arc<[Executed]>),
    /// Where its number among the logged dispatches begins.
    Log(u64),
}

impl Says {
    /// Bytes of its counters.
    fn counter_bytes(&self) -> u64 {
        match self {
            Says::Counts(segments) => Counted::buffer_bytes(segments).next_multiple_of(UNIFORM_STRIDE),
            _ => 0,
        }
    }
}

/// Collects dispatches.
pub struct Recorder<'a> {
    context: &'a mut Context,
    phase: Phase,
    clears: Vec<Region>,
    entries: Vec<Entry>,
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
    pub fn clear(&mut self, buffer: &Region) {
        self.clears.push(buffer.clone());
    }

    /// Appends a dispatch. `buffers` has every binding of the kernel but its uniform data, in any order.
    ///
    /// If parameters or bindings are not those that the kernel declares, nothing is appended, and the next
    /// [`Context::check`] fails.
    pub fn add(
        &mut self,
        label: impl Into<String>,
        program: impl Into<Program>,
        parameters: impl Uniform,
        buffers: &[Bind<'_>],
        work: Work,
    ) {
        if work == Work::Groups(0) {
            return;
        }
        let program = self.context.adapted(program.into());
        let compiled = self.context.compiled(&program);
        let (label, parameters) = (label.into(), Parameters::of(&parameters));
        let uniform = uniform_words(&compiled.interface, &parameters);
        let (words, buffers) = match uniform.and_then(|words| Ok((words, in_order(&compiled.interface, buffers)?))) {
            Ok(given) => given,
            Err(fault) => return self.context.report(format!("{label}: kernel {} {fault}", program.name())),
        };
        let uniform = self.uniform(bytemuck::cast_slice(&words));
        let says = match (&compiled.instrumented, &self.context.log) {
            (Some(Instrumented::Counted(segments)), _) => Says::Counts(segments.clone()),
            (Some(Instrumented::Logged(sites)), Some(log)) => {
                let Work::Groups(groups) = work;
                let logging = Logging::new(label.clone(), program.name(), sites.clone(), groups, &buffers);
                let number = log.add(logging);
                Says::Log(self.uniform(bytemuck::bytes_of(&[number, 0, 0, 0])))
            }
            _ => Says::Nothing,
        };
        let phase = self.phase;
        self.entries.push(Entry { label, phase, program, compiled, parameters, uniform, says, buffers, work });
    }

    /// The adapter.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.context.adapter
    }

    /// Uniform data of several layers, for a program that declares `layers`: the fields that it reads of each.
    pub fn layers(&mut self, program: &Program, layers: &[Params]) -> Region {
        let program = self.context.adapted(program.clone());
        let interface = self.context.compiled(&program).interface;
        let stride = interface.fields.len();
        let mut words = vec![0; MOST_LAYERS * stride];
        for (layer, into) in layers.iter().zip(words.chunks_mut(stride.max(1))) {
            match Parameters::of(layer).select(&interface.fields) {
                Ok(fields) => into.copy_from_slice(&fields),
                Err(field) => self
                    .context
                    .report(format!("kernel {} reads a parameter `{field}` that is not set", program.name())),
            }
        }
        let region = self.context.uniform("layers", 4 * words.len() as u64);
        region.write(&self.context.queue, 0, bytemuck::cast_slice(&words));
        region
    }

    /// Appends uniform data; returns where they begin.
    fn uniform(&mut self, bytes: &[u8]) -> u64 {
        let begin = self.uniforms.len();
        self.uniforms.extend_from_slice(bytes);
        self.uniforms.resize(begin + UNIFORM_STRIDE as usize, 0);
        begin as u64
    }

    /// Makes the bind groups.
    pub fn finish(self) -> Recording {
        let Context { device, queue, log, .. } = &*self.context;
        let buffer = |label, size, usage| {
            let usage = usage | wgpu::BufferUsages::COPY_DST;
            device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
        };
        let uniform_bytes = (self.uniforms.len() as u64).max(UNIFORM_STRIDE);
        let uniforms = buffer("parameters", uniform_bytes, wgpu::BufferUsages::UNIFORM);
        queue.write_buffer(&uniforms, 0, &self.uniforms);
        let counter_bytes: u64 = self.entries.iter().map(|entry| entry.says.counter_bytes()).sum();
        let counters = (counter_bytes > 0)
            .then(|| buffer("counters", counter_bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC))
            .map(Region::whole);
        let mut counter_offset = 0;
        let dispatches = self.entries.into_iter().map(|entry| {
            let bind_group = entry.bind_group(device, &uniforms);
            let attached = match (&entry.says, &counters, log) {
                (Says::Counts(segments), Some(buffer), _) => {
                    let offset = counter_offset;
                    counter_offset += entry.says.counter_bytes();
                    Attached::Counters(Counters::new(
                        device,
                        &entry.compiled.pipeline,
                        segments,
                        buffer.buffer(),
                        offset,
                    ))
                }
                (&Says::Log(number), _, Some(log)) => {
                    let number = uniform_binding(&uniforms, number);
                    let (next, begin, own) = log.bind(device, number, &entry.compiled.pipeline);
                    Attached::Log(next, begin, own)
                }
                _ => Attached::Nothing,
            };
            entry.into_dispatch(bind_group, attached)
        });
        Recording { dispatches: dispatches.collect(), clears: self.clears, counters }
    }
}

/// The words of the uniform struct that a kernel declares, or what is wrong.
fn uniform_words(interface: &Interface, parameters: &Parameters) -> Result<Vec<u32>, String> {
    let Interface { uniform, fields, .. } = interface;
    if uniform != parameters.name {
        return Err(format!("has parameters of type {uniform}, not {}", parameters.name));
    }
    let words = parameters.select(fields).map_err(|field| format!("reads a parameter `{field}` that is not set"))?;
    match 4 * words.len() as u64 > UNIFORM_STRIDE {
        true => Err(format!("has {} parameters, more than {UNIFORM_STRIDE} bytes", words.len())),
        false => Ok(words),
    }
}

/// `given` in the order in which a kernel declares its bindings, or what is wrong.
fn in_order(interface: &Interface, given: &[Bind]) -> Result<Vec<Region>, String> {
    let declared = &interface.bindings;
    let buffer = |name: &str| given.iter().find(|(given, _)| *given == name).map(|&(_, buffer)| buffer.clone());
    let buffers = declared
        .iter()
        .map(|binding| {
            buffer(&binding.name).ok_or_else(|| format!("has a binding `{}` that is not given", binding.name))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if given.len() == declared.len() {
        return Ok(buffers);
    }
    let unknown = given.iter().find(|(name, _)| declared.iter().all(|binding| binding.name != *name));
    Err(unknown.map_or("is given a binding twice".into(), |(name, _)| format!("has no binding `{name}`")))
}

/// The uniform data that begin at `offset`.
fn uniform_binding(uniforms: &wgpu::Buffer, offset: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer: uniforms, offset, size: NonZeroU64::new(UNIFORM_STRIDE) }
}

impl Counters {
    /// The counters of a dispatch, which begin at `offset` of `buffer`.
    fn new(
        device: &wgpu::Device,
        pipeline: &wgpu::ComputePipeline,
        segments: &Arc<[Executed]>,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Self {
        let size = NonZeroU64::new(Counted::buffer_bytes(segments));
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("counters"),
            layout: &pipeline.get_bind_group_layout(GROUP),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
        });
        Counters { segments: segments.clone(), bind_group, offset }
    }
}

impl Entry {
    fn bind_group(&self, device: &wgpu::Device, uniforms: &wgpu::Buffer) -> wgpu::BindGroup {
        let uniform = wgpu::BindingResource::Buffer(uniform_binding(uniforms, self.uniform));
        let resources = std::iter::once(uniform).chain(self.buffers.iter().map(|buffer| buffer.binding()));
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&self.label),
            layout: &self.compiled.pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    fn into_dispatch(self, bind_group: wgpu::BindGroup, attached: Attached) -> Dispatch {
        Dispatch {
            label: self.label,
            phase: self.phase,
            program: self.program,
            parameters: self.parameters,
            interface: self.compiled.interface,
            buffers: self.buffers,
            work: self.work,
            pipeline: self.compiled.pipeline,
            bind_group,
            attached,
        }
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

    /// The dispatches in `parts` passes, each for a submit of its own, so that none takes long.
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
            buffer.clear(encoder, 0);
        }
    }

    /// Adds to `kernels` what each kernel has executed since the last call, in the order of first dispatch. Waits.
    pub fn counted(&self, context: &Context, kernels: &mut Vec<KernelCount>) -> Result<()> {
        let Some(counters) = &self.counters else { return Ok(()) };
        let words: Vec<u32> = context.read_as(counters, counters.size() as usize / 4)?;
        let mut encoder = context.device.create_command_encoder(&Default::default());
        counters.clear(&mut encoder, 0);
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

#[cfg(test)]
mod tests {
    use super::super::GpuOptions;
    use super::super::params::{Params, SumParams};
    use super::super::shaders::GEMM_SUM;
    use super::*;

    /// The outcome of one dispatch of `gemm_sum` with these parameters and bindings, on a backend that computes nothing.
    fn recorded(parameters: impl Uniform, names: &[&'static str]) -> Result<Recording> {
        let options = GpuOptions { backends: Some(wgpu::Backends::NOOP), ..GpuOptions::default() };
        let mut context = Context::open(&options)?;
        let buffers: Vec<_> = names.iter().map(|name| context.storage(name, 64)).collect::<Result<_>>()?;
        let bindings: Vec<_> = names.iter().copied().zip(&buffers).collect();
        let mut r = Recorder::new(&mut context);
        r.add("sum", GEMM_SUM, parameters, &bindings, Work::Groups(1));
        let recording = r.finish();
        context.check()?;
        Ok(recording)
    }

    #[test]
    fn bindings_are_found_by_name() {
        let p = SumParams { quads: 3, ..SumParams::default() };
        let recording = recorded(p, &["out", "parts"]).unwrap();
        let [dispatch] = &recording.dispatches[..] else { panic!("one dispatch") };
        let names: Vec<&str> = dispatch.interface.bindings.iter().map(|binding| binding.name.as_str()).collect();
        assert_eq!((names, dispatch.parameters.get("quads")), (vec!["parts", "out"], Some(3)));

        let fault = |names: &[&'static str]| recorded(p, names).err().unwrap().to_string();
        let expect = |names: &[&'static str], what: &str| {
            let fault = fault(names);
            assert!(fault.contains(&format!("sum: kernel gemm_sum {what}")), "{fault}");
        };
        expect(&["out"], "has a binding `parts` that is not given");
        expect(&["out", "parts", "counts"], "has no binding `counts`");
        expect(&["out", "parts", "out"], "is given a binding twice");
        let fault = recorded(Params::default(), &["out", "parts"]).err().unwrap().to_string();
        assert!(fault.contains("sum: kernel gemm_sum has parameters of type SumParams, not Params"), "{fault}");
    }
}
