// The cell of a spiking layer and its reset, four neurons at a time; S[t] = V[t] > V_th.
//   lif        V[t+1] = alpha V~[t] + leak - kick S[t] + drive[t]
//   cuba_lif   I[t+1] = s I[t] + drive[t],  V[t+1] = alpha V~[t] + leak - kick S[t] + I[t+1]
//   subtract   V~ = V,  kick = V_th - V_r            to_value   V~ = V_r where S[t] = 1, else V,  kick = 0
// In the backward pass no gradient flows through a reset, hence none through V~ where it is V_r.
override CUBA: bool = false;
override TO_VALUE: bool = false;

// V~, the potential from which the next step begins.
fn after_spike(v: vec4<f32>, spike: vec4<bool>) -> vec4<f32> {
    if TO_VALUE {
        return select(v, vec4<f32>(p.v_r), spike);
    }
    return v;
}

// The potential of the next step without its input; `kick` is 0 where nothing fired.
fn decayed(v: vec4<f32>, kick: vec4<f32>) -> vec4<f32> {
    return (p.alpha * v + p.leak) - kick;
}

// The value that input is added to: the decayed current of a cuba_lif cell, the decayed potential of a lif cell.
fn before_input(v: vec4<f32>, current: vec4<f32>) -> vec4<f32> {
    if CUBA {
        return p.synapse * current;
    }
    return v;
}

// The potential with its input; `input` is the value of `before_input` plus the input.
fn with_input(v: vec4<f32>, input: vec4<f32>) -> vec4<f32> {
    if CUBA {
        return v + input;
    }
    return input;
}

// The gradient of the drive, from those of potential and current one step later.
fn drive_gradient(potential: vec4<f32>, current: vec4<f32>) -> vec4<f32> {
    if CUBA {
        return current;
    }
    return potential;
}
