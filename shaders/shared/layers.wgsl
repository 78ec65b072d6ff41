// The layers of a lock-step kernel, those from some layer up to the readout. Each has its own Params, with where its part of
// every buffer begins. What a pipeline of one layer has as constants are fields of these.
const MOST_LAYERS: u32 = 16u;

struct Layers {
    each: array<Params, MOST_LAYERS>,
}

fn layer(l: u32) -> Params {
    return layers.each[l];
}

fn is_cuba(p: Params) -> bool {
    return p.cuba != 0u;
}

fn is_to_value(p: Params) -> bool {
    return p.to_value != 0u;
}

fn which_surrogate(p: Params) -> u32 {
    return p.surrogate;
}

// The layer that quad s of all layers belongs to.
fn layer_of(s: u32) -> u32 {
    var l = 0u;
    while l + 1u < p.layers && s >= layers.each[l + 1u].state_at {
        l++;
    }
    return l;
}

// One quad's place in the state: `part` 0 is V or P, 1 is I or Q.
fn state_index(p: Params, b: u32, part: u32, s: u32) -> u32 {
    return (2u * b + part) * p.all_quads + s;
}

// Where the entries say whether lockstep_backward was cut short for a sample.
fn cut_at(p: Params, b: u32) -> u32 {
    return p.errors_at + 4u * p.batch * p.all_quads + b;
}

// Where the gradient of the drive is found in the state: Q of a cuba_lif cell, P of others.
fn drive_index(p: Params, b: u32, s: u32) -> u32 {
    return state_index(p, b, select(0u, 1u, is_cuba(p)), s);
}
