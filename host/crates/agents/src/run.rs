//! An accepted run on its way to its one outcome.
//!
//! Promise: whatever happens to a `Run`, its log gets an outcome; where nobody decided one, dropping it does.

use std::sync::Arc;
use std::time::Duration;

use rookery_core::{Alarm, Code, Failure, Outcome};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::budget::Share;
use crate::log::Log;

/// An accepted run that has no outcome yet.
pub(crate) struct Run {
    pub(crate) log: Arc<Log>,
    /// What makes it the ring of an alarm, where it is one.
    pub(crate) alarm: Option<Alarm>,
    /// How long it may take, where its client wants it shorter than its plugin.
    pub(crate) deadline: Option<Duration>,
    /// Fires when the guest is told that the run was cancelled, and with the outcome, so that nothing the run opened outlives it.
    pub(crate) ended: CancellationToken,
    /// The run's place among the host's, and its prompt's share of memory; given back with the outcome.
    _place: (TaskTrackerToken, Share),
}

impl Run {
    pub(crate) fn new(
        log: Arc<Log>,
        (alarm, deadline): (Option<Alarm>, Option<Duration>),
        place: (TaskTrackerToken, Share),
    ) -> Self {
        Self { log, alarm, deadline, ended: CancellationToken::new(), _place: place }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let lost = Failure::new(Code::Internal, "the host lost this run; this is a defect of the host");
        if self.log.end(Outcome::Failed(lost)) {
            tracing::error!(run = %self.log.run(), "a run was dropped without an outcome");
        }
        self.ended.cancel();
    }
}
