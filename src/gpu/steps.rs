//! Queue of training steps: several are encoded per submit, and their reports are read when they are done.

use super::GpuEngine;
use super::buffers::{State, report_words, slot_words};
use super::context::Context;
use super::params::AdamParams;
use super::pieces::Piece;
use super::region::Region;
use super::sparse::Purpose;
use crate::engine::{LossTerms, NotFinite, StepReport};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;
use crate::platform::Instant;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most steps encoded into one submit.
pub const STEPS_PER_SUBMIT: usize = 16;
/// Most submits under way; then the host waits for the oldest.
const IN_FLIGHT: usize = 3;
/// Default seconds of work in a submit.
const SUBMIT_SECONDS: f64 = 0.2;
/// Dispatches in a submit while the time of a step is unknown.
const UNKNOWN_PACE: usize = 8;

/// The samples of a step.
pub enum Input {
    /// A batch from the host.
    Batch(EventSet),
    /// Samples of the training set on the device.
    Held(Vec<u32>),
}

/// A training step.
pub struct Job {
    /// Its number.
    pub step: u64,
    /// Its samples.
    pub input: Input,
    /// Its optimiser.
    pub adam: Adam,
}

/// Steps of a submit (or one step in several submits) whose reports have not been read.
pub struct Submitted {
    jobs: Vec<Job>,
    /// Reports of each job: one for each piece.
    pieces: usize,
    readback: Region,
    mapped: Arc<AtomicBool>,
    submission: wgpu::SubmissionIndex,
    began: Instant,
}

impl Submitted {
    /// Whether its reports can be read.
    pub fn done(&self) -> bool {
        self.mapped.load(Ordering::Acquire)
    }
}

/// The speed of steps as seen by the host.
#[derive(Debug, Default)]
pub struct Pace {
    seconds_per_sample: Option<f64>,
    last_done: Option<Instant>,
}

impl Pace {
    fn saw(&mut self, began: Instant, samples: usize) {
        let now = Instant::now();
        let since = self.last_done.map_or(began, |last| last.max(began));
        let seen = now.duration_since(since).as_secs_f64() / samples.max(1) as f64;
        self.last_done = Some(now);
        self.seconds_per_sample = Some(self.seconds_per_sample.map_or(seen, |before| 0.5 * (before + seen)));
    }

    /// Submits that a step of `samples` samples should be spread over; 1 if several such steps fit into one.
    fn parts(&self, samples: usize, dispatches: usize, bound: f64) -> usize {
        let parts = match self.seconds_per_sample {
            None => dispatches.div_ceil(UNKNOWN_PACE),
            Some(seconds) => (seconds * samples as f64 / bound).ceil() as usize,
        };
        parts.clamp(1, dispatches.max(1))
    }

    /// Steps of `samples` samples that one submit should hold.
    fn steps(&self, samples: usize, bound: f64) -> usize {
        match self.seconds_per_sample {
            None => 1,
            Some(seconds) => ((bound / (seconds * samples as f64)) as usize).clamp(1, STEPS_PER_SUBMIT),
        }
    }
}

/// The report's words, by name.
#[derive(Clone)]
pub struct Report(pub Vec<u32>);

impl Report {
    /// Makes sure that the pass ran to its end: its last kernel reports its number.
    pub fn check(&self, context: &Context, step: u32) -> Result<()> {
        match self.0[0] == step {
            true => Ok(()),
            false => Err(context.fault(format!(
                "step {step} did not run to its end (its report says {}); the driver may have cut it short: use a \
                 smaller batch",
                self.0[0]
            ))),
        }
    }

    pub fn overflowed(&self) -> bool {
        self.0[1] != 0
    }

    pub fn spikes(&self, l: usize) -> u32 {
        self.0[4 + 4 * l]
    }

    pub fn active(&self, l: usize) -> u32 {
        self.0[5 + 4 * l]
    }

