//! What a browser does otherwise than an operating system: clocks and waiting. Nothing else asks which of them it is on.

use std::time::Duration;
#[cfg(not(target_family = "wasm"))]
pub(crate) use std::time::Instant;
#[cfg(target_family = "wasm")]
pub(crate) use web_time::Instant;

/// Lets some time go by. In a browser, whose one thread must not stop, this does nothing.
pub(crate) fn sleep(time: Duration) {
    #[cfg(not(target_family = "wasm"))]
    std::thread::sleep(time);
    #[cfg(target_family = "wasm")]
    let _ = time;
}

/// Waits for what a device answers later: the one place that does.
///
/// In a browser nothing can be waited for here, since answers come only when this program returns; there the future is
/// polled once, and what is not ready then is an error.
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
        Poll::Pending => Err(crate::Error::Unsupported("a browser cannot wait; call the async function".into())),
    }
}
