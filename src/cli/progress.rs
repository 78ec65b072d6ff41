//! Progress on standard error: one line, no wider than the terminal. Without a terminal there is none.

use super::show::clock;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two redraws.
const REFRESH: Duration = Duration::from_millis(100);
/// How long a stage takes before its line shows a clock.
const PATIENCE: Duration = Duration::from_secs(2);
/// Fewest and most characters between the brackets of the bar.
const BAR: (usize, usize) = (12, 40);
/// Width if the terminal does not say.
const USUAL_WIDTH: usize = 80;

/// A line of progress. It disappears when the value is dropped.
pub struct Progress {
    bar: ProgressBar,
    shown: Arc<Mutex<Shown>>,
}

/// What the line shows.
struct Shown {
    /// Empty if there is no line.
    what: String,
    done: u64,
    /// 0 if the amount of work is unknown.
    of: u64,
    /// Further texts, the most important one first.
    details: Vec<String>,
    since: Instant,
}

impl Progress {
    /// Nothing is shown yet. With `visible` false, as for `--quiet` and `--json`, nothing ever is.
    pub fn new(visible: bool) -> Self {
        let bar = if visible { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let shown = Shown { what: String::new(), done: 0, of: 0, details: Vec::new(), since: Instant::now() };
        let shown = Arc::new(Mutex::new(shown));
        let seen = Arc::clone(&shown);
        let draw = move |_: &ProgressState, out: &mut dyn Write| {
            // Writing to a String cannot fail.
            let _ = out.write_str(&line(width(), &lock(&seen)));
        };
        if let Ok(style) = ProgressStyle::with_template("{line}") {
            bar.set_style(style.with_key("line", draw));
        }
        Progress { bar, shown }
    }

    /// Shows what is being done, with a clock, since it is not known how much of it there is.
    pub fn stage(&self, what: impl Into<String>) {
        let what = what.into();
        self.show(Shown { what, done: 0, of: 0, details: Vec::new(), since: Instant::now() });
    }

    /// Shows that `done` of `of` are done, and details as far as there is room for them, the first ones first.
    pub fn count(&self, what: impl Into<String>, done: u64, of: u64, details: Vec<String>) {
        self.show(Shown { what: what.into(), done, of, details, since: Instant::now() });
    }

    /// Does something that prints lines, which then appear above this one.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Removes the line until the next call.
    pub fn clear(&self) {
        lock(&self.shown).what.clear();
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }

    fn show(&self, shown: Shown) {
        if self.bar.is_hidden() {
            return;
        }
        let before = std::mem::replace(&mut *lock(&self.shown), shown);
        if before.what.is_empty() {
            // Draws at once, and then regularly, whatever the work does.
            self.bar.reset();
            self.bar.enable_steady_tick(REFRESH);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Columns of the terminal.
fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(USUAL_WIDTH, |(width, _)| width.0.into())
}

/// `epoch 3/10  [===>        ]  45/235  0:42 left  loss 0.4711`, in at most `width` columns.
fn line(width: usize, shown: &Shown) -> String {
    let elapsed = shown.since.elapsed();
    let share = match shown.of {
        0 if elapsed >= PATIENCE && shown.details.is_empty() => clock(elapsed.as_secs_f64()),
        0 => String::new(),
        of => format!("{}/{of}", shown.done),
    };
    let length = |text: &str| text.chars().count();
    let gap = |text: &str| if text.is_empty() { 0 } else { 2 + length(text) };
    let what = shortened(&shown.what, width.saturating_sub(gap(&share)));
    let mut left = width.saturating_sub(length(&what) + gap(&share));
    let mut details = Vec::new();
    let mut bar = 0;
    for (k, detail) in shown.details.iter().enumerate() {
        if gap(detail) <= left {
            left -= gap(detail);
            details.push(detail.as_str());
        }
        // The bar is more important than all details but the first.
        if k == 0 && shown.of > 0 && left >= BAR.0 + 4 {
            (bar, left) = (BAR.0, left - BAR.0 - 4);
        }
    }
    if bar == 0 && shown.of > 0 && left >= BAR.0 + 4 {
        (bar, left) = (BAR.0, left - BAR.0 - 4);
    }
    let bar = if bar == 0 { String::new() } else { drawn((bar + left).min(BAR.1), shown.done, shown.of) };
    let parts = [what.as_str(), bar.as_str(), share.as_str()].into_iter().chain(details);
    shortened(&parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  "), width)
}

/// `[====>       ]` with `width` characters in the brackets.
fn drawn(width: usize, done: u64, of: u64) -> String {
    let full = (width as u64 * done.min(of) / of.max(1)) as usize;
    let tip = if full < width { ">" } else { "" };
    format!("[{:<width$}]", format!("{}{tip}", "=".repeat(full)))
}

/// The text in at most `width` characters.
fn shortened(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.into(),
        false => text.chars().take(width.saturating_sub(1)).chain(std::iter::once('…').take(width)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(done: u64, of: u64, details: &[&str]) -> Shown {
        let details = details.iter().map(|&detail| detail.into()).collect();
        Shown { what: "epoch 3/10".into(), done, of, details, since: Instant::now() }
    }

    #[test]
    fn the_line_fits_any_terminal() {
        let details = ["0:42 left", "loss 0.4711", "train 83.1 %", "12.3 M spikes/s"];
        let training = shown(45, 235, &details);
        for (width, expected) in [
            (20, "epoch 3/10  45/235"),
            (40, "epoch 3/10  45/235  0:42 left"),
            (80, "epoch 3/10  [===>                ]  45/235  0:42 left  loss 0.4711  train 83.1 %"),
            (
                200,
                "epoch 3/10  [=======>                                ]  45/235  0:42 left  loss 0.4711  train 83.1 %  \
                 12.3 M spikes/s",
            ),
        ] {
            assert_eq!(line(width, &training), expected, "{width}");
        }
        for width in 0..250 {
            for shown in [&training, &shown(0, 235, &["starting"]), &shown(0, 0, &["starting"]), &shown(7, 5, &[])] {
                let line = line(width, shown);
                assert!(line.chars().count() <= width, "{width}: {line}");
                assert!(width < 10 || line.starts_with("epoch 3/10") || line.contains('…'), "{width}: {line}");
            }
        }
    }

    #[test]
    fn before_the_first_step_nothing_is_made_up() {
        assert_eq!(line(80, &shown(0, 0, &["starting"])), "epoch 3/10  starting");
        assert_eq!(
            line(60, &shown(0, 235, &["starting"])),
            "epoch 3/10  [>                            ]  0/235  starting"
        );
        assert_eq!(line(80, &Shown { what: String::new(), ..shown(0, 0, &[]) }), "");
    }

    #[test]
    fn what_takes_long_has_a_clock() {
        let Some(since) = Instant::now().checked_sub(Duration::from_secs(65)) else { return };
        assert_eq!(line(80, &Shown { since, ..shown(0, 0, &[]) }), "epoch 3/10  1:05");
        assert_eq!(line(12, &Shown { since, ..shown(0, 0, &[]) }), "epoch…  1:05");
    }
}
