//! Runs each section in a separate process, reads its messages, and kills it when its time is up.

use super::message::Message;
use super::report::{Report, Verdict};
use super::scrub::Scrubber;
use super::{MOST_SECONDS, SECTIONS, Section};
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Interval at which the file is rewritten while a section reports results.
const REWRITE: Duration = Duration::from_secs(5);
/// How long to wait for a killed process to end. A driver may prevent it from ending.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// Maximum number of lines of a section's standard error that are kept.
const STDERR_LINES: usize = 40;
/// Maximum length of such a line in bytes.
const STDERR_LINE: usize = 400;

/// Time limits of a section.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// Time after which it begins nothing new.
    pub soft: Duration,
    /// Time after which it is killed.
    pub hard: Duration,
}

/// Settings of the check.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `gpu:N`; `None` takes the best adapter.
    pub device: Option<usize>,
    /// Whether to use small networks and short times.
    pub quick: bool,
    /// Factor on all time limits; more than 1 for slow or busy machines.
    pub patience: u32,
}

/// Runs all sections and keeps the report at `path` up to date. `command` creates the process for a section and an
/// adapter; `began` is called when a section begins.
///
/// # Errors
/// The file cannot be written, or a process cannot be started. Failures of a started process are part of the report.
pub fn check(
    path: &Path,
    settings: Settings,
    command: &dyn Fn(Section, Option<usize>, Time) -> Command,
    began: &mut dyn FnMut(Section),
) -> Result<(Report, Scrubber)> {
    let Settings { device, quick, patience } = settings;
    let scrubber = Scrubber::of_this_process();
    let whole = patience * Duration::from_secs(MOST_SECONDS);
    let asked = device.map_or("gpu".into(), |index| format!("gpu:{index}"));
    let report = Report::new(SECTIONS.map(Section::name), &asked, quick);
    let mut check = RunningCheck { path, scrubber, report, begun: Instant::now(), written: Instant::now(), device };
    check.write()?;
    for (k, section) in SECTIONS.into_iter().enumerate() {
        let (soft, hard) = section.seconds(quick);
        let left = whole.saturating_sub(check.begun.elapsed());
        let of = |seconds: u64| (patience * Duration::from_secs(seconds)).min(left);
        let time = Time { soft: of(soft), hard: of(hard) };
        if section != Section::Adapters && check.report.adapter.is_none() {
            check.report.sections[k].headline = "no adapter to run on".into();
        } else if left < Duration::from_secs(1) {
            check.report.sections[k].headline = format!("no time left of {:.0} s", whole.as_secs_f64());
        } else {
            began(section);
            check.section(k, time, command(section, check.device, time))?;
        }
    }
    check.write()?;
    Ok((check.report, check.scrubber))
}

struct RunningCheck<'a> {
    path: &'a Path,
    scrubber: Scrubber,
    report: Report,
    begun: Instant,
    written: Instant,
    /// The adapter, once it is known.
    device: Option<usize>,
}

impl RunningCheck<'_> {
    fn write(&mut self) -> Result<()> {
        self.report.seconds = (self.begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        self.written = Instant::now();
        self.report.write(self.path, &self.scrubber)
    }

    /// Runs section `k`.
    fn section(&mut self, k: usize, time: Time, mut command: Command) -> Result<()> {
        let clock = Instant::now();
        self.report.sections[k].verdict = Verdict::Running;
        self.write()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io(command.get_program().to_os_string()))?;
        let lines = listen(&mut child);
        let stderr = Tail::of(&mut child);
        let mut done = false;
        let outcome = loop {
            match lines.recv_timeout(time.hard.saturating_sub(clock.elapsed())) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(message) => {
                        done |= message == Message::Done;
                        if let Message::Adapter(index, _) = message {
                            self.device = Some(index);
                        }
                        self.report.note(k, message);
                        if self.written.elapsed() > REWRITE {
                            self.write()?;
                        }
                    }
                    // Output of a driver or layer on standard output.
                    Err(_) => stderr.push(line),
                },
                Err(RecvTimeoutError::Timeout) => break None,
                Err(RecvTimeoutError::Disconnected) => {
                    break wait(&mut child, time.hard.saturating_sub(clock.elapsed()));
                }
            }
        };
        if outcome.is_none() {
            let _ = child.kill();
            wait(&mut child, LAST_WAIT);
        }
        let section = &mut self.report.sections[k];
        section.seconds = (clock.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        if let Some(failure) = failure(outcome, done, section.last.as_deref(), time.hard) {
            section.failures.push(failure);
        }
        section.judge();
        section.stderr = stderr.lines(section.verdict == Verdict::Fail);
        self.write()
    }
}

