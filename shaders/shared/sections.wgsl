// The three sections that one scan orders, all of a hidden layer with N slots for neurons in Q quads:
//   rows         [B, T]                      spikes of each time step
//   presynaptic  [chunk][N][samples of it]   spikes of each neuron, a chunk of samples after the other
//   quads        [B, Q]                      active entries of each four neurons
// Followed, in the counts only, by:
//   staged       [1]                         staged active entries
//   samples      [B]                         spikes of each sample
//   chains       [B, Q]                      1 + index of the quad's last staged entry; 0 where it has none
//   blocks       [blocks, 2]                 of each block of the scan: its sum, and the sum over its neurons of
//                                            max(0, nu_low - zeta)^2

fn presynaptic_section(p: Params) -> u32 {
    return p.batch * p.steps;
}

fn quad_section(p: Params) -> u32 {
    return p.batch * (p.steps + p.slots);
}

fn sample_section(p: Params) -> u32 {
    return p.counts + 1u;
}

fn chain_section(p: Params) -> u32 {
    return sample_section(p) + p.batch;
}

fn block_section(p: Params) -> u32 {
    return chain_section(p) + p.batch * p.quads;
}

// Index of the count of neuron i in sample b.
fn presynaptic_index(p: Params, b: u32, i: u32) -> u32 {
    let first = b / p.chunk * p.chunk;
    let samples = min(p.chunk, p.batch - first);
    return presynaptic_section(p) + first * p.slots + i * samples + (b - first);
}

// The inverse: sample and neuron of the k-th count of the presynaptic section.
struct Counted {
    first: u32,   // first sample of the chunk
    local: u32,   // sample within the chunk
    neuron: u32,
}

fn counted(p: Params, k: u32) -> Counted {
    let first = k / (p.chunk * p.slots) * p.chunk;
    let samples = min(p.chunk, p.batch - first);
    return Counted(first, (k - first * p.slots) % samples, (k - first * p.slots) / samples);
}
