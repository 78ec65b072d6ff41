// llvmpipe ends all loops of an invocation after 65,535 iterations, without an error.

// Whether this invocation's loops have been ended: a loop of two iterations has but one then. `n` is any number but 0 that the
// compiler does not know.
fn cut_short(n: u32) -> bool {
    var iterations = 0u;
    for (var k = 0u; k < 2u * n; k += n) {
        iterations++;
    }
    return iterations < 2u;
}
