// What a dispatch needs to know. The twin of `Params` in src/gpu/params.rs; a test compares the layouts.
struct Params {
    batch: u32,               // B
    steps: u32,               // T
    words: u32,               // ceil(T / 32)
    inputs: u32,              // N_in
    neurons: u32,             // N
    slots: u32,               // N, and of a convolution what fills the last quad of each pixel
    quads: u32,               // Q = ceil(N / 4)
    first_quad: u32,          // of the shard of columns whose weights or deltas this dispatch reads or writes
    input_stride: u32,        // sample b's events begin at input_start[b * input_stride]
    chunk: u32,               // samples in a full chunk
    first_sample: u32,        // first sample of this chunk
    chunk_samples: u32,       // samples in this chunk
    presynaptic_base: u32,    // where in the presynaptic starts the value to subtract stands
    presynaptic_at: u32,      // where in the presynaptic starts this chunk begins
    presynaptic_stride: u32,  // starts a neuron has there
    event_capacity: u32,      // entries that a spike list holds
    active_capacity: u32,     // entries that the active list holds
    counts: u32,              // counts of the three sections
    sum_readout: u32,         // 1: logits are sums over t; 0: the potential at one time
    report_at: u32,           // where this dispatch writes in the report
    alpha: f32,               // exp(-dt / tau)
    leak: f32,                // (1 - alpha) V_rest
    v_th: f32,
    kick: f32,
    beta: f32,
    band: f32,                // active where |V - V_th| < band; finite
    gain: f32,                // of the readout's input
    lambda_up: f32,
    nu_up: f32,
    most_spikes: u32,         // of a sample before the upper regulariser has a gradient
    lambda_low: f32,
    nu_low: f32,
    input_capacity: u32,      // entries that the list below holds
    total: u32,               // samples of the whole step, of which B are computed now
    accumulate: u32,          // 1: gradients of earlier samples of the step stand already
    shard: u32,               // which buffer of the training set this dispatch reads
    time: u32,                // of the reference's passes
    scanned: u32,             // counts to scan: all, or the rows alone
    per_lane: u32,            // counts of a lane in the scan
    sweep: u32,               // workgroups that share the active entries
    shard_quads: u32,         // quads of that shard; all columns are one where a binding holds them
    map_height: u32,          // of a convolution: rows of the maps that it reads
    map_width: u32,           // columns of them
    kernel: u32,              // rows and columns of the kernel
    stride: u32,
    padding: u32,
    rows: u32,                // rows of its own maps
    columns: u32,             // columns of its own maps
    filter_quads: u32,        // four filters each
    pool: u32,                // of a pooled layer: rows and columns of a window
    pool_columns: u32,        // columns of the maps before pooling
    pooled_columns: u32,      // columns of the maps after pooling
    windows: u32,             // neurons of a map after pooling
    pool_quads: u32,          // four filters each
    last_shard: u32,          // 1: no further shard of these columns follows
    layer_bit: u32,           // of this weight layer among those where a number is not finite
    synapse: f32,             // exp(-dt / tau_syn) of a cuba_lif cell
    v_r: f32,                 // what a reset to a value sets the potential to
    surrogate_scale: f32,     // factor on the surrogate gradient
    last_readout: u32,        // 1: logits are the last potentials
    logit_scale: f32,         // factor on logits that are sums
}
