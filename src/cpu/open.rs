//! A training step in three calls, for a loss that the caller computes: forward, backward from the gradient of the logits,
//! update.
//!
//! The groups keep the state that the backward pass needs, so the three calls give the same bits as
//! [`Engine::train`](crate::engine::Engine::train). For convolutions this means keeping the active entries of the whole
//! batch; a training step holds only those of the groups in progress.

use super::{Clock, CpuEngine, group_size, update_layers};
use crate::engine::{Forward, NotFinite, StepReport, check_logit_gradient, check_open, not_the_last_pass};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;
use crate::weights::Weights;

/// A forward pass that a backward pass may continue.
pub struct OpenPass {
    number: u64,
    batch: EventSet,
}

impl CpuEngine {
    /// [`Engine::forward`](crate::engine::Engine::forward).
    pub(super) fn open_forward(&mut self, batch: &EventSet) -> Result<Forward> {
        check_open(self.method)?;
        let batch = batch.labelled().into_owned();
        self.begin(&batch)?;
        let groups = vec![(); self.groups.len()];
        self.over_groups(&batch, true, groups, |plan, group, scratch, ()| {
            group.forward(plan, scratch, Vec::new());
            group.keep_convs(scratch);
        });
        let forward = Forward::new(self.logits());
        self.open = Some(OpenPass { number: forward.number(), batch });
        Ok(forward)
    }

    /// [`Engine::backward`](crate::engine::Engine::backward).
    pub(super) fn open_backward(&mut self, pass: Forward, gradient: &[f32]) -> Result<Weights> {
        check_logit_gradient(&pass, gradient)?;
        let open = self.open.take_if(|open| open.number == pass.number()).ok_or_else(not_the_last_pass)?;
        let batch = open.batch;
        let of_groups = gradient.chunks(group_size(&self.network) * self.network.classes()).collect();
        self.over_groups(&batch, true, of_groups, |plan, group, scratch, gradient: &[f32]| {
            group.gradient.clear();
            group.gradient.extend_from_slice(gradient);
            group.restore_convs(scratch);
            group.backward(plan, scratch);
        });
        Ok(self.gradient_of(&batch))
    }

    /// [`Engine::gradient`](crate::engine::Engine::gradient).
    pub(super) fn step_gradient(&mut self, batch: &EventSet) -> Result<(Weights, StepReport)> {
        check_open(self.method)?;
        self.begin(batch)?;
        self.pass(batch, true, &mut Clock::default(), None);
        let gradient = self.gradient_of(batch);
        Ok((gradient, StepReport { step: self.step + 1, ..self.report(batch, 0) }))
    }

    /// [`Engine::update`](crate::engine::Engine::update).
    pub(super) fn open_update(&mut self, gradient: &Weights, adam: &Adam) -> Result<()> {
        gradient.check(&self.network)?;
        self.open = None;
        self.step += 1;
        let broken = update_layers(&mut self.layers, &gradient.layers, &adam.constants(self.step));
        match NotFinite::of((0, broken)) {
            None => Ok(()),
            Some(NotFinite { layer, .. }) => Err(Error::NotFinite(format!(
                "after the update weights or moments of layer {layer} are not finite: its gradient is too large"
            ))),
        }
    }
}
