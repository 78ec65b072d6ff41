//! From one run to many pages. The run never waits: for each viewer the newest message of each type is kept until it is
//! taken, so a slow viewer misses intermediate ones and takes a bounded amount of memory.

use super::message::{Level, Message};
use super::relock;
use crate::platform::Instant;
use crate::train::EpochRecord;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Most viewers at a time.
pub const MOST_VIEWERS: usize = 64;

/// A message as JSON, shared by all viewers; empty: no message, but a sign that the connection is alive.
pub type Frame = Arc<str>;

/// Types of messages in the order in which a viewer gets them, then the sign of life.
const SLOTS: usize = 10;
const ALIVE: usize = SLOTS - 1;
/// Those that a viewer gets who comes late.
const REMEMBERED: usize = 6;
const HELLO: usize = 0;
const EPOCHS: usize = 2;
const NOTE: usize = 8;
/// Minimum time between two messages with the epochs, and that time / the time to write one, at least.
const EPOCHS_PAUSE: Duration = Duration::from_millis(200);
const EPOCHS_SHARE: u32 = 300;

fn slot(message: &Message) -> usize {
    match message {
        Message::Hello(_) => HELLO,
        Message::State { .. } => 1,
        Message::Epochs { .. } => EPOCHS,
        Message::Sample(_) => 3,
        Message::Kernels(_) => 4,
        Message::Step(_) => 5,
        Message::Race { .. } => 6,
        Message::Weights(_) => 7,
        Message::Note { .. } => NOTE,
    }
}

/// Distributes messages to viewers.
#[derive(Default)]
pub struct Hub {
    inner: Mutex<Inner>,
    viewers: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    latest: [Option<Frame>; REMEMBERED],
    /// The epochs, which become a message when a viewer asks.
    epochs: Vec<EpochRecord>,
    /// Whether viewers have not been told of the last ones.
    untold: bool,
    /// When they may be.
    not_before: Option<Instant>,
    queues: Vec<Arc<Queue>>,
}

impl Hub {
    /// Whether anyone looks. If not, nothing needs to be measured or written.
    pub fn is_watched(&self) -> bool {
        self.viewers() > 0
    }

    /// Number of viewers.
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Tells all viewers, and those to come if they need it.
    pub fn tell(&self, message: &Message) {
        let (slot, frame) = (slot(message), frame(message));
        let mut inner = relock(&self.inner);
        if slot == HELLO {
            (inner.latest, inner.epochs) = Default::default();
            inner.queues.iter().for_each(|queue| queue.clear());
        }
        if let Some(latest) = inner.latest.get_mut(slot) {
            *latest = Some(Arc::clone(&frame));
        }
        inner.queues.iter().for_each(|queue| queue.put(slot, &frame));
    }

    /// A sentence for the user.
    pub fn note(&self, level: Level, text: impl ToString) {
        self.tell(&Message::note(level, text));
    }

    /// Replaces the epochs so far.
    pub fn set_epochs(&self, records: Vec<EpochRecord>) {
        let mut inner = relock(&self.inner);
        (inner.epochs, inner.untold) = (records, true);
        drop(inner);
        self.tell_epochs(true);
    }

    /// Adds an epoch.
    pub fn add_epoch(&self, record: &EpochRecord) {
        let mut inner = relock(&self.inner);
        // A run that lost its device repeats epochs.
        inner.epochs.retain(|before| before.epoch < record.epoch);
        inner.epochs.push(record.clone());
        inner.untold = true;
    }

    /// Tells viewers of new epochs, unless that would take too large a share of the time. The message has all epochs, of
    /// which a fast run has many per second.
    pub fn tell_epochs(&self, at_once: bool) {
        let mut inner = relock(&self.inner);
        let begun = Instant::now();
        if inner.queues.is_empty() || !inner.untold || !at_once && inner.not_before.is_some_and(|then| begun < then) {
            return;
        }
        inner.untold = false;
        let message = Message::epochs(&inner.epochs);
        drop(inner);
        self.tell(&message);
        let took = begun.elapsed();
        relock(&self.inner).not_before = Some(begun + (took * EPOCHS_SHARE).max(EPOCHS_PAUSE));
    }

    /// Lets every viewer's connection show that it is alive.
    pub fn knock(&self) {
        let frame: Frame = "".into();
        relock(&self.inner).queues.iter().for_each(|queue| queue.put(ALIVE, &frame));
    }

    /// Whether every viewer has taken all messages.
    pub fn is_flushed(&self) -> bool {
        relock(&self.inner).queues.iter().all(|queue| relock(&queue.inner).since.is_none())
    }

