//! What is to be written, and who waits for that.
//!
//! Promises: whoever counts never waits for the disk.
//! Bounded by: an entry is in here at most once, and while the disk fails there are at most [`MOST`] that no open call is
//! counting in.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::entry::Entry;

/// Between those who count and the writer.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes who waits for the writer.
    progress: Condvar,
    /// How long after the first entry the writer waits for more.
    gather: Duration,
}

/// What the writer shall do.
pub(crate) enum Next {
    /// Write these, and report with [`Queue::wrote`].
    Write(Vec<Arc<Entry>>),
    /// Remove a little of what is old.
    Sweep,
    /// Everything is written, or cannot be.
    Stop,
}

/// How long the writer leaves a disk alone that failed.
const RETRY: Duration = Duration::from_secs(5);

/// So many entries wait for a disk that fails, at some KiB each with their agents. Past that the oldest are given up.
pub(crate) const MOST: usize = 16 * 1024;

#[derive(Default)]
struct State {
    entries: Vec<Arc<Entry>>,
    /// When they are written; none where there are none.
    due: Option<Instant>,
    /// Writing was asked for so many times, and done for the first so many of them.
    asked: u64,
    done: u64,
    /// What the last writing failed with.
    failed: Option<String>,
    phase: Phase,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What is here is still written.
    Closing,
    /// What was here is being written, and nothing after it.
    Ending,
    Closed,
}

impl Queue {
    pub(crate) fn new(gather: Duration) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), progress: Condvar::new(), gather }
    }

    pub(crate) fn enter(&self, entry: Arc<Entry>) {
        let mut state = self.lock();
        // What comes after the end is not written; runs have ended before.
        if matches!(state.phase, Phase::Ending | Phase::Closed) {
            return;
        }
        state.entries.push(entry);
        if state.due.is_none() {
            state.due = Some(Instant::now() + self.gather);
            self.work.notify_one();
        }
    }

    /// Waits until what was counted before is written, or could not be.
    pub(crate) fn flush(&self) -> Result<(), String> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err("the host is stopping".into());
        }
        state.asked += 1;
        let mine = state.asked;
        self.work.notify_one();
        while state.done < mine && state.phase != Phase::Closed {
            state = self.wait(state);
        }
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// Waits until everything is written and the writer has let go of the database.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
            self.work.notify_one();
        }
        while state.phase != Phase::Closed {
            state = self.wait(state);
        }
    }

    /// The writer waits for what to do; to sweep not before `sweep`.
    pub(crate) fn next(&self, sweep: Instant) -> (Next, u64) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = state.due.is_some_and(|due| now >= due);
            if state.phase == Phase::Ending {
                return (Next::Stop, state.asked);
            }
            if due || state.asked > state.done || state.phase == Phase::Closing {
                if state.phase == Phase::Closing {
                    state.phase = Phase::Ending;
                }
                state.due = None;
                return (Next::Write(std::mem::take(&mut state.entries)), state.asked);
            }
            if now >= sweep {
                return (Next::Sweep, state.asked);
            }
            let until = state.due.map_or(sweep, |due| due.min(sweep));
            let wait = until.saturating_duration_since(now);
            state = self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How writing went, for whoever had asked by then. What is left over is written with the next ones. At the end there are
    /// none, and it is lost: says how many entries are.
    pub(crate) fn wrote(&self, asked: u64, left: Vec<Arc<Entry>>, failed: Option<String>) -> usize {
        let mut state = self.lock();
        (state.done, state.failed) = (asked, failed);
        self.progress.notify_all();
        if left.is_empty() {
            return 0;
        }
        if state.phase == Phase::Ending {
            return left.len();
        }
        state.due = Some(Instant::now() + RETRY);
        let newer = std::mem::replace(&mut state.entries, left);
        state.entries.extend(newer);
        0
    }

    /// The writer has let go of the database.
    pub(crate) fn closed(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        state.entries.clear();
        self.progress.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.progress.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
