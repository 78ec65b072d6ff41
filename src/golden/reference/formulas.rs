//! The formulas of layers on whole arrays in f64, term by term as they are written.

use super::Layers;
use crate::network::{Cell, Convolution, Reset, SpikingLayer, Surrogate};
use crate::weights::Weights;

/// The non-zero elements of the matrix [N_in, N] that is equivalent to a convolution, each with the index of its weight:
/// out[f, y, x] = Σ in[c, y stride + ky - padding, x stride + kx - padding] w[f, c, ky, kx].
fn entries(conv: &Convolution) -> impl Iterator<Item = (usize, usize)> {
    let Convolution { channels, height, width, filters, kernel, stride, padding, .. } = *conv;
    let (rows, columns) = (conv.rows(), conv.columns());
    let neurons = filters * rows * columns;
    let all = (0..neurons).flat_map(move |j| (0..channels * kernel * kernel).map(move |k| (j, k)));
    all.filter_map(move |(j, k)| {
        let (f, row, column) = (j / (rows * columns), j / columns % rows, j % columns);
        let (c, ky, kx) = (k / (kernel * kernel), k / kernel % kernel, k % kernel);
        let y = (row * stride + ky).checked_sub(padding).filter(|&y| y < height)?;
        let x = (column * stride + kx).checked_sub(padding).filter(|&x| x < width)?;
        Some((((c * height + y) * width + x) * neurons + j, k * filters + f))
    })
}

/// The weights of a layer as a matrix [N_in, N].
pub(super) fn unrolled(layer: &SpikingLayer, weights: &[f64]) -> Vec<f64> {
    let Some(conv) = layer.conv() else { return weights.to_vec() };
    let mut full = vec![0.0; conv.inputs() * conv.neurons()];
    entries(conv).for_each(|(at, own)| full[at] = weights[own]);
    full
}

/// The gradient of a layer's weights from that of the equivalent matrix [N_in, N].
pub(super) fn folded(layer: Option<&SpikingLayer>, full: Vec<f64>) -> Vec<f64> {
    let Some(conv) = layer.and_then(SpikingLayer::conv) else { return full };
    let mut own = vec![0.0; conv.patch() * conv.filters];
    entries(conv).for_each(|(at, k)| own[k] += full[at]);
    own
}

/// The neurons of each pooling window, in the order of the pooled neurons.
pub(super) fn windows(conv: &Convolution) -> impl Iterator<Item = Vec<usize>> {
    let (pool, columns, pixels, (height, width)) = (conv.pool, conv.columns(), conv.pixels(), conv.pooled());
    let corner =
        move |k: usize| (k / (height * width) * pixels) + (k / width % height * pool) * columns + k % width * pool;
    (0..conv.outputs()).map(move |k| (0..pool * pool).map(|n| corner(k) + n / pool * columns + n % pool).collect())
}

/// Σ_i W_ij S_i[t] as [T, N].
pub(super) fn product(spikes: &[f64], weights: &[f64], n: usize) -> Vec<f64> {
    let rows = weights.len() / n;
    let sum = |t: usize, j: usize| (0..rows).map(|i| spikes[t * rows + i] * weights[i * n + j]).sum();
    (0..spikes.len() / rows * n).map(|k| sum(k / n, k % n)).collect()
}

/// ∇W_ij = Σ_t S_i[t] δ_j[t].
pub(super) fn outer(spikes: &[f64], delta: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let steps = delta.len() / cols;
    let sum = |i: usize, j: usize| (0..steps).map(|t| spikes[t * rows + i] * delta[t * cols + j]).sum();
    (0..rows * cols).map(|k| sum(k / cols, k % cols)).collect()
}

/// δ_j[t] = α δ_j[t+1] + e_j[t+1] for arrays over [T, N].
pub(super) fn recurrence(alpha: f64, error: &[f64], n: usize) -> Vec<f64> {
    let mut delta = vec![0.0; error.len()];
    for k in (n..error.len()).rev() {
        delta[k - n] = alpha * delta[k] + error[k];
    }
    delta
}

