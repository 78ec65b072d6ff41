// Gradients of the activity regularisers with respect to the spikes of a hidden layer.

// The upper term's part of dS, the same for every neuron and time of a sample with so many spikes. The host derives
// most_spikes from nu_up, because divisions are not exact on every device and this comparison must be.
fn upper_gradient(p: Params, spikes: u32) -> f32 {
    return select(0.0, p.lambda_up / (f32(p.neurons) * f32(p.total)), spikes > p.most_spikes);
}

// The lower term's part of dS of a neuron with zeta spikes, the same at every time.
fn lower_gradient(p: Params, zeta: u32) -> f32 {
    return -2.0 * p.lambda_low * max(0.0, p.nu_low - f32(zeta)) / (f32(p.neurons) * f32(p.total));
}
