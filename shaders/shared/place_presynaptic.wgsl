// The n spikes of a neuron in a sample; k counts from the section's beginning.
fn place_presynaptic(k: u32, n: u32, offset: u32) {
    let own = counted(p, k);
    let end = min(offset + n, p.event_capacity);
    var at = offset;
    for (var w = 0u; w < p.words && at < end; w++) {
        var word = spike_words[((own.first + own.local) * p.words + w) * p.quads + own.neuron / 4u][own.neuron & 3u];
        while word != 0u && at < end {
            presynaptic[at] = own.local * p.steps + 32u * w + firstTrailingBit(word);
            word &= word - 1u;
            at++;
        }
    }
}