/// Describes how a process failed; `None` for success. `outcome` is `None` for a process that was killed by time limit.
fn failure(outcome: Option<ExitStatus>, done: bool, last: Option<&str>, hard: Duration) -> Option<String> {
    let at = last.map_or(String::new(), |last| format!(" at: {last}"));
    let Some(status) = outcome else {
        let seconds = hard.as_secs_f64();
        return Some(match done {
            true => format!("timed out after {seconds:.0} s: its work was done, but its process did not end"),
            false => format!("timed out after {seconds:.0} s{at}"),
        });
    };
    match (status.success(), done) {
        (true, true) => None,
        (true, false) => Some(format!("ended without a word{at}")),
        (false, true) => Some(format!("{} after its work was done", how(status))),
        // The section has reported the failure itself; this adds how the process ended.
        (false, false) => Some(format!("{}{at}", how(status))),
    }
}

/// `killed by signal 11 (SIGSEGV)`, `ended with exit code 1`.
fn how(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = match signal {
            4 => " (SIGILL)",
            6 => " (SIGABRT)",
            7 => " (SIGBUS)",
            8 => " (SIGFPE)",
            9 => " (SIGKILL)",
            11 => " (SIGSEGV)",
            15 => " (SIGTERM)",
            _ => "",
        };
        return format!("killed by signal {signal}{name}");
    }
    match status.code() {
        // Windows reports crashes as such codes.
        Some(code) if !(0..256).contains(&code) => format!("ended with exit code {:#010x}", code as u32),
        Some(code) => format!("ended with exit code {code}"),
        None => "ended without an exit code".into(),
    }
}

/// Waits for the process to end, at most for `most`.
fn wait(child: &mut Child, most: Duration) -> Option<ExitStatus> {
    let clock = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if clock.elapsed() < most => std::thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// Receives the lines of a process's standard output.
fn listen(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut lines = BufReader::new(out).split(b'\n').map_while(|line| line.ok());
            // The receiver is gone once the section is over.
            let _ = lines.try_for_each(|line| sender.send(String::from_utf8_lossy(&line).into_owned()));
        });
    }
    receiver
}

/// Collects the last lines of a process's standard error.
struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tail {
    fn of(child: &mut Child) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let into = Arc::clone(&lines);
        let reader = child.stderr.take().map(|err| {
            std::thread::spawn(move || {
                // Reads are bounded, since a driver may write endless lines.
                let mut err = BufReader::new(err);
                let mut line = Vec::new();
                while let Ok(1..) = err.by_ref().take(STDERR_LINE as u64).read_until(b'\n', &mut line) {
                    keep(&into, String::from_utf8_lossy(&line).trim_end().to_string());
                    line.clear();
                }
            })
        });
        Tail { lines, reader }
    }

    fn push(&self, line: String) {
        keep(&self.lines, line);
    }

    /// The collected lines; those of level DEBUG only if `all`.
    fn lines(self, all: bool) -> Vec<String> {
        // Another process may keep the pipe of a killed process open, so the wait is limited.
        let clock = Instant::now();
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished())
            && clock.elapsed() < Duration::from_millis(300)
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| all || !line.starts_with("DEBUG ")).cloned().collect()
    }
}

