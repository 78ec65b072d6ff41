//! `spikegrad selfcheck`, with working drivers and with drivers that hang, crash or lose the device.

mod program;

use program::{PROGRAM, said};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SECTIONS: [&str; 7] = ["adapters", "probes", "pipelines", "golden", "determinism", "clocks", "workloads"];

/// What is to be seen is what a section finds, not how fast this machine is, and other tests run beside this one.
const PATIENCE: &str = "4";
/// A hang costs its section's time.
const PATIENCE_FOR_HANGS: &str = "2";

/// A machine whose names can be told from any other word, and the report of a check on it.
struct Machine {
    _folder: tempfile::TempDir,
    folder: PathBuf,
    report: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("home/quagga user");
        std::fs::create_dir_all(&path).unwrap();
        Machine { report: path.join("report of quagga.json"), folder: path, _folder: folder }
    }

    fn check(&self) -> Command {
        self.check_for(PATIENCE)
    }

    fn check_for(&self, patience: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["selfcheck", "--quick", "--out"]).arg(&self.report).current_dir(&self.folder);
        command.args(["--patience", patience]);
        command.env("HOME", &self.folder).env("USER", "quagga").env("HOSTNAME", "thylacine.example.org");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.report).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

fn section<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut sections = report["sections"].as_array().unwrap().iter();
    sections.find(|section| section["name"] == name).unwrap_or_else(|| panic!("no section {name}"))
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

/// Finds text that looks like an absolute path.
fn absolute_path(text: &str) -> Option<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "\"'`(),;=".contains(c));
    let root = std::fs::read_dir("/").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let roots: Vec<String> = root.map(|name| format!("/{name}")).collect();
    words.into_iter().find(|word| {
        roots
            .iter()
            .any(|root| word.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            || word.contains(":\\")
    })
}

#[test]
fn every_section_tells_something_and_nothing_of_the_machine() {
    let machine = Machine::new();
    let output = machine.check().output().unwrap();
    said(&output, 0);
    let lines = lines(&output);
    assert_eq!(lines.len(), 10, "{lines:#?}");
    assert!(
        lines[0].starts_with("adapter ")
            && lines[8].starts_with("ms a step ")
            && lines[9].contains("report of quagga.json")
    );
    let report = machine.json();
    assert_eq!(report["format"], 1);
    for (name, line) in SECTIONS.iter().zip(&lines[1..]) {
        let section = section(&report, name);
        let verdict = section["verdict"].as_str().unwrap();
        assert!(["pass", "differs"].contains(&verdict), "{section:#}");
        assert!(line.starts_with(name) && line.contains(&verdict.to_uppercase()), "{line}");
        assert!(!section["results"].as_array().unwrap().is_empty(), "{name} found nothing");
        assert!(section["seconds"].as_f64().unwrap() > 0.0);
    }
    let of = |name: &str, field: &str| -> Vec<Value> {
        let results = section(&report, name)["results"].as_array().unwrap();
        results.iter().filter(|result| result.get(field).is_some()).cloned().collect()
    };
    let adapter = &of("adapters", "summary")[0];
    assert!(adapter["limits"].as_array().unwrap().len() >= 10 && adapter["features"].is_array(), "{adapter:#}");
    let probes: Vec<Value> = of("probes", "probe").iter().map(|probe| probe["probe"].clone()).collect();
    assert_eq!(probes, ["numbers", "atomics", "timestamps", "costs", "ceilings"]);
    assert!(of("pipelines", "compile_ms").iter().all(|way| way["compile_ms"].as_array().unwrap().len() > 10));
    assert!(of("golden", "case").len() >= 2);
    assert!(of("determinism", "hash").len() >= 2 && of("determinism", "repetitions").len() == 1);
    assert!(of("clocks", "seconds_and_ms_a_step")[0]["seconds_and_ms_a_step"].as_array().unwrap().len() >= 2);
    assert!(!of("workloads", "steady").is_empty() && !of("workloads", "kernels").is_empty());

    let text = machine.text();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let here = env!("CARGO_MANIFEST_DIR");
    for name in ["quagga", "thylacine", here] {
        assert!(!text.to_lowercase().contains(name), "`{name}` is in the file");
    }
    // This machine's may be part of a word: `vm` of `llvm`.
    let host = host.trim().to_lowercase();
    let lower = text.to_lowercase();
    let mut words = lower.split(|c: char| !(c.is_alphanumeric() || "-.".contains(c)));
    assert!(!words.any(|word| word == host), "`{host}` is in the file");
    assert_eq!(absolute_path(&text), None);
}

#[test]
fn the_search_for_paths_finds_them() {
    for text in ["at /usr/lib/x.so", "\"/tmp\"", "(/home/x)", r"C:\Users"] {
        assert!(absolute_path(text).is_some(), "{text}");
    }
    assert_eq!(absolute_path("ms/step, <path>/x.so, and/or /"), None);
}

/// Processes whose parent is `parent`, with the words that they were started with.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<(u32, Vec<String>)> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let words = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let words = words.split(|&b| b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        (of == parent).then_some((id, words))
    });
    processes.collect()
}

