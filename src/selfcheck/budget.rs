//! The time of a section. Items that do not fit into it are skipped and counted.

use std::time::{Duration, Instant};

/// A section's time limit, and the times of its items.
#[derive(Debug)]
pub struct Budget {
    begun: Instant,
    total: Duration,
    /// Time reserved for later items.
    reserved: Duration,
    longest: Duration,
    left_out: Vec<String>,
}

impl Budget {
    /// A budget of `total`, starting now.
    pub fn new(total: Duration) -> Self {
        Budget { begun: Instant::now(), total, reserved: Duration::ZERO, longest: Duration::ZERO, left_out: Vec::new() }
    }

    /// The remaining time.
    pub fn left(&self) -> Duration {
        self.total.saturating_sub(self.begun.elapsed())
    }

    /// Reserves a fraction of the total time for later items, and forgets the times of the previous items.
    pub fn reserve(&mut self, fraction: f64) {
        self.reserved = self.total.mul_f64(fraction);
        self.longest = Duration::ZERO;
    }

    /// Whether there is time for another item that takes as long as the longest so far. If not, notes `name` as skipped.
    pub fn admits(&mut self, name: &str) -> bool {
        let fits = self.left().saturating_sub(self.reserved) > self.longest;
        if !fits {
            self.left_out.push(name.into());
        }
        fits
    }

    /// Notes how long an item took.
    pub fn took(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }

    /// Describes the skipped items; `None` if there are none.
    pub fn cut(&self) -> Option<String> {
        let (first, n) = (self.left_out.first()?, self.left_out.len());
        let seconds = self.total.as_secs_f64();
        Some(match n {
            1 => format!("{first}: no time left of {seconds:.0} s"),
            _ => format!("{n} items, from {first} on: no time left of {seconds:.0} s"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_admitted_while_one_as_long_as_the_longest_fits() {
        let mut budget = Budget::new(Duration::from_secs(100));
        assert!(budget.admits("a"));
        budget.took(Duration::from_secs(60));
        budget.took(Duration::from_secs(10));
        assert!(budget.admits("b"), "60 s of almost 100");
        assert_eq!(budget.cut(), None);
        budget.took(Duration::from_secs(101));
        assert!(!budget.admits("c"));
        assert_eq!(budget.cut().unwrap(), "c: no time left of 100 s");
        assert!(!budget.admits("d"));
        assert_eq!(budget.cut().unwrap(), "2 items, from c on: no time left of 100 s");
    }

    #[test]
    fn what_is_reserved_is_left_for_later_items() {
        let mut budget = Budget::new(Duration::from_secs(100));
        budget.reserve(0.3);
        budget.took(Duration::from_secs(80));
        assert!(!budget.admits("a"), "only 70 s are for it");
        budget.reserve(0.0);
        assert!(budget.admits("b"), "and it may be short");
    }

    #[test]
    fn nothing_fits_into_no_time() {
        let mut budget = Budget::new(Duration::ZERO);
        assert!(!budget.admits("a") && budget.left() == Duration::ZERO);
    }
}
