//! The runs of one agent that wait for their turn, in the order in which they were accepted.
//!
//! Bounded by: `Policy::queue`; who finds it full is refused. A run that is cancelled while it waits leaves at once, and
//! its place with it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rookery_core::RunId;

use crate::run::Run;

/// The runs of one agent that wait for their turn.
pub(crate) struct Mailbox {
    bound: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    runs: VecDeque<Box<Run>>,
    /// Wakes the agent.
    waker: Option<Waker>,
    closed: bool,
}

// No run is dropped under the lock: its end may lead back here.
impl Mailbox {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, waiting: Mutex::default() }
    }

    pub(crate) fn has_room(&self) -> bool {
        let waiting = self.lock();
        !waiting.closed && waiting.runs.len() < self.bound
    }

    /// Puts a run at the end. Who asked for room first, and lets nobody else in between, finds it. Where nobody will
    /// take the run any more, it is dropped.
    pub(crate) fn put(&self, run: Box<Run>) {
        let mut waiting = self.lock();
        if waiting.closed {
            drop(waiting);
            return drop(run);
        }
        waiting.runs.push_back(run);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next run, if there is one.
    pub(crate) fn take(&self) -> Option<Box<Run>> {
        self.lock().runs.pop_front()
    }

    /// The next run, as soon as there is one. Only the agent asks.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Box<Run>> {
        let mut waiting = self.lock();
        match waiting.runs.pop_front() {
            Some(run) => Poll::Ready(run),
            None => {
                waiting.waker.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
                Poll::Pending
            }
        }
    }

    /// Takes this run out, if it waits here.
    pub(crate) fn remove(&self, run: RunId) -> Option<Box<Run>> {
        let mut waiting = self.lock();
        let at = waiting.place(run)?;
        waiting.runs.remove(at)
    }

    /// Takes all runs out.
    pub(crate) fn empty(&self) -> VecDeque<Box<Run>> {
        std::mem::take(&mut self.lock().runs)
    }

    /// How many runs are to start before this one. None where it does not wait here.
    pub(crate) fn place(&self, run: RunId) -> Option<usize> {
        self.lock().place(run)
    }

    /// From now on nobody takes what is put here; what waits is dropped.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        drop(self.empty());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn place(&self, run: RunId) -> Option<usize> {
        self.runs.iter().position(|waiting| waiting.log.run() == run)
    }
}
