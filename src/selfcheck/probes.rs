//! Section `probes`: tests arithmetic, atomics and timestamps, and measures the cost of commands and peak rates.

use super::task::Task;
use crate::error::Result;
use crate::gpu::ceilings::ceilings;
use crate::gpu::probe::{Atomics, Numbers, Prober};
use serde_json::json;

/// Runs the section. Each probe opens its own device.
pub fn run(task: &mut Task) -> Result<()> {
    let mut said = Vec::new();
    let options = task.options();
    let open = || Prober::open(&options);
    if let Some(numbers) = task.item("arithmetic", |_| open()?.numbers()) {
        task.found(json!({ "probe": "numbers", "numbers": numbers }));
        judge_numbers(task, &numbers);
    }
    if let Some(atomics) = task.item("atomics", |_| open()?.atomics()) {
        task.found(json!({ "probe": "atomics", "atomics": atomics }));
        judge_atomics(task, &atomics);
    }
    if let Some(timestamps) = task.item("timestamps", |_| open()?.timestamps()) {
        said.push(format!("timestamps {}", timestamps.verdict));
        task.found(json!({ "probe": "timestamps", "timestamps": timestamps }));
    }
    if let Some(costs) = task.item("cost of commands", |_| open()?.costs()) {
        let dispatch = costs.empty_dispatch_us.map_or("n/a".into(), |us| format!("{us:.1} us"));
        said.push(format!("dispatch {dispatch}, submit {:.0} us", costs.submit_us));
        task.found(json!({ "probe": "costs", "costs": costs }));
    }
    if let Some(ceilings) = task.item("bandwidth and arithmetic", |_| ceilings(&options)) {
        said.push(format!("{:.0} GB/s", ceilings.bytes_per_second / 1e9));
        task.found(json!({ "probe": "ceilings", "ceilings": ceilings }));
    }
    task.headline(said.join(", "));
    Ok(())
}

/// Contraction, reassociation and flushing of denormals are allowed, as are errors within the standard's bounds.
fn judge_numbers(task: &mut Task, numbers: &Numbers) {
    for (what, seen) in [("a * b + c", numbers.multiply_add), ("a + b + c", numbers.sum)] {
        let all = seen.as_written + seen.rearranged + seen.other;
        match (seen.rearranged, seen.other) {
            (_, 1..) => task.failed(format!("{what}: {} of {all} results are neither of those allowed", seen.other)),
            (1.., 0) => task.differs(format!("{what} is not rounded as written ({} of {all})", seen.rearranged)),
            (0, 0) => {}
        }
    }
    let flushed = [
        ("products", numbers.denormal_products_flushed),
        ("sums", numbers.denormal_sums_flushed),
        ("comparisons", numbers.denormal_comparisons_flushed),
    ];
    let flushed: Vec<&str> = flushed.into_iter().filter(|(_, [n, _])| *n > 0).map(|(what, _)| what).collect();
    if !flushed.is_empty() {
        task.differs(format!("denormals are flushed to 0 in {}", flushed.join(", ")));
    }
    for accuracy in numbers.accuracy.iter().filter(|accuracy| accuracy.beyond > 0) {
        task.failed(format!(
            "{} is off by {:.1} units of the last place at {:?}, {:.1} are allowed",
            accuracy.operation, accuracy.worst_ulp, accuracy.at, accuracy.allowed_ulp
        ));
    }
}

fn judge_atomics(task: &mut Task, atomics: &Atomics) {
    if !atomics.right() {
        task.failed(format!("atomics lose something: {atomics:?}"));
    }
}
