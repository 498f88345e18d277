//! One task per agent: it owns the instance and takes the runs from its mailbox; everyone else holds the mailbox's
//! other end.
//!
//! Promises: runs are served one after another, and each gets exactly one outcome; the old instance is gone before
//! the next one is launched.
//! Bounded by: `Policy::queue`; a full mailbox is refused at once, never awaited.
//! Ends when: it has neither an instance nor a run, which it settles with the directory, or when the host stops.
//! Costs: a run that must be stopped takes the whole instance with it, and what the guest kept only in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use rookery_core::{AgentId, Code, Failure, Generation, Outcome, Span, Stop};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::directory::Shared;
use crate::guest::{Call, Instance, Plugin};
use crate::live::Place;
use crate::reply::Reply;
use crate::run::Run;

/// The owner of one agent.
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) mailbox: mpsc::Receiver<Box<Run>>,
    /// Counts the runs that have left the mailbox, so that those in it know their place.
    pub(crate) turn: Arc<AtomicU64>,
    pub(crate) shared: Arc<Shared>,
}

/// A run whose turn has come.
struct Turn {
    run: Box<Run>,
    deadline: Instant,
}

/// An instance and the place it takes among the live ones. The instance is dropped first.
struct Launched {
    driving: BoxFuture<'static, Failure>,
    calls: mpsc::Sender<Box<Call>>,
    generation: Generation,
    place: Place,
}

/// What has become of the instance when a run is over.
enum After {
    Usable,
    Gone,
}

impl Agent {
    /// Serves runs until there is neither an instance nor a run.
    pub(crate) async fn live(mut self) {
        let mut next = None;
        while let Some(run) = next.take().or_else(|| self.take_or_leave()) {
            let generation = self.shared.next_generation();
            let Some(turn) = self.begin(run, generation) else { continue };
            match self.launch(&turn, generation).await {
                Ok(launched) => next = self.serve(launched, turn).await,
                Err(outcome) => self.end(turn, outcome),
            }
        }
    }

    /// The next run; or none, and then the directory has forgotten this agent and nothing more can arrive.
    fn take_or_leave(&mut self) -> Option<Box<Run>> {
        self.mailbox.try_recv().ok().or_else(|| self.shared.take_or_forget(&self.id, &mut self.mailbox))
    }

    /// Begins a run, unless it was cancelled while it waited or the host stops.
    fn begin(&self, run: Box<Run>, generation: Generation) -> Option<Turn> {
        self.turn.fetch_add(1, Ordering::Relaxed);
        if self.shared.stopping.is_cancelled() {
            run.end(Outcome::Failed(interrupted()));
            return None;
        }
        let longest = self.plugin.policy().deadline;
        let deadline = Instant::now() + run.deadline.map_or(longest, |asked| asked.min(longest));
        run.log.start(generation).then_some(Turn { run, deadline })
    }

    async fn launch(&self, turn: &Turn, generation: Generation) -> Result<Launched, Outcome> {
        let launching = async {
            let place = self.shared.live.place().await.ok_or_else(|| {
                Failure::new(Code::Overloaded, "every live agent of this host is busy; ask again later")
            })?;
            let instance = self.plugin.launch(&self.id, generation).await?;
            Ok(self.launched(instance, generation, place))
        };
        tokio::select! {
            biased;
            () = self.shared.stopping.cancelled() => Err(Outcome::Failed(interrupted())),
            () = turn.run.log.cancelling.cancelled() => Err(Outcome::Cancelled(Stop::Dropped)),
            launched = timeout_at(turn.deadline, launching) => match launched {
                Ok(launched) => launched.map_err(Outcome::Failed),
                Err(_) => Err(self.too_late(&turn.run)),
            },
        }
    }

    fn launched(&self, instance: Box<dyn Instance>, generation: Generation, place: Place) -> Launched {
        tracing::debug!(agent = %self.id, %generation, version = self.plugin.version(), "launched");
        // Runs are served one after another, so there is never more than one call on its way.
        let (calls, incoming) = mpsc::channel(1);
        Launched { driving: instance.drive(incoming), calls, generation, place }
    }

    /// Serves runs with one instance until it is gone. Returns a run that came too late for it.
    async fn serve(&mut self, mut launched: Launched, first: Turn) -> Option<Box<Run>> {
        let mut turn = Some(first);
        loop {
            if let Some(turn) = turn.take() {
                let (outcome, after) = self.serve_one(&mut launched, &turn).await;
                self.end(turn, outcome);
                if let After::Gone = after {
                    return None;
                }
            }
            if !launched.place.idle() {
                return None;
            }
            let next = tokio::select! {
                biased;
                failure = &mut launched.driving => {
                    tracing::warn!(agent = %self.id, code = %failure.code, "between runs: {failure}");
                    return None;
                }
                () = self.shared.stopping.cancelled() => return None,
                () = launched.place.asked_to_leave() => return None,
                next = self.mailbox.recv() => next?,
            };
            if !launched.place.busy() {
                return Some(next);
            }
            turn = self.begin(next, launched.generation);
        }
    }

