// The n active entries of quad k = b Q + q, the last first.
fn place_active(k: u32, n: u32, offset: u32) {
    var link = counts[chain_section(p) + k];
    for (var at = offset + n; at > offset && link != 0u && link <= p.active_capacity; at--) {
        let entry = staged[link - 1u];
        if at <= p.active_capacity {
            active_entries[at - 1u] = ActiveEntry(entry.y, entry.z, bitcast<f32>(entry.w));
        }
        link = entry.x;
    }
}
