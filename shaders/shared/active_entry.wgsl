// An active entry. Its error e lies in an array of its own: those who share an entry read it while one of them writes e.
struct ActiveEntry {
    row: u32,     // b T + t
    neuron: u32,
    g: f32,       // surrogate gradient
}
