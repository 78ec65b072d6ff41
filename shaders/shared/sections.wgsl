// The three sections that one scan orders, all of a hidden layer with N neurons in Q quads:
//   rows         [B, T]                      spikes of each time step
//   presynaptic  [chunk][N][samples of it]   spikes of each neuron, a chunk of samples after the other
//   quads        [B, Q]                      active entries of each four neurons
// Behind them, in the counts only, stands the number of staged active entries.

fn presynaptic_section(p: Params) -> u32 {
    return p.batch * p.steps;
}

fn quad_section(p: Params) -> u32 {
    return p.batch * (p.steps + p.neurons);
}

// Where the count of neuron i in sample b stands.
fn presynaptic_index(p: Params, b: u32, i: u32) -> u32 {
    let first = b / p.chunk * p.chunk;
    let samples = min(p.chunk, p.batch - first);
    return presynaptic_section(p) + first * p.neurons + i * samples + (b - first);
}
