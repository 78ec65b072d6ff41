// An active entry. Its error e is in a separate array, because lanes that share an entry read it while one of them writes e.
struct ActiveEntry {
    row: u32,     // b T + t
    neuron: u32,
    g: f32,       // surrogate gradient
}
