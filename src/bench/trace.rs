//! A measured step in the Chrome trace event format, which Perfetto and `chrome://tracing` show.

use super::Measurement;
use crate::engine::DeviceInfo;
use serde_json::{Value, json};

/// One row of the trace: a device doing a step by one method.
pub struct Track<'a> {
    /// What is done: method, sizes.
    pub name: String,
    /// Its figures.
    pub measurement: &'a Measurement,
}

/// The trace: a process for the device, for each track one thread with the kernels of the last profiled step, each a slice at
/// its own time, and one with the whole steps of all repeats, one after the other. Microseconds.
pub fn trace(device: &DeviceInfo, tracks: &[Track]) -> Value {
    let name = |what: &str, thread: usize, name: &str| json!({"ph": "M", "pid": 1, "tid": thread, "name": what, "args": {"name": name}});
    let mut events = vec![name("process_name", 0, &format!("{} {}, {}", device.kind, device.name, device.detail))];
    for (k, Track { name: track, measurement }) in tracks.iter().enumerate() {
        let (kernels, steps) = (2 * k + 1, 2 * k + 2);
        events.push(name("thread_name", kernels, &format!("{track}: kernels")));
        events.push(name("thread_name", steps, &format!("{track}: whole steps")));
        events.extend(measurement.slices.iter().map(|slice| {
            let mut arguments = json!({});
            if let Some(kernel) = measurement.kernels.iter().find(|kernel| kernel.name == slice.kernel) {
                arguments = json!({
                    "dispatches in the step": kernel.calls,
                    "median of the step, ms": kernel.ms,
                    "least bytes": kernel.least.map(|least| least.least_bytes),
                    "least multiply-adds": kernel.least.map(|least| least.least_multiply_adds),
                });
            }
            json!({
                "ph": "X", "pid": 1, "tid": kernels, "cat": "kernel", "name": slice.kernel,
                "ts": 1e3 * slice.begin_ms, "dur": 1e3 * slice.ms, "args": arguments,
            })
        }));
        let mut begin = 0.0;
        for (k, ms) in measurement.steps_ms.iter().enumerate() {
            events.push(json!({
                "ph": "X", "pid": 1, "tid": steps, "cat": "step", "name": format!("step {}", k + 1),
                "ts": 1e3 * begin, "dur": 1e3 * ms, "args": {},
            }));
            begin += ms;
        }
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}
