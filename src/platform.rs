//! Clocks and waiting, which differ between browsers and operating systems. No other module depends on the difference.
//!
//! A browser runs the program and everything that the program waits for on one thread. To wait there, the program is suspended
//! (JavaScript Promise Integration, JSPI) until the browser has run what it has to run. That takes an export that is marked
//! `#[wasm_bindgen(jspi)]` to be called from JavaScript, and a browser with JSPI: Chrome 137, Firefox 153, Safari 27 or later.

use std::time::Duration;
#[cfg(not(target_family = "wasm"))]
pub(crate) use std::time::Instant;
#[cfg(target_family = "wasm")]
pub(crate) use web_time::Instant;

/// Sleeps.
pub(crate) fn sleep(time: Duration) {
    #[cfg(not(target_family = "wasm"))]
    std::thread::sleep(time);
    // Where the program cannot be suspended, it goes on at once.
    #[cfg(target_family = "wasm")]
    let _ = browser::sleep(time);
}

/// Lets a browser run what waits for the program's only thread: messages to it, answers of the GPU. Elsewhere it does nothing.
#[cfg(feature = "live")]
pub(crate) fn give_way() {
    #[cfg(target_family = "wasm")]
    let _ = browser::give_way();
}

/// Waits for a future. All waiting for devices happens here.
///
/// # Errors
/// Those of the future. In a browser, [`Error::Unsupported`](crate::Error::Unsupported) where the program cannot be suspended.
#[cfg(all(feature = "gpu", not(target_family = "wasm")))]
pub(crate) fn block_on<T>(future: impl Future<Output = crate::Result<T>>) -> crate::Result<T> {
    pollster::block_on(future)
}

#[cfg(all(feature = "gpu", target_family = "wasm"))]
pub(crate) use browser::block_on;

// Some waits are for one of these features.
#[cfg(target_family = "wasm")]
#[cfg_attr(not(all(feature = "gpu", feature = "live")), allow(dead_code))]
mod browser {
    use crate::error::{Error, Result};
    use js_sys::{Function, Promise};
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Duration;
    use wasm_bindgen::prelude::*;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_name = setTimeout)]
        fn set_timeout(call: &Function, ms: f64);
    }

    #[wasm_bindgen(inline_js = "
        // A message comes after all that waits already, and, unlike a timer, at once.
        let channel;
        export function after_others(call) {
            if (!channel) {
                channel = new MessageChannel();
                channel.port1.onmessage = () => channel.waiting();
            }
            channel.waiting = call;
            channel.port2.postMessage(0);
        }")]
    extern "C" {
        fn after_others(call: &Function);
    }

    // What wakes the program. It has one thread, so that at most one call waits.
    thread_local!(static RESUME: RefCell<Option<Function>> = const { RefCell::new(None) });

    struct Alarm;

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            if let Some(resume) = RESUME.take() {
                // Resolving a promise does not fail.
                let _ = resume.call0(&JsValue::NULL);
            }
        }
    }

    /// Suspends the program until the promise is kept.
    fn wait(promise: &Promise) -> Result<()> {
        // Experimental in js-sys, hence "deprecated".
        #[allow(deprecated)]
        let kept = js_sys::futures::jspi_block_on_promise(promise);
        kept.map(drop).map_err(|why| {
            Error::Unsupported(format!(
                "cannot wait in this browser ({why:?}): it needs JavaScript Promise Integration (Chrome 137, Firefox 153, Safari \
                 27 or later), and the call must come from an export marked #[wasm_bindgen(jspi)]"
            ))
        })
    }

    pub fn sleep(time: Duration) -> Result<()> {
        wait(&Promise::new(&mut |resume, _| set_timeout(&resume, 1e3 * time.as_secs_f64())))
    }

    pub fn give_way() -> Result<()> {
        wait(&Promise::new(&mut |resume, _| after_others(&resume)))
    }

    pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
        let mut future = std::pin::pin!(future);
        let waker = Waker::from(Arc::new(Alarm));
        loop {
            // Nothing else runs between the poll and the wait.
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return result;
            }
            wait(&Promise::new(&mut |resume, _| drop(RESUME.replace(Some(resume)))))?;
        }
    }
}
