// The cell of a spiking layer and its reset, four neurons at a time; S[t] = V[t] > V_th.
//   lif        V[t+1] = alpha V~[t] + leak - kick S[t] + drive[t]
//   cuba_lif   I[t+1] = s I[t] + drive[t],  V[t+1] = alpha V~[t] + leak - kick S[t] + I[t+1]
//   subtract   V~ = V,  kick = V_th - V_r            to_value   V~ = V_r where S[t] = 1, else V,  kick = 0
// In the backward pass no gradient flows through a reset, hence none through V~ where it is V_r.
// Whether p is of a cuba_lif cell, or of a layer that resets to a value, is_cuba and is_to_value say: import constant_cell,
// where a pipeline is made for one layer, or layers, where a kernel knows several.

// V~, the potential from which the next step begins.
fn after_spike(p: Params, v: vec4<f32>, spike: vec4<bool>) -> vec4<f32> {
    if is_to_value(p) {
        return select(v, vec4<f32>(p.v_r), spike);
    }
    return v;
}

// The potential of the next step without its input; `kick` is 0 where nothing fired.
fn decayed(p: Params, v: vec4<f32>, kick: vec4<f32>) -> vec4<f32> {
    return (p.alpha * v + p.leak) - kick;
}

// The value that input is added to: the decayed current of a cuba_lif cell, the decayed potential of a lif cell.
fn before_input(p: Params, v: vec4<f32>, current: vec4<f32>) -> vec4<f32> {
    if is_cuba(p) {
        return p.synapse * current;
    }
    return v;
}

// The potential with its input; `input` is the value of `before_input` plus the input.
fn with_input(p: Params, v: vec4<f32>, input: vec4<f32>) -> vec4<f32> {
    if is_cuba(p) {
        return v + input;
    }
    return input;
}

// The gradient of the drive, from those of potential and current one step later.
fn drive_gradient(p: Params, potential: vec4<f32>, current: vec4<f32>) -> vec4<f32> {
    if is_cuba(p) {
        return current;
    }
    return potential;
}