    /// Bits of the layers with a potential, and of those with a weight, that is not finite.
    pub fn not_finite(&self) -> (u32, u32) {
        let n = self.0.len();
        (self.0[n - 3], self.0[n - 2])
    }

    /// Whether the driver ended loops before their time.
    pub fn cut_short(&self) -> bool {
        self.0.last().is_some_and(|&cut| cut != 0)
    }

    pub fn float(&self, at: usize) -> f64 {
        f64::from(f32::from_bits(self.0[at]))
    }

    pub fn loss(&self) -> LossTerms {
        let spiking = 0..(self.0.len() - 7) / 4;
        LossTerms {
            task: self.float(2),
            upper: spiking.clone().map(|l| self.float(6 + 4 * l)).sum(),
            lower: spiking.map(|l| self.float(7 + 4 * l)).sum(),
        }
    }
}

/// llvmpipe (lavapipe, Mesa's OpenGL) ends an invocation after so many iterations of its loops, without an error.
const LLVMPIPE_ITERATIONS: u64 = 65_535;

/// Refuses results of llvmpipe for samples with so many spikes that a kernel cannot have read all of them. `spikes` are those of
/// each layer, summed over `samples` samples.
pub(super) fn check_loops(adapter: &str, spikes: &[u64], samples: usize) -> Result<()> {
    match spikes.iter().max() {
        Some(&most) if adapter.contains("llvmpipe") && most > LLVMPIPE_ITERATIONS * samples as u64 => {
            Err(Error::Device(format!(
                "a layer has {} spikes per sample, and llvmpipe ends the loops of a kernel after {LLVMPIPE_ITERATIONS}, so the \
                 results are wrong; use the cpu device, another adapter, or fewer spikes (a higher v_th, smaller weights)",
                most / samples.max(1) as u64
            )))
        }
        _ => Ok(()),
    }
}

/// The error of a step in which the driver ended loops before their time.
pub(super) fn loops_cut_short() -> Error {
    Error::Device(format!(
        "llvmpipe ended a kernel after {LLVMPIPE_ITERATIONS} iterations of its loops, so the results are wrong; use the cpu device, \
         another adapter, fewer spikes (a higher v_th, smaller weights), fewer active entries (a smaller b_th), or fewer samples at a \
         time (a smaller delta_mib)"
    ))
}

impl GpuEngine {
    fn job_samples(&self, job: &Job) -> usize {
        match &job.input {
            Input::Batch(batch) => batch.len(),
            Input::Held(samples) => samples.len(),
        }
    }

    /// Input events of some of a job's samples.
    fn job_events(&self, job: &Job, range: Range<usize>) -> usize {
        match (&job.input, &self.held) {
            (Input::Batch(batch), _) => (batch.starts()[range.end] - batch.starts()[range.start]) as usize,
            (Input::Held(samples), Some(held)) => {
                samples[range].iter().map(|&sample| held.set.sample(sample as usize).len()).sum()
            }
            (Input::Held(_), None) => 0,
        }
    }

    fn submit_seconds(&self) -> f64 {
        self.options.submit_seconds.unwrap_or(SUBMIT_SECONDS).max(1e-6)
    }

    /// Queues a step, and submits what is queued if the device has nothing to do or a submit is full.
    pub(super) fn enqueue(&mut self, input: Input, adam: Adam) -> Result<()> {
        let batch = matches!(input, Input::Batch(_));
        self.open = None;
        self.jobs.push_back(Job { step: self.step + 1, input, adam });
        self.step += 1;
        self.context.poll()?;
        let samples = self.jobs.back().map_or(0, |job| self.job_samples(job));
        let full = self.jobs.len() >= self.pace.steps(samples, self.submit_seconds());
        if batch || full || self.submitted.iter().all(Submitted::done) {
            self.flush()?;
        }
        Ok(())
    }

