//! The archive's end of a log: what is to be written down, and what has been.

use std::sync::Arc;

use rookery_core::RunId;

use crate::archive::{ArchiveError, Batch, Source};
use crate::log::Log;

/// A log as the archive sees it.
pub(crate) struct Kept(pub(crate) Arc<Log>);

impl Source for Kept {
    fn run(&self) -> RunId {
        self.0.run()
    }

    fn take(&self) -> Batch {
        let mut state = self.0.lock();
        let state = &mut *state;
        let archived = &mut state.archived;
        archived.woken = false;
        let mut batch = Batch::default();
        if archived.lost {
            return batch;
        }
        if !std::mem::replace(&mut archived.took_acceptance, true) {
            batch.accepted = Some((*self.0.accepted).clone());
        }
        if state.started.is_some() && !std::mem::replace(&mut archived.took_start, true) {
            batch.started = state.started;
        }
        let new = usize::try_from(state.next - 1 - archived.taken).unwrap_or(usize::MAX);
        batch.events = state.kept.range(state.kept.len().saturating_sub(new)..).cloned().collect();
        archived.taken = state.next - 1;
        batch.ended = state.ended.filter(|_| !batch.events.is_empty());
        if batch.ended.is_some() {
            batch.spent = state.spent;
        }
        batch
    }

    fn committed(&self, up_to: u64) {
        let mut state = self.0.lock();
        state.commit(up_to, &self.0.keeping);
        if state.ended.is_some() || self.0.keeping.strict {
            state.wake_readers();
        }
        drop(state);
        self.0.progress.notify_waiters();
        self.0.settle();
    }

    fn lost(&self, error: &ArchiveError) {
        tracing::error!(run = %self.0.run(), "the log of a run could not be kept: {error}");
        self.0.give_up(&error.to_string());
    }
}
