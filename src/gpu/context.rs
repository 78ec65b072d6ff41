//! An open device with its pipelines, built once; and every error that wgpu reports, turned into ours.

use super::adapter::{AdapterSummary, GpuOptions, Instrument, Tier, open};
use super::count::{Counted, Work};
use super::interface::Interface;
use super::races::{AccessLog, Logged, Sites};
use super::region::Region;
use super::shaders::Program;
use super::signal::Signal;
use super::variant::Variant;
use crate::error::{Error, Result};
use crate::platform::{Instant, block_on};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest wait for the device before it counts as hung.
#[cfg(not(target_family = "wasm"))]
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes copied between host and device at once. A copy takes as much memory again while it is under way.
const PIECE: usize = 16 << 20;
/// Uploads of fewer bytes are not waited for.
const SMALL: usize = 1 << 20;
/// Longest wait for the reason of a failure.
const HEARING: Duration = Duration::from_secs(2);

/// A device, its queue and the programs compiled so far.
pub struct Context {
    /// What the adapter is.
    pub adapter: AdapterSummary,
    /// Hardware or software.
    pub tier: Tier,
    /// The variant of the sparse kernels.
    pub variant: Variant,
    /// Whether workgroups are small: [`narrow`](super::squeeze::narrow).
    pub narrow: bool,
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// Largest buffer that a kernel can bind, bytes.
    pub binding: u64,
    checked: bool,
    shaders: Option<PathBuf>,
    compiled: HashMap<Program, Compiled>,
    /// How long each pipeline took to compile, ms.
    pub compile_ms: Vec<(String, f64)>,
    /// How kernels are instrumented.
    instrument: Option<Instrument>,
    /// Where kernels log their accesses.
    pub log: Option<AccessLog>,
    trouble: Note,
    lost: Note,
}

/// A program that is ready to run.
#[derive(Clone)]
pub struct Compiled {
    /// The pipeline.
    pub pipeline: wgpu::ComputePipeline,
    /// The uniform fields and bindings that its text declares.
    pub interface: Arc<Interface>,
    /// `None` if it is not instrumented.
    pub instrumented: Option<Instrumented>,
}

/// What an instrumented kernel records.
#[derive(Clone)]
pub enum Instrumented {
    /// The cost of each of its segments; it counts how often they run.
    Counted(Arc<[Work]>),
    /// The accesses that its log refers to.
    Logged(Arc<Sites>),
}

/// The first message of its kind.
type Note = Arc<Mutex<Option<String>>>;

impl Context {
    /// Opens an adapter, and waits for it.
    pub fn open(options: &GpuOptions) -> Result<Self> {
        block_on(Self::request(options))
    }

