//! Waiting for a callback without blocking, for browsers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A future that a callback makes ready.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    told: bool,
    waiting: Option<Waker>,
}

impl Signal {
    /// Makes it ready, and wakes the task that awaits it.
    pub fn tell(&self) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.told = true;
        if let Some(waker) = told.waiting.take() {
            waker.wake();
        }
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.told {
            return Poll::Ready(());
        }
        told.waiting = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::block_on;
    use std::time::Duration;

    #[test]
    fn it_is_ready_when_told_before_or_after() {
        let before = Signal::default();
        before.tell();
        let after = Signal::default();
        let teller = after.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            teller.tell();
        });
        let both = async {
            before.await;
            after.await;
            Ok(())
        };
        block_on(both).unwrap();
        thread.join().unwrap();
        let context = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut Signal::default()).poll(context).is_pending());
    }
}