/// Sends a signal to the process of each of these sections as soon as it runs, and waits for the end of the check.
#[cfg(target_os = "linux")]
fn struck(machine: &Machine, signals: &[(&str, &str)]) -> Output {
    let child = machine.check_for(PATIENCE_FOR_HANGS).spawn().unwrap();
    let begun = std::time::Instant::now();
    for (name, signal) in signals {
        let section = loop {
            let of_section = |(_, words): &(u32, Vec<String>)| words.windows(2).any(|pair| pair == ["--section", name]);
            match children(child.id()).into_iter().find(of_section) {
                Some((id, _)) => break id,
                None if begun.elapsed() > Duration::from_secs(300) => panic!("section {name} did not begin"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let sent = Command::new("kill").args([&format!("-{signal}"), &section.to_string()]).status().unwrap();
        assert!(sent.success());
    }
    child.wait_with_output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_driver_that_crashes_or_hangs_costs_its_section() {
    let machine = Machine::new();
    // Not SEGV: the handler that looks for overflows of the stack waits for a second one, which a crash brings.
    let output = struck(&machine, &[("golden", "ABRT"), ("clocks", "STOP")]);
    let said = said(&output, 1);
    assert!(said.contains("golden       FAIL     killed by signal 6 (SIGABRT)"), "{said}");
    assert!(said.contains("clocks       FAIL     timed out after "), "{said}");
    let report = machine.json();
    for other in SECTIONS.iter().filter(|name| !["golden", "clocks"].contains(name)) {
        let verdict = section(&report, other)["verdict"].as_str().unwrap();
        assert!(["pass", "differs"].contains(&verdict), "{:#}", section(&report, other));
    }
}

/// If the check itself is killed, the file has the previous results and the current item.
#[cfg(target_os = "linux")]
#[test]
fn a_check_that_is_killed_leaves_its_file() {
    let machine = Machine::new();
    let mut child = machine.check().spawn().unwrap();
    program::wait_until(&mut child, "a section done", || {
        machine.report.exists() && section(&machine.json(), "adapters")["verdict"] == "pass"
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let report = machine.json();
    assert!(!section(&report, "adapters")["results"].as_array().unwrap().is_empty());
    assert_eq!(section(&report, "workloads")["verdict"], "not_run");
}

/// The program, as debug builds let tests do, loses the device of every engine that a section opens, or panics.
#[cfg(debug_assertions)]
fn at_fault(fault: &str) -> (Value, Output) {
    let machine = Machine::new();
    let output = machine.check().env("SPIKEGRAD_SELFCHECK_FAULT", fault).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    (machine.json(), output)
}

#[cfg(debug_assertions)]
#[test]
fn a_lost_device_is_told_as_lost() {
    let (report, output) = at_fault("lost");
    assert_eq!(section(&report, "probes")["verdict"].as_str().map(|v| ["pass", "differs"].contains(&v)), Some(true));
    for name in ["pipelines", "determinism", "clocks", "workloads"] {
        let section = section(&report, name);
        assert_eq!(section["verdict"], "fail", "{section:#}");
        assert!(section["failures"][0].as_str().unwrap().contains("the GPU was lost"), "{section:#}");
    }
    assert_eq!(lines(&output).len(), 10);
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_is_kept_word_for_word() {
    let (report, _) = at_fault("panic");
    let clocks = section(&report, "clocks");
    assert_eq!(clocks["verdict"], "fail");
    assert!(
        clocks["failures"][0].as_str().unwrap().contains("ended with exit code 101 at: steps from idle on"),
        "{clocks:#}"
    );
    assert!(clocks["stderr"].to_string().contains("injected by SPIKEGRAD_SELFCHECK_FAULT"), "{clocks:#}");
    assert_eq!(absolute_path(&clocks.to_string()), None);
}

#[test]
fn what_cannot_be_checked_or_written_is_refused_at_once() {
    let refused = |words: &[&str], code: i32, part: &str| {
        let output = Command::new(PROGRAM).arg("selfcheck").args(words).output().unwrap();
        let said = said(&output, code);
        assert!(said.contains("error: ") && said.contains(part), "{said}");
    };
    refused(&["--device", "cpu"], 2, "--device cpu: must be gpu or gpu:N");
    refused(&["--out", "/proc/nowhere/x.json"], 1, "x.json");
    assert!(!Path::new("selfcheck.json").exists());
}

/// An adapter without timestamps, with small limits: kernels are timed by cuts.
#[test]
fn a_smaller_device_is_checked_too() {
    let machine = Machine::new();
    let limits = "downlevel,lanes=64,no-timestamps";
    let output = machine.check().env("SPIKEGRAD_LIMITS", limits).output().unwrap();
    said(&output, 0);
    let report = machine.json();
    assert_eq!(report["program"]["limits"], limits);
    let workloads = section(&report, "workloads")["results"].as_array().unwrap();
    let cuts = workloads.iter().find_map(|result| result.get("cuts")).expect("no cuts");
    let kernels = cuts["kernels"].as_array().unwrap();
    assert!(kernels.iter().any(|kernel| kernel["name"] == "lif_forward.0"), "{cuts:#}");
    assert_eq!(cuts["measured"], cuts["dispatches"]);
    let missing = workloads.iter().find(|result| result.get("timestamps").is_some()).unwrap();
    assert_eq!(missing["timestamps"], "missing, zero or backwards");
}

#[test]
fn an_adapter_that_is_not_there_is_named() {
    let machine = Machine::new();
    let output = machine.check().args(["--device", "gpu:99"]).output().unwrap();
    let said = said(&output, 1);
    assert!(said.contains("adapters     FAIL") && said.contains("NOT RUN"), "{said}");
    assert_eq!(lines(&output).len(), 10);
}
