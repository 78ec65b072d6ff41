//! Output: lines, without failing on a closed pipe, and numbers in readable form. Colours appear on terminals only, and not if
//! `NO_COLOR` is set; anstream sees to that.

use anstream::AutoStream;
use anyhow::{Context, Result};
use clap::builder::styling::{AnsiColor, Style};
use spikegrad::engine::DeviceInfo;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The head of a table.
pub const HEAD: Style = Style::new().bold();
/// What has succeeded.
const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What may be wrong.
const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
/// What has failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// Prints a line on standard output. A closed pipe (`| head`) is not an error; the work and its exit code matter.
pub fn say(line: impl Display) -> Result<()> {
    let mut out = AutoStream::auto(std::io::stdout()).lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("standard output"),
        _ => Ok(()),
    }
}

/// Prints a line on standard error. If that fails, there is nowhere left to report it.
pub fn complain(line: impl Display) {
    let _ = writeln!(AutoStream::auto(std::io::stderr()).lock(), "{line}");
}

/// A text in this style.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The line with its verdict, one of its first two words, in a colour.
pub fn judged(line: &str) -> String {
    let verdicts = [("PASS", GOOD), ("DIFFERS", DOUBTFUL), ("UNSUPPORTED", DOUBTFUL), ("FAIL", BAD), ("ERROR", BAD)];
    let has = |word: &str| line.split_whitespace().take(2).any(|other| other == word);
    match verdicts.into_iter().find(|(word, _)| has(word)) {
        Some((word, style)) => line.replacen(word, &styled(style, word), 1),
        None => line.into(),
    }
}

/// Prints a warning on standard error.
pub fn warn(text: impl Display) {
    complain(format_args!("{DOUBTFUL}warning:{DOUBTFUL:#} {text}"));
}

/// Prints the JSON object of `--json` on one line.
pub fn say_json(value: &serde_json::Value) -> Result<()> {
    say(value)
}

/// An error with its causes. Some errors include their cause in their own message; it is not repeated.
pub fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}

/// 60000 as `60,000`.
pub fn thousands(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", thousands(n / 1000), n % 1000),
    }
}

/// 0.8371 as `83.71 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// Fractions of several layers: `1.08 / 0.89 %`.
pub fn percents(fractions: &[f64]) -> String {
    let numbers: Vec<String> = fractions.iter().map(|f| format!("{:.2}", 100.0 * f)).collect();
    format!("{} %", numbers.join(" / "))
}

/// Bytes as KiB, MiB or GiB with three digits.
pub fn bytes(n: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, bits)| n >= 1 << bits) {
        Some((unit, bits)) => format!("{} {unit}", three_digits(n as f64 / (1u64 << bits) as f64)),
        None => format!("{n} B"),
    }
}

/// A number above 0 with three digits: 1.23, 12.3, 123, 1234.
pub fn three_digits(x: f64) -> String {
    let decimals = if x >= 99.95 { 0 } else { 1 + usize::from(x < 9.995) + usize::from(x < 0.9995) };
    format!("{x:.decimals$}")
}

/// A rate: `1.23 M`.
pub fn magnitude(x: f64) -> String {
    match x {
        _ if x >= 1e9 => format!("{} G", three_digits(x / 1e9)),
        _ if x >= 1e6 => format!("{} M", three_digits(x / 1e6)),
        _ if x >= 1e3 => format!("{} k", three_digits(x / 1e3)),
        _ => format!("{x:.0}"),
    }
}