fn keep(lines: &Mutex<VecDeque<String>>, line: String) {
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    // Some libraries print the same line each time they are opened.
    if lines.back() == Some(&line) {
        return;
    }
    if lines.len() == STDERR_LINES {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const SHORT: Duration = Duration::from_secs(7);

    #[test]
    fn ends_in_words() {
        let said =
            |raw: i32, done: bool, last: Option<&str>| failure(Some(ExitStatus::from_raw(raw)), done, last, SHORT);
        assert_eq!(said(0, true, None), None);
        assert_eq!(said(11, false, Some("conv")).unwrap(), "killed by signal 11 (SIGSEGV) at: conv");
        assert_eq!(said(6, true, None).unwrap(), "killed by signal 6 (SIGABRT) after its work was done");
        assert_eq!(said(1 << 8, false, None).unwrap(), "ended with exit code 1");
        assert_eq!(said(0, false, Some("x")).unwrap(), "ended without a word at: x");
        assert_eq!(failure(None, false, Some("x"), SHORT).unwrap(), "timed out after 7 s at: x");
        assert!(failure(None, true, None, SHORT).unwrap().contains("did not end"));
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Runs a shell script in place of the program for each section.
    fn play(scripts: &dyn Fn(Section) -> String) -> (Report, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let begins = std::cell::RefCell::new(Vec::new());
        let (report, _) = check(
            &path,
            Settings { device: None, quick: true, patience: 1 },
            &|section, device, _| {
                begins.borrow_mut().push((section, device));
                shell(&scripts(section))
            },
            &mut |_| {},
        )
        .unwrap();
        let written = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert!(
            begins.borrow().iter().skip(1).all(|(_, device)| *device == Some(3)),
            "the chosen adapter is passed on"
        );
        (report, written)
    }

    #[test]
    fn one_section_that_ends_badly_costs_no_other() {
        let (report, written) = play(&|section| match section {
            Section::Adapters => r#"echo '{"adapter":[3,"a GPU"]}'; echo '"done"'"#.into(),
            Section::Probes => {
                r#"echo '{"found":7}'; echo '{"doing":"atomics"}'; echo oh no >&2; kill -SEGV $$"#.into()
            }
            Section::Golden => r#"echo talk; echo DEBUG x >&2; echo warning >&2; echo '"done"'"#.into(),
            Section::Clocks => r#"echo '{"failed":"lost"}'; exit 1"#.into(),
            _ => r#"echo '{"differs":"sums"}'; echo '"done"'"#.into(),
        });
        let verdicts: Vec<Verdict> = report.sections.iter().map(|section| section.verdict).collect();
        use Verdict::*;
        assert_eq!(verdicts, [Pass, Fail, Differs, Pass, Differs, Fail, Differs]);
        let probes = &written["sections"][1];
        assert_eq!((&probes["results"][0], &probes["stderr"][0]), (&7.into(), &"oh no".into()));
        assert_eq!(probes["failures"][0], "killed by signal 11 (SIGSEGV) at: atomics");
        let golden = &written["sections"][3]["stderr"];
        assert!(
            golden.as_array().unwrap().contains(&"talk".into())
                && golden.as_array().unwrap().contains(&"warning".into())
        );
        assert!(!golden.to_string().contains("DEBUG"));
        assert_eq!(report.lines(&Scrubber::default()).len(), 9);
        assert_eq!(written["sections"][5]["failures"], serde_json::json!(["lost", "ended with exit code 1"]));
    }

    #[test]
    fn without_an_adapter_nothing_else_begins() {
        let (report, _) = play(&|_| r#"echo '{"failed":"no usable adapter"}'; exit 1"#.into());
        assert!(report.failed());
        assert!(report.sections[1..].iter().all(|section| section.verdict == Verdict::NotRun));
    }

    #[test]
    fn a_process_that_hangs_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let report = Report::new(["adapters"], "gpu", true);
        let (scrubber, now) = (Scrubber::default(), Instant::now());
        let mut check = RunningCheck { path: &path, scrubber, report, begun: now, written: now, device: None };
        let time = Time { soft: Duration::ZERO, hard: Duration::from_millis(300) };
        let stopped = shell(r#"echo '{"doing":"waiting for the GPU"}'; kill -STOP $$"#);
        check.section(0, time, stopped).unwrap();
        assert!(now.elapsed() < Duration::from_secs(5));
        assert_eq!(check.report.sections[0].failures, ["timed out after 0 s at: waiting for the GPU"]);
    }

    #[test]
    fn endless_talk_is_cut() {
        let mut child = shell("seq -s ' ' 50000 >&2; seq 1000 >&2").stderr(Stdio::piped()).spawn().unwrap();
        let tail = Tail::of(&mut child);
        child.wait().unwrap();
        let lines = tail.lines(true);
        assert!((1..=STDERR_LINES).contains(&lines.len()) && lines.iter().all(|line| line.len() <= STDERR_LINE));
    }
}
