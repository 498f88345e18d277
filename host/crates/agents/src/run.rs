//! An accepted run on its way to its one outcome.
//!
//! Promise: whatever happens to a `Run`, its log gets an outcome; where nobody decided one, dropping it does.

use rookery_core::{Code, Failure, Outcome, Prompt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::budget::Share;
use crate::log::Reply;

/// An accepted run that has no outcome yet.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) prompt: Prompt,
    pub(crate) reply: Reply,
    /// Fires with the outcome, so that nothing the run opened outlives it.
    pub(crate) ended: CancellationToken,
    /// The run's place among the host's, and its prompt's share of memory; given back with the outcome.
    _place: (TaskTrackerToken, Share),
}

impl Run {
    pub(crate) fn new(prompt: Prompt, reply: Reply, place: (TaskTrackerToken, Share)) -> Self {
        Self { prompt, reply, ended: CancellationToken::new(), _place: place }
    }

    /// Decides the outcome.
    pub(crate) fn end(self, outcome: Outcome) {
        self.reply.end(outcome);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let lost = Failure::new(Code::Internal, "the host lost this run; this is a defect of the host");
        if self.reply.end(Outcome::Failed(lost)) {
            tracing::error!(run = %self.prompt.run, "a run was dropped without an outcome");
        }
        self.ended.cancel();
    }
}
