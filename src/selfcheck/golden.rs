//! Section `golden`: runs golden cases in all variants, with and without bounds checks.

use super::task::Task;
use crate::device::Configured;
use crate::device::Device;
use crate::error::Result;
use crate::golden::{Case, CaseReport, run_case};
use crate::gpu::{GpuOptions, VARIANTS};
use serde_json::json;
use std::path::Path;

/// The built-in cases: small ones that together use every kernel of a sparse step.
const CASES: &[(&str, &[u8])] = &[
    ("tiny", include_bytes!("../../tests/golden/tiny.safetensors")),
    ("one", include_bytes!("../../tests/golden/one.safetensors")),
    ("t2", include_bytes!("../../tests/golden/t2.safetensors")),
    ("ties", include_bytes!("../../tests/golden/ties.safetensors")),
    ("appendix_c", include_bytes!("../../tests/golden/appendix_c.safetensors")),
    ("late_post", include_bytes!("../../tests/golden/late_post.safetensors")),
    ("saturated", include_bytes!("../../tests/golden/saturated.safetensors")),
    ("deep", include_bytes!("../../tests/golden/deep.safetensors")),
    ("conv", include_bytes!("../../tests/golden/conv.safetensors")),
];
/// Number of cases that a quick check runs.
const QUICK: usize = 4;

/// Runs the section, beginning with the program's default mode.
pub fn run(task: &mut Task) -> Result<()> {
    let cases = if task.quick { &CASES[..QUICK] } else { CASES };
    let (mut passed, mut played) = (0, 0);
    let mut worst: Option<(f64, String)> = None;
    for checked in [false, true] {
        for &(name, bytes) in cases {
            let case = Case::parse(Path::new(name), bytes)?;
            for &variant in &VARIANTS {
                let how = if checked { "checked" } else { "unchecked" };
                let item = format!("{name}, {variant}, {how}");
                let options = GpuOptions { variant: Some(variant), checked: Some(checked), ..task.options() };
                let Some(report) = task.item(&item, |_| play(&case, options)) else { continue };
                played += 1;
                passed += usize::from(report.passed());
                let near = report.worst();
                if let Some(check) =
                    near.filter(|check| worst.as_ref().is_none_or(|(w, _)| check.value / check.limit > *w))
                {
                    worst = Some((check.value / check.limit, format!("{check} ({item})")));
                }
                let failures: Vec<String> =
                    report.checks.iter().filter(|check| !check.passed()).map(ToString::to_string).collect();
                if !report.passed() {
                    task.failed(format!("{item}: {}", failures.join("; ")));
                }
                task.found(json!({
                    "case": name,
                    "variant": variant,
                    "checked": checked,
                    "passed": report.passed(),
                    "checks": report.checks.len(),
                    "worst": near.map(|check| json!({ "of": check.name, "error": finite(check.value), "limit": check.limit })),
                    "failures": failures,
                }));
            }
        }
    }
    let worst = worst.map_or(String::new(), |(_, worst)| format!(", worst {worst}"));
    task.headline(format!("{passed} of {played} passed{worst}"));
    Ok(())
}

/// `None` for infinities and NaN, which JSON does not support.
fn finite(x: f64) -> Option<f64> {
    Some(x).filter(|x| x.is_finite())
}

fn play(case: &Case, options: GpuOptions) -> Result<CaseReport> {
    run_case(case, &mut Configured { device: Device::Gpu(options.adapter), options })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Case;
    use crate::network::Logits;

    #[test]
    fn the_cases_in_the_program_are_small_and_of_every_kind() {
        assert!(CASES.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 500_000);
        let cases: Vec<Case> = CASES.iter().map(|(name, bytes)| Case::parse(Path::new(name), bytes).unwrap()).collect();
        let networks = || {
            cases.iter().filter_map(|case| match case {
                Case::Network(case) => Some(&case.network),
                Case::Delta(_) => None,
            })
        };
        assert_eq!(networks().count(), CASES.len() - 1);
        assert!(networks().any(|network| network.first_conv().is_some()));
        assert!(networks().any(|network| network.hidden.len() == 5));
        assert!(
            networks().all(|network| network.integrator().is_some_and(|readout| readout.logits == Logits::Max)),
            "a case with sums is larger; see determinism"
        );
        for (case, (name, _)) in cases.iter().zip(CASES) {
            assert_eq!(case.name(), *name);
        }
    }
}
