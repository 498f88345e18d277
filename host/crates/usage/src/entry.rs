//! One line of the table as it grows in memory: what one agent asked of one model on one day, since it was first asked.
//!
//! Promises: whatever was counted is written by the writer's next turn, as it takes an entry's mark away before it looks.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_core::{AgentId, Spent};

use crate::counter::Tally;
use crate::day::Day;
use crate::queue::Queue;

/// An entry of the table.
pub(crate) struct Entry {
    pub(crate) day: Day,
    pub(crate) agent: AgentId,
    pub(crate) model: Arc<str>,
    pub(crate) tally: Tally,
    /// How much of it is in the table. The writer's alone.
    written: Mutex<Spent>,
    /// It is in the queue, or the writer is about to look at it.
    marked: AtomicBool,
}

impl Entry {
    pub(crate) fn new(day: Day, agent: AgentId, model: Arc<str>) -> Self {
        let (tally, written) = (Tally::default(), Mutex::default());
        Self { day, agent, model, tally, written, marked: AtomicBool::new(false) }
    }

    /// Something was counted.
    pub(crate) fn mark(self: &Arc<Self>, queue: &Queue) {
        // Most often it is marked already, and then this is all.
        if !self.marked.load(SeqCst) && !self.marked.swap(true, SeqCst) {
            queue.enter(self.clone());
        }
    }

    /// How it stands, to be written. What is counted from here on marks it again.
    pub(crate) fn take(&self) -> Spent {
        self.marked.store(false, SeqCst);
        self.tally.read()
    }

    /// What was taken could not be written. False where it is in the queue again by now: it must not be written twice at a time,
    /// for both would add the same.
    pub(crate) fn put_back(&self) -> bool {
        !self.marked.swap(true, SeqCst)
    }

    /// How much of it is in the table.
    pub(crate) fn written(&self) -> MutexGuard<'_, Spent> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
