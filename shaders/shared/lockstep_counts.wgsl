// What lock-step kernels keep in the counts of a layer, whose sections these are: active entries in place of the spikes of each
// time step, and behind the spikes of each sample
//   most     [1]    the most active entries of any sample
//   entries  [B]    active entries
//   low      [B]    sum over the neurons of max(0, nu_low - zeta)^2

// The number of active entries of a sample before time step t.
fn entries_index(p: Params, b: u32, t: u32) -> u32 {
    return p.counts_at + b * p.steps + t;
}

fn most_entries_index(p: Params) -> u32 {
    return p.counts_at + chain_section(p);
}

fn all_entries_index(p: Params, b: u32) -> u32 {
    return most_entries_index(p) + 1u + b;
}

fn low_index(p: Params, b: u32) -> u32 {
    return most_entries_index(p) + 1u + p.batch + b;
}