    async fn serve_one(&self, launched: &mut Launched, turn: &Turn) -> (Outcome, After) {
        let run = &turn.run;
        let (answer, mut answered) = oneshot::channel();
        let call = Box::new(Call {
            prompt: run.log.accepted.prompt.clone(),
            reply: Reply::new(run.log.clone()),
            ended: run.ended.clone(),
            answer,
        });
        // A driver takes its call before it answers, so the one place in the channel is free.
        if launched.calls.try_send(call).is_err() {
            let message = "the instance took no call; this is a defect of the host";
            return (Outcome::Failed(Failure::new(Code::Internal, message)), After::Gone);
        }
        tokio::select! {
            biased;
            Ok(answer) = &mut answered => (self.outcome(run, answer), After::Usable),
            failure = &mut launched.driving => match answered.try_recv() {
                // It answered, and trapped in the work it had left over.
                Ok(answer) => (self.outcome(run, answer), After::Gone),
                Err(_) => (self.outcome(run, Err(failure)), After::Gone),
            },
            () = self.shared.stopping.cancelled() => (Outcome::Failed(interrupted()), After::Gone),
            () = run.log.cancelling.cancelled() => self.cancel(launched, run, answered).await,
            () = sleep_until(turn.deadline) => (self.too_late(run), After::Gone),
        }
    }

    /// The guest is told at its next call of the host, and what it waits for is aborted. One that does not return then
    /// loses its instance.
    async fn cancel(
        &self,
        launched: &mut Launched,
        run: &Run,
        mut answered: oneshot::Receiver<Result<(), Failure>>,
    ) -> (Outcome, After) {
        run.ended.cancel();
        let stop = tokio::select! {
            biased;
            Ok(_) = &mut answered => Stop::Returned,
            _ = &mut launched.driving => Stop::Dropped,
            () = self.shared.stopping.cancelled() => Stop::Dropped,
            () = sleep(self.plugin.policy().grace) => Stop::Dropped,
        };
        let after = if stop == Stop::Returned { After::Usable } else { After::Gone };
        (Outcome::Cancelled(stop), after)
    }

    fn end(&self, turn: Turn, outcome: Outcome) {
        if let Outcome::Failed(failure) = &outcome {
            self.log(&turn.run, failure);
        }
        turn.run.end(outcome);
    }

    /// Who has to act on a failure decides how loud it is.
    fn log(&self, run: &Run, failure: &Failure) {
        let (agent, run, code) = (&self.id, run.log.run(), failure.code);
        match code {
            // The client's.
            Code::Rejected | Code::Cancelled => tracing::debug!(%agent, %run, %code, "{failure}"),
            // Of something outside, or of a host that is stopping or full.
            Code::Unavailable | Code::Interrupted | Code::Overloaded => {
                tracing::info!(%agent, %run, %code, "{failure}")
            }
            Code::Internal => tracing::error!(%agent, %run, %code, "{failure}"),
            // The plugin's.
            _ => tracing::warn!(%agent, %run, %code, "{failure}"),
        }
    }

    fn too_late(&self, run: &Run) -> Outcome {
        let longest = self.plugin.policy().deadline;
        let (deadline, hint) = match run.deadline.filter(|asked| *asked < longest) {
            Some(asked) => (asked, "ask with a longer `Run-Deadline`, or for less"),
            None => (longest, "raise `deadline` in the sidecar's [runs], or ask for less"),
        };
        let message = format!("the run did not end within {}; {hint}", Span(deadline));
        Outcome::Failed(Failure::new(Code::DeadlineExceeded, message))
    }

    fn outcome(&self, run: &Run, answer: Result<(), Failure>) -> Outcome {
        // An answer that lacks its end must not look whole, whatever the guest made of the refusal.
        if run.log.too_large() {
            let limit = self.plugin.policy().output;
            let hint = "raise `output` in the sidecar's [limits], or have the plugin write less";
            let message = format!("the run wrote more than its limit of {limit} bytes; {hint}");
            return Outcome::Failed(Failure::new(Code::OutputTooLarge, message));
        }
        match answer {
            // It was cancelled while the answer was on its way: chunks may have been refused.
            _ if run.log.cancelled() => Outcome::Cancelled(Stop::Returned),
            Ok(()) => Outcome::Done,
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

impl Drop for Agent {
    /// After a panic the task has not settled with the directory, and nobody reads the mailbox any more.
    fn drop(&mut self) {
        self.mailbox.close();
        self.shared.forget_gone(&self.id);
    }
}

fn interrupted() -> Failure {
    Failure::new(Code::Interrupted, "the host stopped before the run ended; submit it again")
}
