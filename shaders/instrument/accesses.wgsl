// Prepended to a kernel whose accesses are logged; src/gpu/races/logged.rs inserts the calls.
struct AccessLog {
    // Number of records. Those beyond the end of the buffer are lost, which the host notices.
    used: atomic<u32>,
    // word in the variable, workgroup << 12 | site, barriers before << 10 | lane, value written
    records: array<vec4<u32>>,
}

@group(1) @binding(0) var<storage, read_write> access_log: AccessLog;

var<private> access_group: u32;
var<private> access_lane: u32;
var<private> access_storage_barriers: u32;
var<private> access_workgroup_barriers: u32;

fn access_begin(workgroup: vec3<u32>, lane: u32) {
    access_group = (workgroup.y * 65535u + workgroup.x) << 12u;
    access_lane = lane;
    access_storage_barriers = 0u;
    access_workgroup_barriers = 0u;
}

fn access_record(word: u32, site: u32, barriers: u32, value: u32) {
    let at = atomicAdd(&access_log.used, 1u);
    if at < arrayLength(&access_log.records) {
        access_log.records[at] = vec4<u32>(word, access_group | site, (barriers << 10u) | access_lane, value);
    }
}

fn access_storage(word: u32, site: u32, value: u32) {
    access_record(word, site, access_storage_barriers, value);
}

fn access_workgroup(word: u32, site: u32, value: u32) {
    access_record(word, site, access_workgroup_barriers, value);
}

// A barrier orders accesses of the lanes of a workgroup to its kind of memory, and nothing else.
fn access_barrier(storage: u32, workgroup: u32) {
    access_storage_barriers += storage;
    access_workgroup_barriers += workgroup;
}
