//! Tests ThreadSanitizer: two threads add to one word without synchronisation, which it must report, or, with the argument
//! `atomic`, atomically, which it must not report. `scripts/cross tsan` runs both to check that the sanitizer works.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

struct Plain(UnsafeCell<u64>);
// SAFETY: none; it is the mistake that the sanitizer is there to find.
unsafe impl Sync for Plain {}

static PLAIN: Plain = Plain(UnsafeCell::new(0));
static ATOMIC: AtomicU64 = AtomicU64::new(0);

fn main() {
    let atomic = std::env::args().nth(1).as_deref() == Some("atomic");
    let count = move || {
        for _ in 0..1000 {
            match atomic {
                true => _ = ATOMIC.fetch_add(1, Ordering::Relaxed),
                // SAFETY: see above.
                false => unsafe { *PLAIN.0.get() += 1 },
            }
        }
    };
    let threads = [count, count].map(std::thread::spawn);
    for thread in threads {
        thread.join().expect("a thread panicked");
    }
    println!("counted");
}
