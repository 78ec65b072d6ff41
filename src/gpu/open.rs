//! A step in pieces, for a loss that the caller computes.
//!
//! A forward pass keeps its batch; the backward pass repeats the forward pass, with the caller's errors in place of those
//! of the loss kernel. So lists grow and batches are cut into pieces as in any step, and no intermediate result has to
//! stay on the device until the gradient comes.

use super::GpuEngine;
use super::buffers::quads;
use super::layer_params::error_scale;
use super::recording::Recorder;
use super::sparse::{Purpose, record_adam};
use crate::engine::{Engine, Forward, NotFinite, StepReport, check_logit_gradient, check_open, not_the_last_pass};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;
use crate::weights::Weights;
use std::ops::Range;

/// A forward pass that a backward pass may follow.
pub struct Open {
    number: u64,
    batch: EventSet,
}

impl GpuEngine {
    /// [`Engine::forward`].
    pub(super) fn open_forward(&mut self, batch: &EventSet) -> Result<Forward> {
        check_open(self.method)?;
        let batch = batch.labelled().into_owned();
        let forward = Forward::new(self.predict(&batch)?.logits);
        self.open = Some(Open { number: forward.number(), batch });
        Ok(forward)
    }

    /// [`Engine::backward`].
    pub(super) fn open_backward(&mut self, pass: Forward, gradient: &[f32]) -> Result<Weights> {
        check_logit_gradient(&pass, gradient)?;
        let open = self.open.take_if(|open| open.number == pass.number()).ok_or_else(not_the_last_pass)?;
        let classes = self.network.classes();
        let scale = error_scale(&self.network);
        // In the layout of the kernels, four classes together, and scaled as they enter the readout.
        self.errors_given = gradient
            .chunks(classes)
            .flat_map(|row| row.iter().map(|g| scale * g).chain(std::iter::repeat(0.0)).take(4 * quads(classes)))
            .collect();
        let run = self.run(&open.batch, Purpose::GivenErrors, |_, _, _, _| Ok(()));
        self.errors_given = Vec::new();
        run?;
        self.read_gradient()
    }

    /// [`Engine::gradient`].
    pub(super) fn step_gradient(&mut self, batch: &EventSet) -> Result<(Weights, StepReport)> {
        check_open(self.method)?;
        let reports = self.run(batch, Purpose::Gradient, |_, _, _, report| Ok(report.clone()))?;
        let report = self.step_report(&reports, self.step + 1, batch.len(), batch.events().len() as u64)?;
        Ok((self.read_gradient()?, report))
    }

    fn read_gradient(&self) -> Result<Weights> {
        let layers = self.weights.iter().map(|layer| layer.read(&self.context, |strip| &strip.gradient));
        Ok(Weights { layers: layers.collect::<Result<_>>()? })
    }

    /// Uploads the errors of samples `range` if the caller gave some for the backward pass under way.
    pub(super) fn write_errors_given(&self, range: &Range<usize>) {
        let width = 4 * quads(self.network.classes());
        let given = self.errors_given.get(range.start * width..range.end * width).filter(|given| !given.is_empty());
        if let (Some(state), Some(given)) = (&self.state, given) {
            state.readout.errors.write(&self.context.queue, 0, bytemuck::cast_slice(given));
        }
    }

    /// [`Engine::update`].
    pub(super) fn open_update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()> {
        gradient.check(&self.network)?;
        self.finish_all()?;
        self.open = None;
        if self.state.is_none() {
            self.make_room_of(1, |_, _| 0)?;
        }
        for (layer, gradient) in self.weights.iter().zip(&gradient.layers) {
            layer.write(&self.context, |strip| &strip.gradient, gradient)?;
        }
        self.write_constants(self.step + 1, adam);
        let Some(state) = &self.state else { return Err(Error::Device("no buffers".into())) };
        let mut recorder = Recorder::new(&mut self.context);
        record_adam(&mut recorder, state, &self.weights);
        let recording = recorder.finish();
        let mut encoder = self.context.device.create_command_encoder(&Default::default());
        state.status.clear(&mut encoder, 0);
        recording.encode_parts(1).for_each(|encode| encode(&mut encoder));
        self.context.submit(encoder)?;
        let status: Vec<u32> = self.context.read_as(&state.status, 3)?;
        self.step += 1;
        match NotFinite::of((0, status[2])) {
            None => Ok(()),
            Some(NotFinite { layer, .. }) => Err(Error::NotFinite(format!(
                "after the update weights or moments of layer {layer} are not finite: its gradient is too large"
            ))),
        }
    }
}
