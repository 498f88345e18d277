//! One task per agent: it owns the instance and takes the runs from its mailbox; everyone else holds the mailbox's
//! other end.
//!
//! Promises: runs are served one after another, and each gets exactly one outcome; the old instance is gone before
//! the next one is launched.
//! Bounded by: `Policy::queue`; a full mailbox is refused at once, never awaited.
//! Ends when: it has neither an instance nor a run, which it settles with the directory, or when the host stops.
//! Costs: a run that must be stopped takes the whole instance with it, and what the guest kept only in memory.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rookery_core::{AgentId, Code, Failure, Generation, Outcome};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::directory::Shared;
use crate::guest::{Call, Instance, Plugin, Policy};
use crate::live::Place;
use crate::run::Run;

/// The owner of one agent.
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) mailbox: mpsc::Receiver<Box<Run>>,
    pub(crate) shared: Arc<Shared>,
}

/// An instance and the place it takes among the live ones. The instance is dropped first.
struct Launched {
    driving: BoxFuture<'static, Failure>,
    calls: mpsc::Sender<Box<Call>>,
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
            if self.shared.stopping.is_cancelled() {
                run.end(Outcome::Failed(interrupted()));
                continue;
            }
            let deadline = Instant::now() + self.plugin.policy().deadline;
            match self.launch(deadline).await {
                Ok(launched) => next = self.serve(launched, run, deadline).await,
                Err(failure) => {
                    self.log(&run, &failure);
                    run.end(Outcome::Failed(failure));
                }
            }
        }
    }

    /// The next run; or none, and then the directory has forgotten this agent and nothing more can arrive.
    fn take_or_leave(&mut self) -> Option<Box<Run>> {
        self.mailbox.try_recv().ok().or_else(|| self.shared.take_or_forget(&self.id, &mut self.mailbox))
    }

    async fn launch(&self, deadline: Instant) -> Result<Launched, Failure> {
        let launching = async {
            let place = self.shared.live.place().await.ok_or_else(|| {
                Failure::new(Code::Overloaded, "every live agent of this host is busy; ask again later")
            })?;
            let generation = self.shared.next_generation();
            let instance = self.plugin.launch(&self.id, generation).await?;
            Ok(self.launched(instance, generation, place))
        };
        tokio::select! {
            biased;
            () = self.shared.stopping.cancelled() => Err(interrupted()),
            launched = timeout_at(deadline, launching) => {
                launched.unwrap_or_else(|_| Err(too_late(self.plugin.policy())))
            }
        }
    }

    fn launched(&self, instance: Box<dyn Instance>, generation: Generation, place: Place) -> Launched {
        tracing::debug!(agent = %self.id, %generation, version = self.plugin.version(), "launched");
        // Runs are served one after another, so there is never more than one call on its way.
        let (calls, incoming) = mpsc::channel(1);
        Launched { driving: instance.drive(incoming), calls, place }
    }

    /// Serves runs with one instance until it is gone. Returns a run that came too late for it.
    async fn serve(
        &mut self,
        mut launched: Launched,
        first: Box<Run>,
        deadline: Instant,
    ) -> Option<Box<Run>> {
        let policy = self.plugin.policy();
        let (mut run, mut deadline) = (first, deadline);
        loop {
            if let After::Gone = self.serve_one(&mut launched, run, deadline, policy).await {
                return None;
            }
            if !launched.place.idle() {
                return None;
            }
            run = tokio::select! {
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
                return Some(run);
            }
            deadline = Instant::now() + policy.deadline;
        }
    }

    async fn serve_one(
        &self,
        launched: &mut Launched,
        run: Box<Run>,
        deadline: Instant,
        policy: Policy,
    ) -> After {
        let (answer, mut answered) = oneshot::channel();
        let call = Box::new(Call {
            prompt: run.prompt.clone(),
            reply: run.reply.clone(),
            ended: run.ended.clone(),
            answer,
        });
        // A driver takes its call before it answers, so the one place in the channel is free.
        let (outcome, after) = if launched.calls.try_send(call).is_err() {
            let failure =
                Failure::new(Code::Internal, "the instance took no call; this is a defect of the host");
            (Outcome::Failed(failure), After::Gone)
        } else {
            tokio::select! {
                biased;
                Ok(answer) = &mut answered => (self.outcome(&run, answer), After::Usable),
                failure = &mut launched.driving => match answered.try_recv() {
                    // It answered, and trapped in the work it had left over.
                    Ok(answer) => (self.outcome(&run, answer), After::Gone),
                    Err(_) => (self.outcome(&run, Err(failure)), After::Gone),
                },
                () = self.shared.stopping.cancelled() => (Outcome::Failed(interrupted()), After::Gone),
                () = sleep_until(deadline) => (Outcome::Failed(too_late(policy)), After::Gone),
            }
        };
        if let Outcome::Failed(failure) = &outcome {
            self.log(&run, failure);
        }
        run.end(outcome);
        after
    }

    /// Who has to act on a failure decides how loud it is.
    fn log(&self, run: &Run, failure: &Failure) {
        let (agent, run, code) = (&self.id, run.prompt.run, failure.code);
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

    fn outcome(&self, run: &Run, answer: Result<(), Failure>) -> Outcome {
        // An answer that lacks its end must not look whole, whatever the guest made of the refusal.
        if run.reply.too_large() {
            let limit = self.plugin.policy().output;
            let hint = "raise `output` in the sidecar's [limits], or have the plugin write less";
            let message = format!("the run wrote more than its limit of {limit} bytes; {hint}");
            return Outcome::Failed(Failure::new(Code::OutputTooLarge, message));
        }
        match answer {
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

fn too_late(policy: Policy) -> Failure {
    let deadline = rookery_core::Span(policy.deadline);
    let hint = "raise `deadline` in the sidecar's [runs], or ask for less";
    Failure::new(Code::DeadlineExceeded, format!("the run did not end within {deadline}; {hint}"))
}
