// The readout's integrators, four classes at a time: V[t+1] = alpha_r V[t] + gain input[t]; no spikes, no reset. Logits are the
// maximum over t = 0..T-1 (the first time on ties), the last potential, or the sum times a scale: 1, or 1 / T for the mean.
struct Logits {
    value: vec4<f32>,
    peak: vec4<u32>,  // time of the maximum
}

fn integrated(p: Params, v: vec4<f32>, input: vec4<f32>) -> vec4<f32> {
    return p.alpha * v + p.gain * input;
}

// The logits of the time steps up to t, whose potential is v.
fn up_to(p: Params, t: u32, before: Logits, v: vec4<f32>) -> Logits {
    if p.sum_readout == 1u {
        return Logits(before.value + v, before.peak);
    }
    let higher = v > before.value;
    return Logits(select(before.value, v, higher), select(before.peak, vec4<u32>(t), higher));
}

// The logits, once all time steps are in them; v is the last potential.
fn completed(p: Params, all: Logits, v: vec4<f32>) -> Logits {
    if p.sum_readout == 1u {
        return Logits(all.value * p.logit_scale, all.peak);
    }
    if p.last_readout == 1u {
        return Logits(v, vec4<u32>(p.steps - 1u));
    }
    return all;
}
