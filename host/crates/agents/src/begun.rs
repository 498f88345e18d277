//! A run inside an instance, from its call to its outcome.
//!
//! Promise: the guest's own answer counts before anything that ends the run from outside.
//! Ends when: the guest answered, or the instance is gone, or the host stops, or the run's deadline or the grace after
//! its cancelling has passed. A guest that has not returned by then costs the instance, because one call cannot be
//! ended alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rookery_core::{Failure, Outcome, Stop};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, interrupted};
use crate::run::Run;

/// A run whose turn has come.
pub(crate) struct Begun {
    pub(crate) run: Box<Run>,
    pub(crate) deadline: Instant,
}

/// A run that the instance is through with.
pub(crate) struct Over {
    pub(crate) begun: Begun,
    /// None where it had its outcome before.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) after: After,
}

/// What has become of the instance when a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Usable,
    Gone,
}

/// What the guest gives back.
pub(crate) type Answer = oneshot::Receiver<Result<(), Failure>>;

/// What the runs inside one instance share.
#[derive(Default)]
pub(crate) struct Inside {
    gone: CancellationToken,
    why: Mutex<Option<Failure>>,
    told: AtomicUsize,
}

impl Inside {
    /// Ends all runs that have no answer with this.
    pub(crate) fn lose(&self, why: Failure) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.gone.cancel();
    }

    /// Whether some run has been told to end: if it does not, the instance will go.
    pub(crate) fn may_go(&self) -> bool {
        self.told.load(Ordering::Relaxed) > 0
    }

    async fn lost(&self) -> Failure {
        self.gone.cancelled().await;
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_else(interrupted)
    }

    fn tell<'a>(&'a self, run: &Run) -> Told<'a> {
        self.told.fetch_add(1, Ordering::Relaxed);
        run.ended.cancel();
        Told(self)
    }
}

/// A run that has been told to end, and has not.
struct Told<'a>(&'a Inside);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.told.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Agent {
    /// Waits until the instance is through with this run, one way or another.
    pub(crate) async fn attend(&self, begun: Begun, mut answer: Answer, inside: &Inside) -> Over {
        let (outcome, after) = self.outlast(&begun, &mut answer, inside).await;
        Over { begun, outcome, after }
    }

    async fn outlast(&self, begun: &Begun, answer: &mut Answer, inside: &Inside) -> (Option<Outcome>, After) {
        let run = &begun.run;
        tokio::select! {
            biased;
            Ok(answer) = &mut *answer => (Some(self.outcome(run, answer)), After::Usable),
            why = inside.lost() => (Some(self.lost(run, why)), After::Gone),
            () = run.log.cancelling.cancelled() => {
                let stop = self.told(run, answer, inside).await;
                (Some(Outcome::Cancelled(stop)), after(stop))
            }
            () = self.stop.cancelled() => (Some(Outcome::Failed(interrupted())), After::Gone),
            () = sleep_until(begun.deadline) => (None, self.too_late(run, answer, inside).await),
        }
    }

    fn lost(&self, run: &Run, why: Failure) -> Outcome {
        if run.log.cancelled() { Outcome::Cancelled(Stop::Dropped) } else { self.outcome(run, Err(why)) }
    }

    /// The run fails now. A guest that has its instance for itself loses it; where others are in there too, it is told
    /// and has the grace to return first.
    async fn too_late(&self, run: &Run, answer: &mut Answer, inside: &Inside) -> After {
        self.settle(run, self.late(run));
        if self.plugin.policy().overlap.at_once() == 1 {
            return After::Gone;
        }
        after(self.told(run, answer, inside).await)
    }

    /// The guest is told at its next call of the host, and what it waits for is aborted. Says whether it returned.
    async fn told(&self, run: &Run, answer: &mut Answer, inside: &Inside) -> Stop {
        let _told = inside.tell(run);
        tokio::select! {
            biased;
            Ok(_) = answer => Stop::Returned,
            _ = inside.lost() => Stop::Dropped,
            () = self.stop.cancelled() => Stop::Dropped,
            () = sleep(self.plugin.policy().grace) => Stop::Dropped,
        }
    }
}

fn after(stop: Stop) -> After {
    if stop == Stop::Returned { After::Usable } else { After::Gone }
}
