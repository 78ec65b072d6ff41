//! Clocks and waiting, which differ between browsers and operating systems. No other module depends on the difference.

use std::time::Duration;
#[cfg(not(target_family = "wasm"))]
pub(crate) use std::time::Instant;
#[cfg(target_family = "wasm")]
pub(crate) use web_time::Instant;

/// Sleeps. Does nothing in a browser, whose only thread must not block.
pub(crate) fn sleep(time: Duration) {
    #[cfg(not(target_family = "wasm"))]
    std::thread::sleep(time);
    #[cfg(target_family = "wasm")]
    let _ = time;
}

/// Waits for a future. All waiting for devices happens here.
///
/// A browser completes futures only after the program returns to it, so waiting is impossible there: the future is polled
/// once, and it is an error if it is not ready.
///
/// # Errors
/// [`Error::Unsupported`](crate::Error::Unsupported) in a browser.
#[cfg(all(feature = "gpu", not(target_family = "wasm")))]
pub(crate) fn block_on<T>(future: impl Future<Output = crate::Result<T>>) -> crate::Result<T> {
    pollster::block_on(future)
}

#[cfg(all(feature = "gpu", target_family = "wasm"))]
pub(crate) fn block_on<T>(future: impl Future<Output = crate::Result<T>>) -> crate::Result<T> {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(crate::Error::Unsupported("cannot wait in a browser; call the async function".into())),
    }
}