    /// Submits every queued step; on failure, steps that were not submitted are dropped.
    pub(super) fn flush(&mut self) -> Result<()> {
        let outcome = self.submit_jobs();
        if outcome.is_err() {
            self.step -= self.jobs.len() as u64;
            self.jobs.clear();
        }
        outcome
    }

    fn submit_jobs(&mut self) -> Result<()> {
        while let Some(job) = self.jobs.front() {
            if self.submitted.len() >= IN_FLIGHT {
                self.wait_for_oldest()?;
                continue;
            }
            if !self.has_room(job) {
                // New buffers have no overflow flag. A submitted step may have raised it, and must be repeated before any
                // later one.
                if !self.submitted.is_empty() {
                    self.wait_for_oldest()?;
                    continue;
                }
                self.make_room_for_first()?;
                continue;
            }
            let Some(state) = &self.state else { return Err(Error::Device("no buffers".into())) };
            let (most, samples) = (state.sizes.batch, self.job_samples(job));
            // Several steps may share a submit if each is whole and comes from the set on the device.
            let together =
                |job: &Job| matches!(job.input, Input::Held(_)) && self.job_samples(job) <= most && self.has_room(job);
            let steps = self.pace.steps(samples, self.submit_seconds());
            let n = self.jobs.iter().take(steps).take_while(|job| together(job)).count();
            let jobs: Vec<Job> = self.jobs.drain(..n.max(1)).collect();
            let n = jobs.len() as u64;
            if let Err(error) = self.submit(jobs) {
                self.step -= n;
                return Err(error);
            }
        }
        Ok(())
    }

    fn has_room(&self, job: &Job) -> bool {
        let samples = self.job_samples(job);
        let Some(state) = self.state.as_ref().filter(|_| samples <= self.wanted) else { return false };
        Piece::of(samples, state.sizes.batch, Purpose::Train, false)
            .all(|(_, range)| self.job_events(job, range) <= state.sizes.input_events)
    }

    fn make_room_for_first(&mut self) -> Result<()> {
        let Some(job) = self.jobs.pop_front() else { return Ok(()) };
        let samples = self.job_samples(&job);
        let outcome = self.make_room_of(samples, |engine, range| engine.job_events(&job, range));
        self.jobs.push_front(job);
        outcome
    }

    /// The number and the constants of a step, as in a slot.
    fn constants(step: u64, adam: &Adam) -> [u32; 12] {
        let mut words = [0; 12];
        words[0] = step as u32;
        words[4..10].copy_from_slice(bytemuck::cast_slice(bytemuck::bytes_of(&AdamParams::from(adam.constants(step)))));
        words
    }

    /// Copies slot `k` to where the next step reads it.
    fn encode_slot(encoder: &mut wgpu::CommandEncoder, state: &State, k: usize, samples: Option<usize>) {
        let at = 4 * (k * slot_words(state.sizes.batch)) as u64;
        state.status.clear(encoder, 4);
        state.slots.copy(encoder, at, &state.step, 0, 16);
        state.slots.copy(encoder, at + 16, &state.adam, 0, 32);
        if let Some(samples) = samples {
            let bytes = 16 * (samples as u64 + 1);
            state.slots.copy(encoder, at + 48, &state.input.samples, 0, bytes);
        }
    }

    /// Copies the flags of a step into its report, and the report into place `k` of the readback buffer.
    fn encode_report(encoder: &mut wgpu::CommandEncoder, state: &State, readback: &Region, k: usize) {
        Self::encode_flags(encoder, state);
        let bytes = 4 * report_words(state.sizes.capacity.len()) as u64;
        state.report.copy(encoder, 0, readback, k as u64 * bytes, bytes);
    }

    /// Copies the flags of a step into its report.
    pub(super) fn encode_flags(encoder: &mut wgpu::CommandEncoder, state: &State) {
        let at = 4 * (report_words(state.sizes.capacity.len()) as u64 - 3);
        state.status.copy(encoder, 4, &state.report, at, 12);
    }

