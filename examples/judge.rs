//! Compares the output of `cargo test` on standard input with tests/expected_failures.toml, for the adapter that the
//! environment selects (`WGPU_BACKEND`, `VK_DRIVER_FILES`, `SPIKEGRAD_LIMITS`). Exactly the expected tests must fail.
//! `scripts/adapters` uses it.
//!
//!     cargo test --no-fail-fast 2>&1 | cargo run --example judge

use serde::Deserialize;
use spikegrad::gpu::adapter::{AdapterSummary, adapters, best};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// A test that is known to fail somewhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    /// File and name: `twins::sparse_step`.
    test: String,
    /// `vulkan`, `gl`, `metal` or `dx12`.
    backend: String,
    /// Part of the adapter's name.
    adapter: String,
    /// Part of the driver's name and version.
    driver: String,
    /// Value of `SPIKEGRAD_LIMITS`; any if missing.
    limits: Option<String>,
    /// Why.
    reason: String,
}

#[derive(Deserialize)]
struct Expected {
    #[serde(default)]
    failure: Vec<Failure>,
}

/// Whether each test passed, by file and name. A file that did not finish counts as failed.
fn outcomes(output: &str) -> BTreeMap<String, bool> {
    let (mut outcomes, mut file) = (BTreeMap::new(), String::new());
    for line in output.lines() {
        let line = line.trim();
        if line.starts_with("running ") {
            outcomes.insert(format!("{file} to its end"), false);
        } else if line.starts_with("test result: ") {
            outcomes.remove(&format!("{file} to its end"));
        } else if let Some(rest) = line.strip_prefix("Running ") {
            let path = rest.split(" (").next().unwrap_or(rest);
            file = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs").into();
        } else if line.starts_with("Doc-tests") {
            file = "doc".into();
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            match outcome.split_whitespace().next() {
                Some("ok") => outcomes.insert(format!("{file}::{name}"), true),
                Some("FAILED") => outcomes.insert(format!("{file}::{name}"), false),
                _ => None,
            };
        }
    }
    outcomes
}

/// Describes unexpected results, one line each.
fn complaints(outcomes: &BTreeMap<String, bool>, expected: &[Failure]) -> Vec<String> {
    let expected_of = |test: &str| expected.iter().find(|failure| failure.test == test);
    let mut lines = Vec::new();
    for (test, passed) in outcomes {
        match (passed, expected_of(test)) {
            (false, None) => lines.push(format!("{test} failed")),
            (true, Some(failure)) => {
                lines.push(format!("{test} passed, and is expected to fail ({}): take the entry out", failure.reason))
            }
            _ => {}
        }
    }
    if outcomes.is_empty() {
        lines.push("no test ran".into());
    }
    lines
}

fn here(failure: &Failure, adapter: &AdapterSummary, limits: &str) -> bool {
    failure.backend.eq_ignore_ascii_case(&adapter.backend)
        && adapter.name.contains(&failure.adapter)
        && adapter.driver.contains(&failure.driver)
        && failure.limits.as_ref().is_none_or(|only| only == limits)
}

fn main() -> ExitCode {
    let text = include_str!("../tests/expected_failures.toml");
    let expected: Expected = match toml::from_str(text) {
        Ok(expected) => expected,
        Err(error) => {
            eprintln!("tests/expected_failures.toml: {error}");
            return ExitCode::FAILURE;
        }
    };
    let adapters = adapters();
    let Some(adapter) = best(&adapters, true).map(|index| &adapters[index]) else {
        eprintln!("no usable adapter");
        return ExitCode::FAILURE;
    };
    let output = match std::io::read_to_string(std::io::stdin()) {
        Ok(output) => output,
        Err(error) => {
            eprintln!("standard input: {error}");
            return ExitCode::FAILURE;
        }
    };
    let limits = std::env::var(spikegrad::gpu::squeeze::VARIABLE).unwrap_or_default();
    let expected: Vec<_> = expected.failure.into_iter().filter(|f| here(f, adapter, &limits)).collect();
    let outcomes = outcomes(&output);
    let complaints = complaints(&outcomes, &expected);
    let failed = outcomes.values().filter(|passed| !**passed).count();
    let within = if limits.is_empty() { String::new() } else { format!(", within {limits}") };
    println!(
        "{} ({}, {}{within}): {} passed, {failed} failed, {} not as expected",
        adapter.name,
        adapter.backend,
        adapter.driver,
        outcomes.len() - failed,
        complaints.len()
    );
    complaints.iter().for_each(|complaint| println!("  {complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
     Running tests/twins.rs (target/debug/deps/twins-0123)
running 3 tests
test same_bits ... ok
test extremes ... FAILED
test slow ... ignored
test result: FAILED. 1 passed; 1 failed
     Running unittests src/lib.rs (target/debug/deps/spikegrad-0123)
running 1 test
test gpu::plan::tests::a ... ok
test result: ok. 1 passed";

    fn failure(test: &str) -> Failure {
        let [backend, adapter, driver] = ["gl", "llvmpipe", "Mesa"].map(String::from);
        Failure { test: test.into(), backend, adapter, driver, limits: None, reason: "it is so".into() }
    }

    #[test]
    fn unexpected_failures_and_passes_are_complaints() {
        let outcomes = outcomes(OUTPUT);
        assert_eq!(
            outcomes.keys().collect::<Vec<_>>(),
            ["lib::gpu::plan::tests::a", "twins::extremes", "twins::same_bits"]
        );
        assert_eq!(complaints(&outcomes, &[]), ["twins::extremes failed"]);
        assert!(complaints(&outcomes, &[failure("twins::extremes")]).is_empty());
        let unexpected = complaints(&outcomes, &[failure("twins::extremes"), failure("twins::same_bits")]);
        assert_eq!(unexpected, ["twins::same_bits passed, and is expected to fail (it is so): take the entry out"]);
        assert_eq!(complaints(&BTreeMap::new(), &[]), ["no test ran"]);
        // The driver crashed the process.
        let cut = super::outcomes(OUTPUT.split("test extremes").next().unwrap_or_default());
        assert_eq!(complaints(&cut, &[]), ["twins to its end failed"]);
    }

    #[test]
    fn the_file_can_be_read() {
        assert!(toml::from_str::<Expected>(include_str!("../tests/expected_failures.toml")).is_ok());
        assert!(toml::from_str::<Expected>("[[failure]]\ntest = 'a'").is_err());
    }
}
