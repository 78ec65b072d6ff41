//! Writes a measured step in the Chrome trace event format, which Perfetto and `chrome://tracing` can show.

use super::Measurement;
use crate::engine::DeviceInfo;
use serde_json::{Value, json};

/// The measurement of one method.
pub struct Track<'a> {
    /// Method and layer sizes.
    pub name: String,
    /// The measurement.
    pub measurement: &'a Measurement,
}

/// The trace as JSON. It has one process for the device, and for each track two threads: the kernels of the last profiled
/// step, and the steps of all repeats, one after the other. Times are in µs.
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