    /// Encodes and submits steps without waiting: several whole ones from the set on the device, or one of any kind.
    fn submit(&mut self, jobs: Vec<Job>) -> Result<()> {
        let Some(most) = self.state.as_ref().map(|state| state.sizes.batch) else { return Ok(()) };
        let samples = jobs.first().map_or(0, |job| self.job_samples(job));
        let held = matches!(jobs.first(), Some(Job { input: Input::Held(_), .. }));
        let pieces: Vec<_> = Piece::of(samples, most, Purpose::Train, held).collect();
        for job in &jobs {
            for (piece, _) in Piece::of(self.job_samples(job), most, Purpose::Train, held) {
                self.record(piece)?;
            }
        }
        let words = report_words(self.network.spiking().count()) as u64;
        let reports = jobs.len().max(pieces.len());
        let readback = self.readback(4 * words * reports as u64);
        let began = Instant::now();
        let submission = match (&jobs[..], &pieces[..]) {
            ([_, _, ..], _) => self.submit_together(&jobs, &readback)?,
            ([job], pieces) => self.submit_alone(job, pieces, &readback)?,
            _ => return Ok(()),
        };
        let mapped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&mapped);
        readback.buffer().slice(..).map_async(wgpu::MapMode::Read, move |result| {
            flag.store(result.is_ok(), Ordering::Release);
        });
        self.submitted.push_back(Submitted { jobs, pieces: pieces.len(), readback, mapped, submission, began });
        Ok(())
    }

    fn submit_together(&mut self, jobs: &[Job], readback: &Region) -> Result<wgpu::SubmissionIndex> {
        let (Some(state), Some(held)) = (&self.state, &self.held) else {
            return Err(Error::Device("the device holds no training set".into()));
        };
        let stride = slot_words(state.sizes.batch);
        self.words.clear();
        let mut encoder = self.context.device.create_command_encoder(&Default::default());
        for (k, job) in jobs.iter().enumerate() {
            self.words.resize(k * stride, 0);
            self.words.extend(Self::constants(job.step, &job.adam));
            let Input::Held(samples) = &job.input else { continue };
            if let Some(resident) = &held.resident {
                resident.describe(&held.set, samples, &mut self.words);
            }
            let n = samples.len();
            let piece = Piece { samples: n, total: n, first: true, last: true, purpose: Purpose::Train, held: true };
            let Some(recording) = self.recordings.get(&piece) else {
                return Err(Error::Device("the step was not recorded".into()));
            };
            Self::encode_slot(&mut encoder, state, k, Some(n));
            recording.encode(&mut encoder);
            Self::encode_report(&mut encoder, state, readback, k);
        }
        state.slots.write(&self.context.queue, 0, bytemuck::cast_slice(&self.words));
        self.context.submit(encoder)
    }

    fn submit_alone(
        &mut self,
        job: &Job,
        pieces: &[(Piece, Range<usize>)],
        readback: &Region,
    ) -> Result<wgpu::SubmissionIndex> {
        let mut submission = None;
        for (k, (piece, range)) in pieces.iter().enumerate() {
            self.words.clear();
            self.words.extend(Self::constants(job.step, &job.adam));
            let mut samples = None;
            match (&job.input, &self.held) {
                (Input::Batch(batch), _) => self.write_batch(&part(batch, range, pieces.len())),
                (Input::Held(all), Some(held)) => {
                    let chosen = &all[range.clone()];
                    if let Some(resident) = &held.resident {
                        resident.describe(&held.set, chosen, &mut self.words);
                    }
                    samples = Some(chosen.len());
                }
                (Input::Held(_), None) => return Err(Error::Device("the device holds no training set".into())),
            }
            let Some(state) = &self.state else { return Err(Error::Device("no buffers".into())) };
            state.slots.write(&self.context.queue, 0, bytemuck::cast_slice(&self.words));
            submission = Some(self.submit_piece(
                piece,
                |encoder| Self::encode_slot(encoder, state, 0, samples),
                |encoder| Self::encode_report(encoder, state, readback, k),
            )?);
        }
        submission.ok_or_else(|| Error::Device("a step without samples".into()))
    }

    /// Submits a recorded piece, in parts if one submit would take too long.
    pub(super) fn submit_piece(
        &self,
        piece: &Piece,
        before: impl FnOnce(&mut wgpu::CommandEncoder),
        after: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        let Some(recording) = self.recordings.get(piece) else {
            return Err(Error::Device("the step was not recorded".into()));
        };
        let new_encoder = || self.context.device.create_command_encoder(&Default::default());
        let mut encoder = new_encoder();
        before(&mut encoder);
        recording.encode_clears(&mut encoder);
        let parts = self.pace.parts(piece.samples, recording.dispatches.len(), self.submit_seconds());
        for (k, encode) in recording.encode_parts(parts).enumerate() {
            if k > 0 {
                self.context.submit(std::mem::replace(&mut encoder, new_encoder()))?;
            }
            encode(&mut encoder);
        }
        after(&mut encoder);
        self.context.submit(encoder)
    }

    /// Uploads a batch into its buffers. Queued writes come after the steps submitted before them.
    pub(super) fn write_batch(&self, batch: &EventSet) {
        let Some(state) = &self.state else { return };
        let put = |buffer: &Region, words: &[u32]| {
            if !words.is_empty() {
                buffer.write(&self.context.queue, 0, bytemuck::cast_slice(words));
            }
        };
        put(&state.input.starts, batch.starts());
        put(&state.input.events, bytemuck::cast_slice(batch.events()));
        put(&state.input.labels, batch.labels());
    }

    /// Writes the constants of the next step, for a profile.
    pub(super) fn write_constants(&self, step: u64, adam: &Adam) {
        let Some(state) = &self.state else { return };
        let words = Self::constants(step, adam);
        state.step.write(&self.context.queue, 0, bytemuck::cast_slice(&words[..4]));
        state.adam.write(&self.context.queue, 0, bytemuck::cast_slice(&words[4..]));
    }

    /// A buffer for reports: a used one if it is large enough.
    fn readback(&mut self, bytes: u64) -> Region {
        match self.spare_readbacks.iter().position(|buffer| buffer.size() >= bytes) {
            Some(k) => self.spare_readbacks.swap_remove(k),
            None => {
                let usual = 4 * report_words(self.network.spiking().count()) * STEPS_PER_SUBMIT;
                self.context.readback(bytes.max(usual as u64))
            }
        }
    }

    fn wait_for_oldest(&mut self) -> Result<()> {
        let Some(oldest) = self.submitted.front() else { return Ok(()) };
        let submission = oldest.submission.clone();
        self.context.wait(Some(submission))?;
        self.finish_oldest()
    }

    /// Reads the reports of the oldest submit, which must be done.
    pub(super) fn finish_oldest(&mut self) -> Result<()> {
        let Some(mut done) = self.submitted.pop_front() else { return Ok(()) };
        let reports = self.read_reports(&done)?;
        let samples = done.jobs.iter().map(|job| self.job_samples(job)).sum();
        self.pace.saw(done.began, samples);
        for (k, reports) in reports.chunks(done.pieces).enumerate() {
            if reports.iter().any(Report::overflowed) {
                return self.run_again(done.jobs.drain(k..).collect(), reports);
            }
            if reports.iter().any(Report::cut_short) {
                return Err(loops_cut_short());
            }
            let job = &done.jobs[k];
            let input = self.job_events(job, 0..self.job_samples(job)) as u64;
            let report = self.step_report(reports, job.step, self.job_samples(job), input)?;
            self.finished.push(report);
        }
        Ok(())
    }

    /// The report of a step on `samples` samples with `input` events, from those of its pieces.
    pub(super) fn step_report(&self, pieces: &[Report], step: u64, samples: usize, input: u64) -> Result<StepReport> {
        let spiking = self.network.spiking().count();
        let sum = |of: &dyn Fn(&Report) -> u64| pieces.iter().map(of).sum::<u64>();
        let spikes = (0..spiking).map(|l| sum(&|r| u64::from(r.spikes(l))));
        let mut loss = LossTerms::default();
        pieces.iter().for_each(|report| loss.add(&report.loss()));
        let spikes: Vec<u64> = std::iter::once(input).chain(spikes).collect();
        check_loops(&self.context.adapter.name, &spikes, samples)?;
        Ok(StepReport {
            step,
            samples,
            loss,
            correct: sum(&|r| r.float(3) as u64) as usize,
            spikes,
            active: (0..spiking).map(|l| sum(&|r| u64::from(r.active(l)))).collect(),
            not_finite: pieces.iter().find_map(|report| NotFinite::of(report.not_finite())),
        })
    }

    fn read_reports(&mut self, done: &Submitted) -> Result<Vec<Report>> {
        let step = done.jobs.first().map_or(0, |job| job.step);
        if !done.done() {
            return Err(self.context.fault(format!("the report of step {step} could not be read")));
        }
        let words = report_words(self.network.spiking().count());
        let n = done.jobs.len() * done.pieces;
        let all: Vec<u32> = {
            let view = done
                .readback
                .buffer()
                .slice(..4 * (n * words) as u64)
                .get_mapped_range()
                .map_err(|e| self.context.fault(format!("the report of step {step}: {e}")))?;
            bytemuck::pod_collect_to_vec(&view)
        };
        done.readback.buffer().unmap();
        self.spare_readbacks.push(done.readback.clone());
        let reports: Vec<Report> = all.chunks(words).map(|words| Report(words.to_vec())).collect();
        for (k, report) in reports.iter().enumerate() {
            let job = &done.jobs[k / done.pieces];
            report.check(&self.context, job.step as u32)?;
        }
        Ok(reports)
    }

    /// A list of the first of `jobs` overflowed: the device withheld its update and all later ones. Grows the buffers and
    /// puts all of them back into the queue, in order.
    fn run_again(&mut self, mut jobs: Vec<Job>, reports: &[Report]) -> Result<()> {
        self.context.wait(None)?;
        for behind in self.submitted.drain(..) {
            behind.readback.buffer().unmap();
            self.spare_readbacks.push(behind.readback);
            jobs.extend(behind.jobs);
        }
        for job in jobs.into_iter().rev() {
            self.jobs.push_front(job);
        }
        self.grow(reports)
    }

    /// Waits for every queued step, including repeated ones.
    pub(super) fn finish_all(&mut self) -> Result<()> {
        loop {
            self.flush()?;
            if self.submitted.is_empty() {
                return Ok(());
            }
            self.wait_for_oldest()?;
        }
    }
}

