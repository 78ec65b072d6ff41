//! Section `adapters`: lists the machine's adapters and selects the one to check.

use super::task::Task;
use crate::error::{Error, Result};
use crate::gpu::adapter::{self, best, describe};

/// Runs the section.
pub fn run(task: &mut Task) -> Result<()> {
    task.doing("listing adapters");
    let all = adapter::adapters();
    let described = describe();
    described.into_iter().for_each(|adapter| task.found(adapter));
    let usable = all.iter().filter(|adapter| adapter.usable).count();
    task.headline(format!("{} found, {usable} usable", all.len()));
    let chosen = match task.options().adapter {
        Some(index) => all.get(index),
        None => best(&all, true).and_then(|index| all.get(index)),
    };
    let Some(chosen) = chosen else {
        return Err(Error::Device(
            "no usable adapter: install the driver of your GPU (Vulkan on Linux), or name one of `spikegrad devices`"
                .into(),
        ));
    };
    let software = if chosen.kind == "software" { "; a SOFTWARE adapter, no GPU" } else { "" };
    task.adapter(
        chosen.index,
        format!("gpu:{} {} ({}, {}){software}", chosen.index, chosen.name, chosen.backend, chosen.driver),
    );
    // Opened last, so that the adapter is already reported if its driver crashes here.
    task.doing("opening the adapter");
    let period = adapter::timestamp_period(&task.options())?;
    task.found(serde_json::json!({ "chosen": chosen.index, "timestamp_period_ns": period }));
    Ok(())
}
