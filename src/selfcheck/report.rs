//! The report file with the results of all sections.

use super::message::Message;
use super::scrub::Scrubber;
use crate::error::Result;
use crate::files::write_atomically;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// Version of the file's format.
const FORMAT: u32 = 1;

/// How a section ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Has not begun, or everything was skipped for lack of time.
    NotRun,
    /// In progress. If a file has this verdict, the program was killed or the machine crashed.
    Running,
    /// No failures and no differences.
    Pass,
    /// Has differences that are allowed: rounding, order of sums, denormals.
    Differs,
    /// Has failures.
    Fail,
}

impl Verdict {
    /// The printed word.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::NotRun => "NOT RUN",
            Verdict::Running => "RUNNING",
            Verdict::Pass => "PASS",
            Verdict::Differs => "DIFFERS",
            Verdict::Fail => "FAIL",
        }
    }
}

/// Results of a section.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SectionReport {
    /// Its name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// Duration, s.
    pub seconds: f64,
    /// The last item it began.
    pub last: Option<String>,
    /// The text after the verdict in its printed line.
    pub headline: String,
    /// Failures.
    pub failures: Vec<String>,
    /// Differences that are allowed.
    pub differences: Vec<String>,
    /// Items skipped for lack of time.
    pub cut: Vec<String>,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
    /// Its results.
    pub results: Vec<Value>,
}

impl SectionReport {
    /// A section that has not begun.
    pub fn new(name: &'static str) -> Self {
        SectionReport {
            name,
            verdict: Verdict::NotRun,
            seconds: 0.0,
            last: None,
            headline: String::new(),
            failures: Vec::new(),
            differences: Vec::new(),
            cut: Vec::new(),
            stderr: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Sets the verdict from the results.
    pub fn judge(&mut self) {
        self.verdict = match (self.failures.is_empty(), self.differences.is_empty()) {
            (false, _) => Verdict::Fail,
            (true, false) => Verdict::Differs,
            // Everything was skipped for lack of time.
            (true, true) if self.results.is_empty() && !self.cut.is_empty() => Verdict::NotRun,
            (true, true) => Verdict::Pass,
        };
    }

    /// `probes       PASS     timestamps ok …`.
    pub fn line(&self) -> String {
        let said = [self.failures.first(), self.differences.first()].into_iter().flatten().next();
        let detail = match said {
            Some(said) if self.headline.is_empty() => said.clone(),
            Some(said) => format!("{}; {said}", self.headline),
            None => self.headline.clone(),
        };
        let cut = if self.cut.is_empty() { "" } else { " (cut short)" };
        let detail: String = detail.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{:<12} {:<8} {}{cut}", self.name, self.verdict.word(), shortened(&detail)).trim_end().to_string()
    }
}

/// Maximum number of characters of the text after the verdict.
const LONGEST_DETAIL: usize = 160;

fn shortened(text: &str) -> String {
    match text.chars().count() {
        0..=LONGEST_DETAIL => text.into(),
        _ => text.chars().take(LONGEST_DETAIL).chain(['…']).collect(),
    }
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    format: u32,
    /// Program, system and settings.
    program: Value,
    /// Description of the checked adapter.
    pub adapter: Option<String>,
    /// Seconds since the beginning.
    pub seconds: f64,
    /// Name of each workload, and the time of its step, ms.
    pub step_ms: Vec<(String, f64)>,
    /// The sections, in order.
    pub sections: Vec<SectionReport>,
}

impl Report {
    /// A report without results.
    pub fn new(sections: impl IntoIterator<Item = &'static str>, device: &str, quick: bool) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let program = json!({
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "build": if cfg!(debug_assertions) { "debug" } else { "release" },
            "os": std::env::consts::OS,
            "os_version": sysinfo::System::long_os_version(),
            "kernel_version": sysinfo::System::kernel_version(),
            "arch": std::env::consts::ARCH,
            "threads": std::thread::available_parallelism().map_or(0, |n| n.get()),
            "device": device,
            "quick": quick,
            "wgpu_backend": variable("WGPU_BACKEND"),
            "limits": variable(crate::gpu::squeeze::VARIABLE),
        });
        let sections = sections.into_iter().map(SectionReport::new).collect();
        Report { format: FORMAT, program, adapter: None, seconds: 0.0, step_ms: Vec::new(), sections }
    }

