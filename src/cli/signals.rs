//! Ctrl-C, and signals that ask the program to end.

use super::show::complain;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag that the first Ctrl-C (or a request to terminate) sets, when `words` are printed; the second quits at once, with 130.
pub fn stop_on_signal(words: Option<&'static str>) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    watch(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        if let Some(words) = words {
            complain(format_args!("\n{words}"));
        }
    })
    .context("cannot handle Ctrl-C")?;
    Ok(stop)
}

/// Calls `on_signal` on SIGINT, SIGTERM and, unless it is ignored (`nohup`), on the SIGHUP of a closing terminal.
#[cfg(unix)]
fn watch(on_signal: impl Fn() + Send + 'static) -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let hang_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let watched: Vec<i32> = [SIGINT, SIGTERM].into_iter().chain(hang_up).collect();
    let mut signals = signal_hook::iterator::Signals::new(watched)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || signals.forever().for_each(|_| on_signal()))?;
    Ok(())
}

#[cfg(not(unix))]
fn watch(on_signal: impl Fn() + Send + 'static) -> Result<()> {
    Ok(ctrlc::set_handler(on_signal)?)
}

/// Whether the program was started with this signal ignored; false if `/proc` does not say.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