    /// Opens an adapter.
    pub async fn request(options: &GpuOptions) -> Result<Self> {
        let opened = open(options).await?;
        let (trouble, lost) = (Note::default(), Note::default());
        let note = |into: &Note| {
            let into = Arc::clone(into);
            move |message: String| {
                into.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
            }
        };
        let on_error = note(&trouble);
        opened.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| on_error(error.to_string())));
        let on_lost = note(&lost);
        opened.device.set_device_lost_callback(move |reason, message| {
            // Dropping the device at the end of its life is not a loss.
            if reason != wgpu::DeviceLostReason::Destroyed || !message.contains("dropped") {
                let why = if message.is_empty() { format!("{reason:?}") } else { message };
                on_lost(format!("the GPU was lost ({why})"));
            }
        });
        let log = (options.instrument == Some(Instrument::Races)).then(|| AccessLog::new(&opened.device));
        let limits = opened.device.limits();
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        Ok(Context {
            binding: options.max_binding.unwrap_or(most).min(most),
            adapter: opened.summary,
            tier: opened.tier,
            variant: opened.variant,
            narrow: opened.narrow,
            device: opened.device,
            queue: opened.queue,
            checked: options.is_checked(),
            shaders: options.shaders.clone(),
            compiled: HashMap::new(),
            compile_ms: Vec::new(),
            instrument: options.instrument,
            log,
            trouble,
            lost,
        })
    }

    /// The program as this device runs it.
    pub fn adapted(&self, program: Program) -> Program {
        if self.narrow { program.with_few_lanes() } else { program }
    }

    /// A program that is [`adapted`](Self::adapted), compiled at its first use.
    pub fn compiled(&mut self, program: &Program) -> Compiled {
        if let Some(compiled) = self.compiled.get(program) {
            return compiled.clone();
        }
        let label = program.name();
        // The last such line names the kernel that a driver crashes or hangs on.
        log::debug!("compiling {label}");
        let clock = Instant::now();
        let compiled = self.compile(program, &label);
        self.compile_ms.push((label, 1e3 * clock.elapsed().as_secs_f64()));
        self.compiled.insert(program.clone(), compiled.clone());
        compiled
    }

    fn compile(&self, program: &Program, label: &str) -> Compiled {
        let Program { kernel, defined, constants } = program;
        let edited = self.shaders.as_ref().and_then(|folder| kernel.edited(folder, defined));
        let checked = self.checked || edited.is_some();
        let text = edited.unwrap_or_else(|| kernel.wgsl(defined));
        let interface = Arc::new(Interface::of(&text));
        let rewritten = self.instrument.map(|instrument| match instrument {
            Instrument::Count => Counted::new(&text).map(|it| (it.module, Instrumented::Counted(it.segments.into()))),
            Instrument::Races => Logged::new(&text).map(|it| (it.module, Instrumented::Logged(it.sites.into()))),
        });
        let (source, instrumented) = match rewritten {
            Some(Ok((module, says))) => (wgpu::ShaderSource::Naga(Cow::Owned(module)), Some(says)),
            Some(Err(error)) => {
                self.report(error.to_string());
                (wgpu::ShaderSource::Wgsl(text.into()), None)
            }
            None => (wgpu::ShaderSource::Wgsl(text.into()), None),
        };
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source };
        let module = match checked {
            true => self.device.create_shader_module(descriptor),
            // SAFETY: the shaders are ours and embedded in the program; they clamp every index that comes from a
            // count, their loops end, and the tests run all of them with the checks on.
            false => unsafe {
                self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
        };
        let constants: Vec<_> = constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Compiled { pipeline, interface, instrumented }
    }

    /// Makes the next [`check`](Self::check) fail with `message`, unless something was reported before.
    pub fn report(&self, message: String) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }

    /// Submits dispatches. If kernels log their accesses, waits and analyses the log.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex> {
        let submission = self.queue.submit([encoder.finish()]);
        self.log.as_ref().map_or(Ok(()), |log| log.drain(self))?;
        Ok(submission)
    }

    /// A zeroed storage buffer.
    ///
    /// # Errors
    /// More bytes than the device binds at once.
    pub fn storage(&self, label: &str, bytes: u64) -> Result<Region> {
        if bytes > self.binding {
            return Err(Error::Device(format!(
                "{label} would take {bytes} bytes, {} binds at most {} at once; use a smaller batch or narrower layers",
                self.adapter.name, self.binding
            )));
        }
        Ok(Region::whole(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })))
    }

    /// [`storage`](Self::storage), or `None` if the device is out of memory.
    pub fn storage_if_it_fits(&self, label: &str, bytes: u64) -> Result<Option<Region>> {
        block_on(self.request_storage(label, bytes))
    }

    /// [`storage_if_it_fits`](Self::storage_if_it_fits), to be awaited.
    pub async fn request_storage(&self, label: &str, bytes: u64) -> Result<Option<Region>> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.storage(label, bytes);
        let trouble = scope.pop().await;
        Ok(Some(buffer?).filter(|_| trouble.is_none()))
    }

    /// A uniform buffer.
    pub fn uniform(&self, label: &str, bytes: u64) -> Region {
        Region::whole(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }))
    }

    /// A buffer that the host can map for reading.
    pub fn readback(&self, bytes: u64) -> Region {
        Region::whole(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: bytes.next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }))
    }

    /// The first error that was reported since the last call; if the device was lost, that at every call.
    pub fn check(&self) -> Result<()> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if trouble.is_some() {
            self.listen();
        }
        if let Some(message) = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(Error::DeviceLost(message));
        }
        trouble.map_or(Ok(()), |message| Err(Error::Device(message)))
    }

    /// Lets a lost device report its loss, which it does when no work is under way; calls fail before that.
    fn listen(&self) {
        drop(self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(HEARING) }));
    }

    /// `message` as an error; if the device was lost or reported something, that instead.
    pub fn fault(&self, message: String) -> Error {
        self.listen();
        self.check().err().unwrap_or(Error::Device(message))
    }

    /// Lets callbacks run without waiting.
    pub fn poll(&self) -> Result<()> {
        let outcome = self.device.poll(wgpu::PollType::Poll);
        self.check()?;
        outcome.map(drop).map_err(|e| self.fault(e.to_string()))
    }

    /// Waits for a submission, or for all of them.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        block_on(self.finished(submission))
    }

    /// Completes when a submission, or all of them, are done. A browser waits for all of them, without a timeout.
    #[cfg(target_family = "wasm")]
    pub async fn finished(&self, _submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let done = Signal::default();
        let told = done.clone();
        self.queue.on_submitted_work_done(move || told.tell());
        done.await;
        self.check()
    }

    /// Completes when a submission, or all of them, are done. Blocks, because wgpu only lets one wait by polling.
    #[cfg(not(target_family = "wasm"))]
    pub async fn finished(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let outcome = self.device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: Some(PATIENCE) });
        self.check()?;
        // A submission to a device that has just been lost cannot be waited for.
        outcome.map(drop).map_err(|e| {
            self.fault(format!(
                "{} did not finish within {} s ({e}); a smaller batch makes shorter steps",
                self.adapter.name,
                PATIENCE.as_secs()
            ))
        })
    }

    /// Copies `bytes` to a buffer, from its byte `offset` on, piece by piece.
    pub fn upload(&self, buffer: &Region, offset: u64, bytes: &[u8]) -> Result<()> {
        for (k, piece) in bytes.chunks(PIECE).enumerate() {
            buffer.write(&self.queue, offset + (k * PIECE) as u64, piece);
            // The driver keeps a copy of the bytes until then. A browser cannot wait here.
            if piece.len() >= SMALL && cfg!(not(target_family = "wasm")) {
                self.wait(Some(self.queue.submit([])))?;
            }
        }
        Ok(())
    }

    /// Copies the beginning of a buffer to the host, piece by piece.
    pub async fn fetch(&self, buffer: &Region, out: &mut [u8]) -> Result<()> {
        let target = self.readback(out.len().min(PIECE) as u64);
        for (k, piece) in out.chunks_mut(PIECE).enumerate() {
            let bytes = piece.len() as u64;
            let mut encoder = self.device.create_command_encoder(&Default::default());
            buffer.copy(&mut encoder, (k * PIECE) as u64, &target, 0, bytes.next_multiple_of(4));
            let submission = self.queue.submit([encoder.finish()]);
            let slice = target.buffer().slice(..bytes);
            self.mapped(&slice, submission).await?;
            let view = slice.get_mapped_range().map_err(|e| self.fault(format!("reading back: {e}")))?;
            piece.copy_from_slice(&view);
            drop(view);
            target.buffer().unmap();
        }
        Ok(())
    }

    /// Completes when the host can read a buffer that a submission writes.
    pub async fn mapped(&self, slice: &wgpu::BufferSlice<'_>, submission: wgpu::SubmissionIndex) -> Result<()> {
        let done = Signal::default();
        let told = done.clone();
        slice.map_async(wgpu::MapMode::Read, move |_| told.tell());
        // Polling has run the callback, unless the device was lost.
        self.finished(Some(submission)).await?;
        #[cfg(target_family = "wasm")]
        {
            done.await;
            self.check()?;
        }
        Ok(())
    }

    /// Reads the first `n` numbers of a buffer, and waits for them.
    pub fn read_as<T: bytemuck::Pod>(&self, buffer: &Region, n: usize) -> Result<Vec<T>> {
        let mut out = vec![T::zeroed(); n];
        block_on(self.fetch(buffer, bytemuck::cast_slice_mut(&mut out)))?;
        Ok(out)
    }
}