    /// Adds a message of section `k`.
    pub fn note(&mut self, k: usize, message: Message) {
        let section = &mut self.sections[k];
        match message {
            Message::Doing(what) => section.last = Some(what),
            Message::Found(value) => section.results.push(value),
            Message::Adapter(_, line) => self.adapter = Some(line),
            Message::Headline(line) => section.headline = line,
            Message::StepMs(name, ms) => self.step_ms.push((name, ms)),
            Message::Differs(what) => section.differences.push(what),
            Message::Failed(what) => section.failures.push(what),
            Message::Cut(what) => section.cut.push(what),
            Message::Done => section.last = None,
        }
    }

    /// Whether any section failed, or none ran.
    pub fn failed(&self) -> bool {
        self.sections.iter().any(|section| section.verdict == Verdict::Fail)
    }

    /// The file's contents, without names of users and machines and without paths.
    pub fn json(&self, scrubber: &Scrubber) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        scrubber.value(&mut value);
        value
    }

    /// Replaces the file atomically.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path, scrubber: &Scrubber) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.json(scrubber)).unwrap_or_default();
        text.push(b'\n');
        write_atomically(path, &text)
    }

    /// The lines printed at the end: the adapter, one line per section, and the times of steps.
    pub fn lines(&self, scrubber: &Scrubber) -> Vec<String> {
        let step = |(name, ms): &(String, f64)| match *ms {
            0.0..10.0 => format!("{name} {ms:.2}"),
            _ => format!("{name} {ms:.0}"),
        };
        let steps: Vec<String> = self.step_ms.iter().map(step).collect();
        let steps = if steps.is_empty() { "not measured".into() } else { steps.join(", ") };
        let adapter = std::iter::once(format!("adapter      {}", self.adapter.as_deref().unwrap_or("none that works")));
        let sections = self.sections.iter().map(SectionReport::line);
        let lines = adapter.chain(sections).chain([format!("ms a step    {steps}")]);
        lines.map(|line| scrubber.text(&line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new(["adapters", "probes"], "gpu", true)
    }

    #[test]
    fn what_is_said_decides_the_verdict() {
        let mut report = report();
        report.note(1, Message::Doing("costs".into()));
        report.note(1, Message::Found(json!({ "x": 1 })));
        report.note(1, Message::Headline("timestamps ok".into()));
        report.sections[1].judge();
        assert_eq!(report.sections[1].line(), "probes       PASS     timestamps ok");
        assert_eq!(report.sections[1].last.as_deref(), Some("costs"));
        report.note(1, Message::Differs("sums are\ncontracted".into()));
        report.sections[1].judge();
        assert_eq!(report.sections[1].line(), "probes       DIFFERS  timestamps ok; sums are contracted");
        assert!(!report.failed());
        report.note(1, Message::Failed("atomics lose counts".into()));
        report.note(1, Message::Cut("costs".into()));
        report.sections[1].judge();
        assert_eq!(report.sections[1].line(), "probes       FAIL     timestamps ok; atomics lose counts (cut short)");
        assert!(report.failed());
        report.note(1, Message::Done);
        assert_eq!(report.sections[1].last, None);
    }

    #[test]
    fn the_file_is_replaced_whole_and_scrubbed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let scrubber = Scrubber::new(["ada".to_string()], ["engine7".to_string()], []);
        let mut report = report();
        report.write(&path, &scrubber).unwrap();
        report.note(0, Message::Failed("ada's /usr/lib/libx.so on engine7".into()));
        report.note(0, Message::Found(json!({ "driver": ["by ada"] })));
        report.write(&path, &scrubber).unwrap();
        let read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read["sections"][0]["failures"][0], "<user>'s <path>/libx.so on <host>");
        assert_eq!(read["sections"][0]["results"][0]["driver"][0], "by <user>");
        assert_eq!((&read["format"], &read["sections"][1]["verdict"]), (&json!(1), &json!("not_run")));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert!(report.write(&folder.path().join("missing/report.json"), &scrubber).is_err());
    }

    #[test]
    fn a_section_that_had_no_time_has_not_passed() {
        let mut report = report();
        report.note(1, Message::Cut("all of it".into()));
        report.sections[1].judge();
        assert_eq!(report.sections[1].verdict, Verdict::NotRun);
        report.note(1, Message::Found(json!(1)));
        report.sections[1].judge();
        assert_eq!(report.sections[1].verdict, Verdict::Pass);
    }

    #[test]
    fn long_details_are_cut() {
        let mut report = report();
        report.note(0, Message::Failed("x".repeat(500)));
        report.sections[0].judge();
        assert!(report.sections[0].line().chars().count() < 200);
    }
}
