// Runs before each dispatch whose accesses are logged: the records that follow belong to dispatch `number`.
struct AccessLog {
    used: atomic<u32>,
    records: array<vec4<u32>>,
}

@group(0) @binding(0) var<uniform> number: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> access_log: AccessLog;

@compute @workgroup_size(1)
fn main() {
    let at = atomicAdd(&access_log.used, 1u);
    if at < arrayLength(&access_log.records) {
        // No workgroup has this number.
        access_log.records[at] = vec4<u32>(number.x, 0xffffffffu, 0u, 0u);
    }
}