    /// A new viewer, with what it missed; `None` if there are too many.
    pub fn join(self: &Arc<Self>) -> Option<Viewer> {
        let mut inner = relock(&self.inner);
        if inner.queues.len() >= MOST_VIEWERS {
            return None;
        }
        let queue = Arc::new(Queue::default());
        if !inner.epochs.is_empty() {
            inner.latest[EPOCHS] = Some(frame(&Message::epochs(&inner.epochs)));
        }
        for (slot, latest) in inner.latest.iter().enumerate() {
            latest.iter().for_each(|frame| queue.put(slot, frame));
        }
        inner.queues.push(Arc::clone(&queue));
        self.viewers.store(inner.queues.len(), Ordering::Relaxed);
        Some(Viewer { hub: Arc::clone(self), queue })
    }
}

fn frame(message: &Message) -> Frame {
    // Messages are plain structs, which can always be written.
    serde_json::to_string(message).unwrap_or_default().into()
}

/// What a viewer has not taken yet.
#[derive(Default)]
pub struct Queue {
    inner: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    frames: [Option<Frame>; SLOTS],
    /// Since when something waits to be taken.
    since: Option<Instant>,
    waker: Option<Waker>,
}

impl Queue {
    fn put(&self, slot: usize, frame: &Frame) {
        let mut pending = relock(&self.inner);
        pending.frames[slot] = Some(Arc::clone(frame));
        pending.since.get_or_insert_with(Instant::now);
        if let Some(waker) = pending.waker.take() {
            waker.wake();
        }
    }

    fn clear(&self) {
        // What is said about a run that could not begin is still to be read.
        let mut pending = relock(&self.inner);
        let note = pending.frames[NOTE].take();
        pending.frames = Default::default();
        pending.frames[NOTE] = note;
    }

    /// How long the oldest message has waited.
    pub fn waited(&self) -> Duration {
        relock(&self.inner).since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// A page that is open. It is forgotten when this is dropped.
pub struct Viewer {
    hub: Arc<Hub>,
    queue: Arc<Queue>,
}

impl Viewer {
    /// Its messages.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The next message.
    pub fn poll(&self, context: &mut Context) -> Poll<Frame> {
        let mut pending = relock(&self.queue.inner);
        let next = pending.frames.iter_mut().find_map(Option::take);
        match next {
            Some(frame) => {
                pending.since = Some(Instant::now());
                Poll::Ready(frame)
            }
            None => {
                pending.since = None;
                pending.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut inner = relock(&self.hub.inner);
        inner.queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.hub.viewers.store(inner.queues.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::State;
    use super::*;

    fn state(text: &str) -> Message {
        Message::State { state: State::Running, text: text.into() }
    }

    fn take(viewer: &Viewer) -> Option<String> {
        match viewer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => Some(frame.to_string()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_slow_viewer_gets_the_newest_of_each_type() {
        let hub = Arc::new(Hub::default());
        let viewer = hub.join().unwrap();
        for k in 0..1000 {
            hub.tell(&state(&format!("state {k}")));
            hub.note(Level::Info, format!("note {k}"));
        }
        let got: Vec<String> = std::iter::from_fn(|| take(&viewer)).collect();
        assert_eq!(got.len(), 2);
        assert!(got[0].starts_with("{") && got[0].contains("state 999") && got[0].ends_with("}"), "{got:?}");
        assert!(got[1].contains("note 999"));
        assert!(hub.is_flushed());
    }

    #[test]
    fn a_late_viewer_gets_the_state_but_no_note() {
        let hub = Arc::new(Hub::default());
        hub.tell(&state("late"));
        hub.note(Level::Info, "gone");
        let viewer = hub.join().unwrap();
        assert!(take(&viewer).unwrap().contains("late"));
        assert_eq!(take(&viewer), None);
    }

    #[test]
    fn a_new_run_replaces_all_but_the_note() {
        let hub = Arc::new(Hub::default());
        let viewer = hub.join().unwrap();
        hub.tell(&state("of the run before"));
        hub.note(Level::Error, "cannot begin");
        let config = crate::presets::ours("fmnist").unwrap();
        let data =
            crate::data::DataSet::new(crate::events::EventSet::new(784, 100), crate::events::EventSet::new(784, 100));
        let device = crate::cpu::device_info();
        let hello =
            super::super::message::Hello::new(super::super::message::Source::Native, &config, &data, device, vec![]);
        hub.tell(&Message::Hello(Box::new(hello)));
        let got: Vec<String> = std::iter::from_fn(|| take(&viewer)).collect();
        assert!(got.len() == 2 && got[0].contains("\"hello\"") && got[1].contains("cannot begin"), "{got:?}");
    }

    #[test]
    fn viewers_are_limited_and_forgotten() {
        let hub = Arc::new(Hub::default());
        let viewers: Vec<Viewer> = (0..MOST_VIEWERS).map(|_| hub.join().unwrap()).collect();
        assert!(hub.join().is_none());
        drop(viewers);
        assert!(!hub.is_watched() && hub.join().is_some());
    }
}
