// The three sections that one scan orders, all of a hidden layer with N neurons in Q quads:
//   rows         [B, T]                      spikes of each time step
//   presynaptic  [chunk][N][samples of it]   spikes of each neuron, a chunk of samples after the other
//   quads        [B, Q]                      active entries of each four neurons
// Behind them, in the counts only:
//   staged       [1]                         staged active entries
//   samples      [B]                         spikes of each sample
//   chains       [B, Q]                      1 + index of the quad's last staged entry; 0 where it has none
//   blocks       [blocks, 2]                 of each block of the scan: its sum, and the sum over its neurons of
//                                            max(0, nu_low - zeta)^2

fn presynaptic_section(p: Params) -> u32 {
    return p.batch * p.steps;
}

fn quad_section(p: Params) -> u32 {
    return p.batch * (p.steps + p.neurons);
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

// Where the count of neuron i in sample b stands.
fn presynaptic_index(p: Params, b: u32, i: u32) -> u32 {
    let first = b / p.chunk * p.chunk;
    let samples = min(p.chunk, p.batch - first);
    return presynaptic_section(p) + first * p.neurons + i * samples + (b - first);
}
