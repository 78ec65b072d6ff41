//! A page in the browser that shows a run while it trains, and acts on it.
//!
//! | file | what |
//! |---|---|
//! | `message` | what pages are told |
//! | `control` | what pages ask for |
//! | `hub` | from the run to many pages, without ever waiting for one |
//! | `server`, `guard`, `page` | HTTP on 127.0.0.1; who may ask; the files of `demo/` |
//! | `exhibit` | a network whose samples and weights are shown |
//! | `training`, `race` | what is shown between the steps of a run; two methods side by side |
//!
//! The server has a thread of its own. The run's thread looks at `Hub::is_watched` between steps and does nothing else as
//! long as no page is open.

mod control;
mod exhibit;
#[cfg(not(target_family = "wasm"))]
mod guard;
// Only the server asks whether a page is still there.
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod hub;
mod message;
#[cfg(not(target_family = "wasm"))]
mod page;
mod race;
#[cfg(not(target_family = "wasm"))]
mod server;
mod training;

pub use control::Settings;
pub use exhibit::Exhibit;
pub use hub::Viewer;
pub use message::{Level, State};
#[cfg(not(target_family = "wasm"))]
pub use server::{DEFAULT_PORT, Server};
pub use training::Watched;

use crate::error::Result;
use control::Control;
use hub::Hub;
use message::Message;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What connects runs with pages.
#[derive(Clone)]
pub struct Live {
    hub: Arc<Hub>,
    control: Arc<Control>,
}

impl Default for Live {
    fn default() -> Self {
        let live = Live { hub: Arc::default(), control: Arc::default() };
        live.state(State::Starting, "The run is about to begin.");
        live
    }
}

impl Live {
    /// Number of pages that are open.
    pub fn viewers(&self) -> usize {
        self.hub.viewers()
    }

    /// Tells pages what the run is doing.
    pub fn state(&self, state: State, text: impl Into<String>) {
        self.hub.tell(&Message::State { state, text: text.into() });
    }

    /// Tells pages something.
    pub fn note(&self, level: Level, text: impl ToString) {
        self.hub.note(level, text);
    }

    /// A page, which gets what earlier ones know; `None` if too many are open.
    pub fn join(&self) -> Option<Viewer> {
        self.hub.join()
    }

    /// Accepts a command of a page.
    ///
    /// # Errors
    /// It is not JSON, or no command; it cannot be carried out; too many wait.
    pub fn accept(&self, json: &[u8]) -> Result<()> {
        self.control.accept(json)
    }
}

/// Locks. What a thread that panicked left is whole: every change is a single assignment.
fn relock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