/// The samples of a piece.
pub fn part<'a>(batch: &'a EventSet, range: &Range<usize>, pieces: usize) -> Cow<'a, EventSet> {
    if pieces == 1 {
        return Cow::Borrowed(batch);
    }
    let mut part = EventSet::new(0, 0);
    let samples: Vec<u32> = range.clone().map(|b| b as u32).collect();
    part.gather(batch, &samples);
    Cow::Owned(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Method};
    use crate::gpu::GpuOptions;
    use crate::network::Network;
    use crate::presets;
    use crate::weights::Weights;

    fn network() -> Network {
        let mut network = presets::ours("fmnist").unwrap().network;
        (network.inputs, network.time_steps) = (30, 40);
        network.integrator_mut().unwrap().classes = 2;
        network.set_hidden(&[40, 20]).unwrap();
        network
    }

    /// 20 samples, the later ones with many spikes.
    fn set() -> EventSet {
        let mut set = EventSet::new(30, 40);
        for b in 0..20 {
            let spikes = (0..1200).filter(|k| (k * 7919 + b * 104_729) % 97 < 2 * b);
            set.push(spikes.map(|k| (k / 30, k % 30)), (b % 2) as u32).unwrap();
        }
        set
    }

    fn engine(density: f64) -> GpuEngine {
        let options = GpuOptions { density_guess: Some(density), ..GpuOptions::default() };
        let weights = Weights::init(&network(), 1);
        let mut engine = GpuEngine::new(&network(), Method::Sparse, &weights, options).unwrap();
        engine.hold(Arc::new(set())).unwrap();
        engine
    }

    /// Sixteen steps in one submit and four in the next, lists that overflow in the middle of the first: the bits of
    /// single steps in lists that were large from the beginning.
    #[test]
    fn an_overflow_in_the_middle_of_a_submit() {
        let adam = Adam::with_lr(1e-2);
        let samples = |k: u32| vec![k, k / 3, k / 2, k];
        let mut single = engine(1.0);
        for k in 0..20 {
            single.train_held(&samples(k), &adam).unwrap();
            assert_eq!(single.reports(true).unwrap().len(), 1);
        }
        for density in [1.0, 1e-9] {
            let mut several = engine(density);
            several.pace.seconds_per_sample = Some(1e-9);
            several.step = 20;
            // Room for the largest batch of the twenty; how long the lists are is another matter.
            several.make_room_of(4, |_, range| 500 * range.len()).unwrap();
            let jobs = (0..20).map(|k| Job { step: u64::from(k) + 1, input: Input::Held(samples(k)), adam });
            several.jobs.extend(jobs);
            several.flush().unwrap();
            assert_eq!(several.submitted.iter().map(|s| s.jobs.len()).collect::<Vec<_>>(), [16, 4]);
            let before = several.rates.clone();
            several.wait_for_oldest().unwrap();
            match density == 1.0 {
                true => assert_eq!((several.finished.len(), &several.rates), (16, &before)),
                false => {
                    assert!((1..16).contains(&several.finished.len()), "{} without overflow", several.finished.len());
                    assert!(several.rates != before && several.submitted.is_empty());
                    assert_eq!(several.jobs.len() + several.finished.len(), 20);
                }
            }
            let reports = several.reports(true).unwrap();
            assert_eq!(reports.iter().map(|r| r.step).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
            assert!(several.store().unwrap() == single.store().unwrap(), "other bits, density {density}");
        }
    }

    #[test]
    fn work_of_a_submit_is_bounded() {
        let mut pace = Pace::default();
        assert_eq!((pace.steps(256, 0.2), pace.parts(256, 40, 0.2)), (1, 5));
        pace.seconds_per_sample = Some(0.05 / 256.0);
        assert_eq!((pace.steps(256, 0.2), pace.parts(256, 40, 0.2)), (4, 1));
        pace.seconds_per_sample = Some(1.0);
        assert_eq!((pace.steps(256, 0.2), pace.parts(256, 40, 0.2)), (1, 40));
        pace.seconds_per_sample = Some(1e-9);
        assert_eq!((pace.steps(256, 0.2), pace.parts(256, 40, 0.2)), (STEPS_PER_SUBMIT, 1));
        let began = Instant::now();
        pace.saw(began, 1);
        let before = pace.seconds_per_sample;
        std::thread::sleep(std::time::Duration::from_millis(20));
        pace.saw(began, 1);
        assert!(pace.seconds_per_sample > before);
    }

    #[test]
    fn more_spikes_than_llvmpipe_reads_are_refused() {
        check_loops("llvmpipe (LLVM 15.0.6, 256 bits)", &[10, 2 * LLVMPIPE_ITERATIONS], 2).unwrap();
        check_loops("NVIDIA H200", &[10, 3 * LLVMPIPE_ITERATIONS], 2).unwrap();
        let refused = check_loops("llvmpipe (LLVM 15.0.6, 256 bits)", &[10, 2 * LLVMPIPE_ITERATIONS + 1], 2);
        assert!(refused.unwrap_err().to_string().contains("use the cpu device"));
    }
}
