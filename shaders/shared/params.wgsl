// The parameters of all kernels. In a kernel's text this struct has only the fields that the text reads, in this order
// (src/gpu/interface.rs); a value of it is always called `p`. src/gpu/params.rs has the same list, and a test compares them.
struct Params {
    batch: u32,               // B
    steps: u32,               // T
    words: u32,               // ceil(T / 32)
    inputs: u32,              // N_in
    neurons: u32,             // N
    slots: u32,               // N, with the padding of each pixel's last quad in a convolution
    quads: u32,               // Q = ceil(N / 4)
    first_quad: u32,          // first quad of the strip of weights and deltas
    input_stride: u32,        // sample b's events begin at input_start[b * input_stride]
    chunk: u32,               // samples in a full chunk
    first_sample: u32,        // first sample of this chunk
    chunk_samples: u32,       // samples in this chunk
    presynaptic_base: u32,    // index in the presynaptic starts of the value to subtract
    presynaptic_at: u32,      // index in the presynaptic starts where this chunk begins
    presynaptic_stride: u32,  // starts per neuron there
    event_capacity: u32,      // capacity of a spike list
    active_capacity: u32,     // capacity of the active list
    counts: u32,              // counts of the three sections
    sum_readout: u32,         // 1: logits are sums over t; 0: the potential at one time
    report_at: u32,           // index of the first word written in the report
    alpha: f32,               // exp(-dt / tau)
    leak: f32,                // (1 - alpha) V_rest
    v_th: f32,
    kick: f32,
    beta: f32,
    band: f32,                // active where |V - V_th| < band; finite
    gain: f32,                // of the readout's input
    lambda_up: f32,
    nu_up: f32,
    most_spikes: u32,         // spikes of a sample up to which the upper regulariser has no gradient
    lambda_low: f32,
    nu_low: f32,
    input_capacity: u32,      // capacity of the input list
    total: u32,               // samples of the whole step, of which B are computed now
    accumulate: u32,          // 1: the gradient holds that of earlier samples of the step
    bank: u32,                // index of the buffer of the training set to read
    time: u32,                // time step of a pass of the reference
    scanned: u32,             // counts to scan: all, or the rows alone
    per_lane: u32,            // counts per lane in the scan
    sweep: u32,               // workgroups that share the active entries
    strip_quads: u32,         // quads of that strip
    map_height: u32,          // convolution: rows of the maps below
    map_width: u32,           // columns of the maps below
    kernel: u32,              // rows and columns of the kernel
    stride: u32,
    padding: u32,
    rows: u32,                // rows of its own maps
    columns: u32,             // columns of its own maps
    filter_quads: u32,        // four filters each
    pool: u32,                // pooling: rows and columns of a window
    pool_columns: u32,        // columns of the maps before pooling
    pooled_columns: u32,      // columns of the maps after pooling
    windows: u32,             // neurons of a map after pooling
    pool_quads: u32,          // four filters each
    last_strip: u32,          // 1: this is the last strip
    layer_bit: u32,           // bit of this weight layer in the flags for numbers that are not finite
    synapse: f32,             // exp(-dt / tau_syn) of a cuba_lif cell
    v_r: f32,                 // potential after a reset to a value
    surrogate_scale: f32,     // factor on the surrogate gradient
    last_readout: u32,        // 1: logits are the last potentials
    logit_scale: f32,         // factor on logits that are sums
    layers: u32,              // lock-step kernels: number of layers
    all_quads: u32,           // quads of all layers
    all_words: u32,           // words of the spikes of a time step
    all_groups: u32,          // workgroups of lockstep_weights
    from_step: u32,           // first time step of a dispatch
    to_step: u32,             // the time step after its last
    spiking: u32,             // 1: a spiking layer; 0: the integrators of the readout
    recurrent: u32,           // 1: has recurrent weights
    bias_row: u32,            // row of the weights with the biases; 0 without
    cuba: u32,                // 1: a cuba_lif cell
    to_value: u32,            // 1: a reset to a value
    surrogate: u32,           // number of the surrogate gradient
    room: u32,                // lock-step kernels: active entries that a sample has room for; else 0
    state_at: u32,            // quads of the layers before
    weights_at: u32,          // where the layer begins in weights, vec4
    words_at: u32,            // in spike_words, vec4
    counts_at: u32,           // in counts, words
    needed_at: u32,           // its needed rows in counts, words
    next_at: u32,             // the next input event of each sample in counts, between dispatches of some time steps each, words
    entries_at: u32,          // in entries, words
    errors_at: u32,           // the errors of neurons in entries, words
    logits_at: u32,           // in state, vec4
    peaks_at: u32,            // in state, vec4
    mask_at: u32,             // in the masks of a time step
    summary_at: u32,          // in their summaries
    groups_at: u32,           // its first workgroup in lockstep_weights
    delta_rows: u32,          // rows of delta in the chunk, those for biases included
}
