//! A step in pieces, for a loss that the caller computes: forward, backward from the gradient of the logits, update.
//!
//! What the groups hold after the forward pass is what the backward pass of a training step would find, so the pieces
//! together give the bits of [`Engine::train`](crate::engine::Engine::train). Convolutions, which otherwise keep their
//! active entries for as long as a thread works on a group, keep those of the whole batch.

use super::{CpuEngine, group_size, update_layers};
use crate::engine::{Forward, Method, NotFinite, check_logit_gradient};
use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::optimiser::Adam;
use crate::weights::Weights;

/// A forward pass from which a backward pass may go on.
pub struct Open {
    number: u64,
    batch: EventSet,
}

impl CpuEngine {
    /// [`Engine::forward`](crate::engine::Engine::forward).
    pub(super) fn open_forward(&mut self, batch: &EventSet) -> Result<Forward> {
        if matches!(self.method, Method::Dense | Method::Reference) {
            let method = format!("{:?}", self.method).to_lowercase();
            let what = "computes no gradient of a loss that is not its own; use `sparse`";
            return Err(Error::Unsupported(format!("the method `{method}` {what}")));
        }
        let batch = batch.labelled().into_owned();
        self.begin(&batch)?;
        let groups = vec![(); self.groups.len()];
        self.over_groups(&batch, true, groups, |plan, group, scratch, ()| {
            group.forward(plan, scratch, Vec::new());
            group.keep_convs(scratch);
        });
        let forward = Forward::new(self.logits());
        self.open = Some(Open { number: forward.number(), batch });
        Ok(forward)
    }

    /// [`Engine::backward`](crate::engine::Engine::backward).
    pub(super) fn open_backward(&mut self, pass: Forward, gradient: &[f32]) -> Result<Weights> {
        check_logit_gradient(&pass, gradient)?;
        let Some(Open { batch, .. }) = self.open.take_if(|open| open.number == pass.number()) else {
            return Err(Error::Config(
                "this forward pass is not the engine's last, or its weights have changed since: run `forward` again"
                    .into(),
            ));
        };
        let of_groups = gradient.chunks(group_size(&self.network) * self.network.classes()).collect();
        self.over_groups(&batch, true, of_groups, |plan, group, scratch, gradient: &[f32]| {
            group.gradient.clear();
            group.gradient.extend_from_slice(gradient);
            group.restore_convs(scratch);
            group.backward(plan, scratch);
        });
        Ok(self.gradient(&batch))
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
