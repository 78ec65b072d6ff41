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
//! The server has a thread of its own. The run's thread looks at [`Hub::is_watched`](hub::Hub::is_watched) between steps and does nothing else as
//! long as no page is open.

mod control;
mod exhibit;
mod guard;
mod hub;
mod message;
mod page;
mod race;
mod server;
mod training;

pub use control::Settings;
pub use exhibit::Exhibit;
pub use message::{Level, State};
pub use server::DEFAULT_PORT;
pub use training::Watched;

use crate::error::{Error, Result};
use control::Control;
use hub::Hub;
use message::Message;
use server::Server;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long open pages have to take the last messages.
const FLUSH: Duration = Duration::from_millis(300);

/// The server of the page.
pub struct Live {
    hub: Arc<Hub>,
    control: Arc<Control>,
    server: Server,
    token: String,
}

impl Live {
    /// Serves the page on this port of 127.0.0.1; without one, on the first free one from [`DEFAULT_PORT`] on.
    ///
    /// # Errors
    /// [`Error::Config`]: the port is taken.
    pub fn start(port: Option<u16>) -> Result<Self> {
        let token = guard::token().map_err(|e| Error::Config(format!("the system has no random numbers: {e}")))?;
        let (hub, control) = (Arc::<Hub>::default(), Arc::<Control>::default());
        let server = Server::start(port, token.clone(), Arc::clone(&hub), Arc::clone(&control))?;
        let live = Live { hub, control, server, token };
        live.state(State::Starting, "The run is about to begin.");
        Ok(live)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The page's address, with the token without which the page only watches.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/#token={}", self.port(), self.token)
    }

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
}

impl Drop for Live {
    fn drop(&mut self) {
        let begun = Instant::now();
        while !self.hub.is_flushed() && begun.elapsed() < FLUSH {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Locks. What a thread that panicked left is whole: every change is a single assignment.
fn relock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
