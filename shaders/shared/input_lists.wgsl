// Index of the count of input neuron i in sample b: [chunk][N_in][samples of it], so that a prefix sum gives each
// neuron's spikes, a chunk of samples after the other, in the order of the samples.
fn input_index(p: Params, b: u32, i: u32) -> u32 {
    let first = b / p.chunk * p.chunk;
    let samples = min(p.chunk, p.batch - first);
    return first * p.inputs + i * samples + (b - first);
}