/// V and S of a spiking layer, [T, N], from the drive of its input and from its recurrent weights. `soft` spikes are the integral
/// of the unmasked fast sigmoid.
pub(super) fn integrate(
    layer: &SpikingLayer,
    dt_ms: f64,
    drive: &[f64],
    r: &[f64],
    soft: bool,
) -> (Vec<f64>, Vec<f64>) {
    let (n, alpha) = (layer.neurons, layer.alpha(dt_ms));
    let (mut v, mut s, mut current) = (vec![0.0; drive.len()], vec![0.0; drive.len()], vec![0.0; n]);
    for now in 0..drive.len() - n {
        // Σ_k R_kj S_k[t].
        let (spikes, j) = (&s[now / n * n..][..n], now % n);
        let own: f64 = r.chunks_exact(n).zip(spikes).map(|(row, spike)| row[j] * spike).sum();
        let drive = drive[now] + own;
        let (before, kick) = match layer.reset {
            Reset::Subtract => (v[now], (layer.v_th - layer.v_r) * s[now]),
            Reset::ToValue if s[now] > 0.0 => (layer.v_r, 0.0),
            Reset::ToValue => (v[now], 0.0),
        };
        let arriving = match layer.cell {
            Cell::Lif => drive,
            Cell::CubaLif { tau_syn_ms } => {
                let current = &mut current[j];
                *current = (-dt_ms / tau_syn_ms).exp() * *current + drive;
                *current
            }
        };
        v[now + n] = layer.v_rest + alpha * (before - layer.v_rest) + arriving - kick;
        let x = v[now + n] - layer.v_th;
        s[now + n] = match soft {
            false => f64::from(u8::from(v[now + n] > layer.v_th)),
            true => layer.surrogate_scale * x / (layer.beta * x.abs() + 1.0),
        };
    }
    (v, s)
}

/// D, the gradient with respect to a spiking layer's drive, [T, N]. `ds` is ∇S without what comes through the recurrent weights
/// `r`, which is added here: Σ_j R_ij D_j[t], from the last time step to the first, because D[t] depends on ∇S of later steps.
pub(super) fn drive_gradient(
    layer: &SpikingLayer,
    dt_ms: f64,
    ds: &mut [f64],
    v: &[f64],
    spikes: &[f64],
    r: &[f64],
) -> Vec<f64> {
    let (n, alpha) = (layer.neurons, layer.alpha(dt_ms));
    let (mut dv, mut di) = (vec![0.0; n], vec![0.0; n]);
    let mut drive = vec![0.0; ds.len()];
    for at in (0..ds.len()).step_by(n).rev() {
        let drive = &mut drive[at..at + n];
        drive.copy_from_slice(if layer.cell == Cell::Lif { &dv } else { &di });
        for (ds, row) in ds[at..at + n].iter_mut().zip(r.chunks_exact(n)) {
            *ds += row.iter().zip(&*drive).map(|(r, drive)| r * drive).sum::<f64>();
        }
        for (j, (dv, di)) in dv.iter_mut().zip(&mut di).enumerate() {
            let kept = if layer.reset == Reset::ToValue { 1.0 - spikes[at + j] } else { 1.0 };
            *dv = alpha * kept * *dv + ds[at + j] * surrogate(layer, v[at + j]);
            if let Cell::CubaLif { tau_syn_ms } = layer.cell {
                *di = (-dt_ms / tau_syn_ms).exp() * *di + *dv;
            }
        }
    }
    drive
}

/// g(V); 0 if inactive.
pub(super) fn surrogate(layer: &SpikingLayer, v: f64) -> f64 {
    let (x, beta) = (v - layer.v_th, layer.beta);
    if x.abs() >= layer.b_th {
        return 0.0;
    }
    let h = 1.0 / (1.0 + (-beta * x).exp());
    let shape = match layer.surrogate {
        Surrogate::FastSigmoid => 1.0 / (beta * x.abs() + 1.0).powi(2),
        Surrogate::Sigmoid => beta * h * (1.0 - h),
        Surrogate::Arctan => beta / (2.0 * (1.0 + (std::f64::consts::PI * beta * x / 2.0).powi(2))),
        Surrogate::Triangular => beta * (1.0 - beta * x.abs()).max(0.0),
        Surrogate::Rectangular if x.abs() < 1.0 / beta => beta / 2.0,
        Surrogate::Rectangular => 0.0,
        Surrogate::Gaussian => beta / std::f64::consts::TAU.sqrt() * (-(beta * x).powi(2) / 2.0).exp(),
    };
    layer.surrogate_scale * shape
}

pub(super) fn narrow(values: &[f64]) -> impl Iterator<Item = f32> {
    values.iter().map(|&x| x as f32)
}

pub(super) fn widen(weights: &Weights) -> Layers {
    weights.layers.iter().map(|matrix| matrix.data.iter().map(|&x| f64::from(x)).collect()).collect()
}
