// The n spikes of a neuron in a sample; k counts from the section's beginning.
fn place_presynaptic(k: u32, n: u32, offset: u32) {
    let first = k / (p.chunk * p.neurons) * p.chunk;
    let samples = min(p.chunk, p.batch - first);
    let i = (k - first * p.neurons) / samples;
    let local = (k - first * p.neurons) % samples;
    let end = min(offset + n, p.event_capacity);
    var at = offset;
    for (var w = 0u; w < p.words && at < end; w++) {
        var word = spike_words[((first + local) * p.words + w) * p.quads + i / 4u][i & 3u];
        while word != 0u && at < end {
            presynaptic[at] = local * p.steps + 32u * w + firstTrailingBit(word);
            word &= word - 1u;
            at++;
        }
    }
}
