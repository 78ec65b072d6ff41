// llvmpipe ends all loops of an invocation after 65,535 iterations, without an error.

// Whether this invocation's loops have been ended: then a loop of two iterations ends after one. `n` is any number except 0 that is
// not known at compile time.
fn cut_short(n: u32) -> bool {
    var iterations = 0u;
    for (var k = 0u; k < 2u * n; k += n) {
        iterations++;
    }
    return iterations < 2u;
}
