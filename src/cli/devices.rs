//! `spikegrad devices`.

use super::show::{bytes, say, say_json, table};
use anyhow::Result;
use serde_json::json;
use spikegrad::cpu::device_info;
use spikegrad::device::Device;
use spikegrad::gpu::adapter::{AdapterSummary, adapters, best, how_to_get_driver};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print the list as one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists the devices. Having no adapter is not an error.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (adapters, cpu) = (adapters(), device_info());
    let auto = best(&adapters, false).map_or(Device::Cpu, |index| Device::Gpu(Some(index))).to_string();
    if arguments.json {
        say_json(&json!({ "adapters": adapters, "cpu": cpu, "auto": auto }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["device", "name", "backend", "driver", "type", "usable", "binding", "timestamps", "f16"];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(adapters.iter().map(row));
    if adapters.is_empty() {
        say(format_args!("no GPU adapter found; to get one, {}", how_to_get_driver()))?;
    } else {
        for line in table(&rows, head.len()) {
            say(line)?;
        }
    }
    say(format_args!("cpu     {} ({})", cpu.name, cpu.detail))?;
    if adapters.iter().any(|a| a.fxc) {
        say(FXC)?;
    }
    say(format_args!("\nauto takes {auto}"))?;
    Ok(ExitCode::SUCCESS)
}

const FXC: &str = "
The shaders of the DX12 adapters are compiled by FXC, which is old and slow. To use Microsoft's newer DXC, put
dxcompiler.dll from https://github.com/microsoft/DirectXShaderCompiler/releases (1.8.2502 or later) next to the program.";

fn row(a: &AdapterSummary) -> Vec<String> {
    let yes = |has: bool| if has { "yes" } else { "no" }.to_string();
    vec![
        format!("gpu:{}", a.index),
        a.name.clone(),
        a.backend.clone(),
        a.driver.clone(),
        a.kind.into(),
        yes(a.usable),
        bytes(a.max_storage_binding),
        yes(a.timestamps),
        yes(a.f16),
    ]
}
