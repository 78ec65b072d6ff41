//! The losses of the task, the activity regularisers, and their gradients.

use crate::network::{Loss, LossConstants, Network, Regulariser};

/// The task's loss of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleLoss {
    /// The loss, not divided by B.
    pub loss: f32,
    /// Whether the first of the largest logits is that of the label.
    pub correct: bool,
}

/// The task's loss of one sample. Writes to `gradient` [C] the gradient of the mean loss of a batch of `batch` samples.
pub fn task_loss(loss: Loss, logits: &[f32], label: usize, batch: usize, gradient: &mut [f32]) -> SampleLoss {
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let LossConstants { on, off, .. } = loss.constants(logits.len());
    let target = |c| if c == label { on } else { off };
    let loss = match loss {
        Loss::CrossEntropy { .. } => {
            // -Σ_c q_c log softmax(logits)_c with targets q; the gradient of the mean over B is (softmax - q) / B.
            let mut sum = 0.0f32;
            for (g, &x) in gradient.iter_mut().zip(logits) {
                *g = (x - highest).exp();
                sum += *g;
            }
            let scale = 1.0 / (sum * batch as f32);
            for (c, g) in gradient.iter_mut().enumerate() {
                *g = *g * scale - target(c) / batch as f32;
            }
            let mut aim = (on - off) * (logits[label] - highest);
            // If `off` is 0, the sum must not be multiplied by it: it may be infinite.
            if off > 0.0 {
                aim += off * logits.iter().map(|x| x - highest).sum::<f32>();
            }
            sum.ln() - aim
        }
        Loss::MeanSquaredError { .. } => {
            let scale = 1.0 / logits.len() as f32;
            let mut sum = 0.0;
            for (c, (g, &x)) in gradient.iter_mut().zip(logits).enumerate() {
                let miss = x - target(c);
                sum += miss * miss;
                *g = 2.0 * miss * scale / batch as f32;
            }
            sum * scale
        }
    };
    SampleLoss { loss, correct: logits.iter().position(|&x| x == highest) == Some(label) }
}

/// The regularisers of one hidden layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivityLoss {
    lambda_up: f32,
    nu_up: f32,
    most_spikes: u32,
    lambda_low: f32,
    nu_low: f32,
    neurons: f32,
    batch: f32,
}

impl ActivityLoss {
    /// For layer `l` of `network` and a batch of `batch` samples.
    pub fn new(network: &Network, l: usize, batch: usize) -> Self {
        let Regulariser { lambda_up, nu_up, lambda_low, nu_low } = network.regulariser;
        let neurons = network.hidden[l].neurons;
        ActivityLoss {
            lambda_up: lambda_up as f32,
            nu_up: nu_up as f32,
            most_spikes: network.regulariser.most_spikes(neurons),
            lambda_low: lambda_low as f32,
            nu_low: nu_low as f32,
            neurons: neurons as f32,
            batch: batch as f32,
        }
    }

    /// The upper and lower term of one sample, not divided by B. `counts` are the spike counts ζ_i.
    pub fn terms(&self, counts: &[u32]) -> (f32, f32) {
        let total: u32 = counts.iter().sum();
        let low: f32 = counts.iter().map(|&zeta| (self.nu_low - zeta as f32).max(0.0).powi(2)).sum();
        (self.lambda_up * (total as f32 / self.neurons - self.nu_up).max(0.0), self.lambda_low * low / self.neurons)
    }

    /// What a neuron with `zeta` spikes contributes to the sum in the lower term, before the factor λ_low / N.
    #[inline(always)]
    pub fn low(&self, zeta: u32) -> f64 {
        f64::from((self.nu_low - zeta as f32).max(0.0).powi(2))
    }

    /// [`terms`](Self::terms) from the sum of all spike counts and the sum of [`low`](Self::low) over all neurons.
    pub fn terms_of(&self, total: u32, low: f64) -> (f32, f32) {
        let excess = (total as f32 / self.neurons - self.nu_up).max(0.0);
        (self.lambda_up * excess, self.lambda_low * low as f32 / self.neurons)
    }

    /// The upper term's part of ∇S, the same for all neurons and time steps of the sample.
    pub fn upper_gradient(&self, total: u32) -> f32 {
        match total > self.most_spikes {
            true => self.lambda_up / (self.neurons * self.batch),
            false => 0.0,
        }
    }

    /// The lower term's part of ∇S_i, the same at every time step.
    #[inline(always)]
    pub fn lower_gradient(&self, zeta: u32) -> f32 {
        -2.0 * self.lambda_low * (self.nu_low - zeta as f32).max(0.0) / (self.neurons * self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_loss_is_that_of_the_formula_in_f64() {
        let losses = [
            Loss::default(),
            Loss::CrossEntropy { label_smoothing: 0.2 },
            Loss::MeanSquaredError { on: 1.5, off: -0.25 },
        ];
        let logits = [[0.3, -1.2, 4.0, 0.0], [90.0, -90.0, 1.0, 2.0], [0.0; 4]];
        for (loss, logits) in losses.iter().flat_map(|&loss| logits.map(|logits| (loss, logits))) {
            for label in 0..4 {
                let (ours, exact) = (task_loss(loss, &logits, label, 3, &mut [0.0; 4]).loss, loss.of(&logits, label));
                assert!((f64::from(ours) - exact).abs() <= 1e-5 * exact.abs().max(1.0), "{loss:?}: {ours}, {exact}");
            }
        }
    }
}
