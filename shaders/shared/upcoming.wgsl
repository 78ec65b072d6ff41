// Four events of a sorted list; the end of the list is an event that never comes.
fn upcoming(next: u32, end: u32) -> vec4<u32> {
    var ahead = vec4<u32>(0xffffffffu);
    if next < end {
        ahead.x = input_events[next];
    }
    if next + 1u < end {
        ahead.y = input_events[next + 1u];
    }
    if next + 2u < end {
        ahead.z = input_events[next + 2u];
    }
    if next + 3u < end {
        ahead.w = input_events[next + 3u];
    }
    return ahead;
}

// One quad of the weight rows of those events that are due before t, else 0: that at `first` in row 0, in rows of `stride`
// quads. The first event is due.
fn arrived(ahead: vec4<u32>, t: u32, first: u32, stride: u32) -> array<vec4<f32>, 4> {
    let due = (ahead >> vec4<u32>(16u)) < vec4<u32>(t);
    var rows = array<vec4<f32>, 4>();
    rows[0] = weights[(ahead.x & 0xffffu) * stride + first];
    if due.y {
        rows[1] = weights[(ahead.y & 0xffffu) * stride + first];
    }
    if due.z {
        rows[2] = weights[(ahead.z & 0xffffu) * stride + first];
    }
    if due.w {
        rows[3] = weights[(ahead.w & 0xffffu) * stride + first];
    }
    return rows;
}

// Number of events due before t.
fn how_many(ahead: vec4<u32>, t: u32) -> u32 {
    let due = select(vec4<u32>(0u), vec4<u32>(1u), (ahead >> vec4<u32>(16u)) < vec4<u32>(t));
    return (due.x + due.y) + (due.z + due.w);
}