/// Seconds as `0:42`, `12:05` or `3:07:00`.
pub fn clock(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// `cpu: x86_64 (2 threads, AVX2)`.
pub fn device(info: &DeviceInfo) -> String {
    format!("{}: {} ({})", info.kind, info.name, info.detail)
}

/// Layer sizes as `784-200-200-10`.
pub fn sizes(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}

/// A path as a word of a command line for the system's shell.
pub fn shell_word(path: &Path) -> String {
    let word = path.to_string_lossy();
    if cfg!(windows) { windows_word(&word) } else { posix_word(&word) }
}

/// For sh, bash, zsh and fish.
fn posix_word(word: &str) -> String {
    match is_plain(word, "/._-+=:,@%") {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// For cmd and PowerShell. Both take double quotes, which no file name on Windows contains. To run a quoted *program*,
/// PowerShell wants `&` before it, which cmd refuses.
fn windows_word(word: &str) -> String {
    match is_plain(word, r"/\._-+:") {
        true => word.into(),
        // A backslash before the closing quote would be taken for an escape of that quote.
        false => format!("\"{word}{}\"", &word[word.trim_end_matches('\\').len()..]),
    }
}

fn is_plain(word: &str, others: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Lines of a table with columns as wide as their content; those from `right_from` on, the numbers, are right-aligned. The
/// first row is the head.
pub fn table(rows: &[Vec<String>], right_from: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(c, (cell, &width))| match c < right_from {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if let Some(head) = lines.first_mut() {
        *head = styled(HEAD, &*head);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_right() {
        assert_eq!([7, 1000, 1_234_056].map(thousands), ["7", "1,000", "1,234,056"]);
        assert_eq!(
            [0.1234, 1.234, 9.999, 12.34, 99.96, 1234.4].map(three_digits),
            ["0.123", "1.23", "10.0", "12.3", "100", "1234"]
        );
        assert_eq!([999, 1024, 15 << 20, 3 << 30].map(bytes), ["999 B", "1.00 KiB", "15.0 MiB", "3.00 GiB"]);
        assert_eq!([950.0, 12_345.0, 2.5e6, 3e9].map(magnitude), ["950", "12.3 k", "2.50 M", "3.00 G"]);
        assert_eq!([0.4, 59.6, 725.0, 11_220.0].map(clock), ["0:00", "1:00", "12:05", "3:07:00"]);
        assert_eq!((percent(0.8371), percents(&[0.0108, 0.0089])), ("83.71 %".into(), "1.08 / 0.89 %".into()));
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = || std::io::Error::other("disk on fire");
        let library = anyhow::Error::from(spikegrad::Error::io("a.png")(cause())).context("drawing");
        assert_eq!(causes(&library), "drawing: a.png: disk on fire");
        assert_eq!(causes(&anyhow::Error::from(cause())), "disk on fire");
    }

    #[test]
    fn a_path_survives_the_shell() {
        assert_eq!([posix_word("runs/fmnist-2"), posix_word("")], ["runs/fmnist-2", "''"]);
        assert_eq!(posix_word("my runs/it's"), r"'my runs/it'\''s'");
        assert_eq!(posix_word(r"runs\a"), r"'runs\a'");
        assert_eq!([windows_word(r"C:\runs\fmnist-2"), windows_word("")], [r"C:\runs\fmnist-2", "\"\""]);
        assert_eq!(windows_word(r"C:\my runs\it's"), "\"C:\\my runs\\it's\"");
        assert_eq!(windows_word(r"C:\my runs\"), r#""C:\my runs\\""#);
        assert_eq!(windows_word("100%"), "\"100%\"");
        let own = if cfg!(windows) { windows_word("my runs") } else { posix_word("my runs") };
        assert_eq!(shell_word(Path::new("my runs")), own);
    }

    #[test]
    fn verdicts_are_coloured() {
        assert_eq!(judged("PASS tiny  (PASS)"), "\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m tiny  (PASS)");
        assert_eq!(judged("probes  DIFFERS  sums"), "probes  \u{1b}[1m\u{1b}[33mDIFFERS\u{1b}[0m  sums");
        assert_eq!(judged("a b PASS"), "a b PASS");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "1.5".into()], vec!["long".into(), "12.5".into()], vec!["b".into()]];
        assert_eq!(table(&rows, 1), ["\u{1b}[1ma      1.5\u{1b}[0m", "long  12.5", "b"]);
    }
}
