//! The guest's end of a log.

use std::sync::Arc;

use rookery_core::{Chunk, Code, Spent};

use crate::log::{Log, Refusal};

/// The guest's end of a log.
#[derive(Clone)]
pub struct Reply {
    log: Arc<Log>,
}

impl Reply {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log }
    }

    /// Appends a chunk and wakes the readers.
    ///
    /// # Errors
    ///
    /// When the run is over, the chunk not well formed, or the output too large.
    pub fn write(&self, chunk: Chunk) -> Result<(), Refusal> {
        self.log.write(chunk)
    }

    /// Appends several chunks, which readers see at once: all up to the first one that is refused.
    ///
    /// # Errors
    ///
    /// As [`Reply::write`], for the one that was refused; nothing after it was looked at.
    pub fn write_all(&self, chunks: impl IntoIterator<Item = Chunk>) -> Result<(), Refusal> {
        self.log.write_all(chunks)
    }

    /// Notes that something the guest waits for outside has fallen silent: `what`, and for how long. The guest hears of
    /// it in its own way; if its run then fails, it has stalled.
    pub fn stalled(&self, what: String) {
        self.log.set_cause(Code::Stalled, what);
    }

    /// Notes that the run was refused something because a budget is spent: which one. Likewise, if its run then fails, it
    /// is over its budget.
    pub fn over_budget(&self, what: String) {
        self.log.set_cause(Code::OverBudget, what);
    }

    /// Notes what the run asked of models, from its beginning until now. Whoever asks how it stands sees the last note, and
    /// the last one before its outcome is kept with it; what comes after that is ignored, so that everybody sees the same.
    /// Cheap: it wakes nobody, and a run that asks no model pays nothing for it.
    pub fn spent(&self, spent: Spent) {
        self.log.set_spent(spent);
    }

    /// Whether the archive keeps up. Where it does not, the guest should be held until [`Reply::room`].
    pub fn has_room(&self) -> bool {
        self.log.lock().has_room()
    }

    /// Waits until the archive has caught up. Ends with the run at the latest.
    pub async fn room(&self) {
        loop {
            let progress = self.log.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.log.lock().holds_nobody() {
                return;
            }
            tokio::select! {
                () = progress => {}
                () = self.log.cancelling.cancelled() => return,
            }
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("run", &self.log.run()).finish_non_exhaustive()
    }
}
