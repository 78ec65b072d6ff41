// The surrogate gradients, numbered as in `Surrogate::ALL` of src/network/surrogate.rs, which names the formulas. 0 is the
// paper's, the derivative of the fast sigmoid. Which one p has, which_surrogate says: import constant_surrogate, or layers.

// The surrogate gradient of an active entry at distance |V - V_th| from the threshold.
fn surrogate(p: Params, distance: f32) -> f32 {
    let which = which_surrogate(p);
    let x = p.beta * distance;
    var shape = 0.0;
    if which == 0u {
        shape = 1.0 / ((x + 1.0) * (x + 1.0));
    } else if which == 1u {
        // sigma (1 - sigma), written without a difference of nearly equal numbers.
        let z = exp(-x);
        shape = p.beta * z / ((1.0 + z) * (1.0 + z));
    } else if which == 2u {
        let y = 1.5707964 * x;
        shape = 0.5 * p.beta / (1.0 + y * y);
    } else if which == 3u {
        shape = p.beta * max(0.0, 1.0 - x);
    } else if which == 4u {
        shape = 0.5 * p.beta;
    } else {
        shape = p.beta * 0.3989423 * exp(-0.5 * x * x);
    }
    return p.surrogate_scale * shape;
}

fn surrogates(p: Params, d: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(surrogate(p, d.x), surrogate(p, d.y), surrogate(p, d.z), surrogate(p, d.w));
}
