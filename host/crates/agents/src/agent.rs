//! One task per agent: it owns the instance and takes the runs from its mailbox; everyone else holds the mailbox's
//! other end.
//!
//! Promises: runs begin in the order in which they were accepted, one after another unless the plugin wants some at
//! once, and each gets exactly one outcome; the old instance is gone before the next one is launched.
//! Bounded by: `Policy::queue`; a full mailbox is refused at once, never awaited. `Overlap::at_once` inside.
//! Ends when: it has neither an instance nor a run, which it settles with the directory, or when the host stops.
//! Costs: a run that must be stopped takes the whole instance with it, what the guest kept only in memory, and the
//! other runs that are in there.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rookery_core::{AgentId, Code, Failure, Generation, Outcome, RunId, Span, Stop};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::begun::{After, Answer, Begun, Inside, Over};
use crate::directory::Shared;
use crate::guest::{Ask, Call, Instance, Plugin, Work};
use crate::live::Place;
use crate::mailbox::Mailbox;
use crate::reply::Reply;
use crate::run::Run;

/// The owner of one agent.
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<Shared>,
    /// Fires when the agent shall end whatever it does: the host stops, or the agent is held.
    pub(crate) stop: CancellationToken,
}

/// An instance and the place it takes among the live ones. The instance is dropped first.
struct Launched {
    driving: BoxFuture<'static, Failure>,
    asking: mpsc::Sender<Ask>,
    work: Work,
    generation: Generation,
    place: Place,
}

/// What an instance does while no run is inside.
#[derive(Clone, Copy)]
enum Rest {
    /// It may have work left over, which keeps it live until this moment.
    Working(Instant),
    /// It has nothing to do, and stays live until this moment.
    Idle(Instant),
}

/// How long a guest may take to go to sleep, whatever its grace: a host that stops waits for it.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// What happens next around an instance.
enum Next {
    /// A run came to its end.
    Over(Box<Over>),
    /// The instance is unusable.
    Trapped(Failure),
    /// Nothing runs any more, and the guest has no work left over.
    Idle,
    /// Nothing runs, and the instance has been idle for long enough, or somebody else needs the room, or the host stops.
    Leave,
    /// Another run may begin.
    Run(Box<Run>),
}

impl Agent {
    /// Serves runs until there is neither an instance nor a run.
    pub(crate) async fn live(self) {
        let mut next = None;
        while let Some(run) = next.take().or_else(|| self.take_or_leave()) {
            let generation = self.shared.next_generation();
            let Some(begun) = self.begin(run, generation) else { continue };
            match self.launch(&begun, generation).await {
                Ok(launched) => next = self.serve(launched, begun).await,
                Err(outcome) => self.settle(&begun.run, outcome),
            }
        }
    }

    /// The next run; or none, and then the directory has forgotten this agent and nothing more can arrive.
    fn take_or_leave(&self) -> Option<Box<Run>> {
        self.mailbox.take().or_else(|| self.shared.take_or_forget(&self.id, &self.mailbox))
    }

    /// Begins a run, unless it was cancelled while it waited or the host stops.
    fn begin(&self, run: Box<Run>, generation: Generation) -> Option<Begun> {
        if self.stop.is_cancelled() {
            run.log.end(Outcome::Failed(interrupted()));
            return None;
        }
        let longest = self.plugin.policy().deadline;
        let deadline = Instant::now() + run.deadline.map_or(longest, |asked| asked.min(longest));
        run.log.start(generation).then_some(Begun { run, deadline })
    }

    async fn launch(&self, begun: &Begun, generation: Generation) -> Result<Launched, Outcome> {
        let launching = async {
            let place = self.shared.live.place().await.ok_or_else(|| {
                Failure::new(Code::Overloaded, "every live agent of this host is busy; ask again later")
            })?;
            let instance = self.plugin.launch(&self.id, generation).await?;
            Ok(self.launched(instance, generation, place))
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Outcome::Failed(interrupted())),
            () = begun.run.log.cancelling.cancelled() => Err(Outcome::Cancelled(Stop::Dropped)),
            launched = timeout_at(begun.deadline, launching) => match launched {
                Ok(launched) => launched.map_err(Outcome::Failed),
                Err(_) => Err(self.late(&begun.run)),
            },
        }
    }

    fn launched(&self, instance: Box<dyn Instance>, generation: Generation, place: Place) -> Launched {
        tracing::debug!(agent = %self.id, %generation, version = self.plugin.version(), "launched");
        // A driver takes what it is asked before it answers, so no more is ever on its way than runs are begun.
        let (asking, asked) = mpsc::channel(self.plugin.policy().overlap.at_once());
        let work = Work::default();
        Launched { driving: instance.drive(asked, work.clone()), asking, work, generation, place }
    }

    /// Serves runs with one instance until it is gone. Returns a run that came too late for it.
    async fn serve(&self, mut launched: Launched, first: Begun) -> Option<Box<Run>> {
        let inside = Inside::default();
        let mut running = FuturesUnordered::new();
        let mut arrived = Some(first);
        let mut rest = Rest::Working(Instant::now());
        let why = loop {
            if let Some(begun) = arrived.take() {
                match self.call(&launched.asking, &begun) {
                    Ok(answer) => running.push(self.attend(begun, answer, &inside)),
                    Err(failure) => {
                        self.settle(&begun.run, Outcome::Failed(failure.clone()));
                        break failure;
                    }
                }
            }
            match self.next(&mut launched, &mut running, &inside, rest).await {
                Next::Over(over) => {
                    rest = Rest::Working(Instant::now() + self.plugin.policy().deadline);
                    let run = over.begun.run.log.run();
                    if let Some(outcome) = over.outcome {
                        self.settle(&over.begun.run, outcome);
                    }
                    if over.after == After::Gone {
                        break self.lost_by(run);
                    }
                }
                Next::Trapped(failure) => {
                    if running.is_empty() {
                        tracing::warn!(agent = %self.id, code = %failure.code, "between runs: {failure}");
                    }
                    break failure;
                }
                Next::Idle if launched.place.idle() => {
                    rest = Rest::Idle(Instant::now() + self.plugin.policy().sleep_after);
                }
                Next::Idle | Next::Leave => {
                    self.sleep(launched).await;
                    return None;
                }
                Next::Run(run) if !launched.place.busy() => {
                    self.sleep(launched).await;
                    return Some(run);
                }
                Next::Run(run) => {
                    rest = Rest::Working(Instant::now() + self.plugin.policy().deadline);
                    arrived = self.begin(run, launched.generation);
                }
            }
        };
        inside.lose(why);
        while let Some(over) = running.next().await {
            if let Some(outcome) = over.outcome {
                self.settle(&over.begun.run, outcome);
            }
        }
        None
    }

    /// Lets the guest save what it has only in memory, if it has no work left over, and drops it.
    async fn sleep(&self, launched: Launched) {
        if self.stop.is_cancelled() && !self.shared.stopping.is_cancelled() {
            // It is held, and what it would save is not wanted.
            return;
        }
        let Launched { mut driving, asking, work, .. } = launched;
        let (asleep, slept) = oneshot::channel();
        if !work.is_done() || asking.try_send(Ask::Sleep(asleep)).is_err() {
            return;
        }
        let grace = self.plugin.policy().grace.min(LONGEST_SLEEP);
        tokio::select! {
            biased;
            _ = slept => tracing::debug!(agent = %self.id, "asleep"),
            failure = &mut driving => tracing::warn!(agent = %self.id, "while it went to sleep: {failure}"),
            () = sleep(grace) => {
                tracing::warn!(agent = %self.id, "did not go to sleep within {}", Span(grace));
            }
        }
    }

    /// Why the other runs of an instance fail that goes because of this one.
    fn lost_by(&self, run: RunId) -> Failure {
        if self.stop.is_cancelled() {
            return interrupted();
        }
        let message = format!("run {run} was stopped and did not return, which cost the instance; ask again");
        Failure::new(Code::InstanceLost, message)
    }

    /// Puts a run into the guest.
    fn call(&self, asking: &mpsc::Sender<Ask>, begun: &Begun) -> Result<Answer, Failure> {
        let run = &begun.run;
        let (answer, answered) = oneshot::channel();
        let call = Box::new(Call {
            prompt: run.log.accepted.prompt.clone(),
            alarm: run.alarm,
            reply: Reply::new(run.log.clone()),
            ended: run.ended.clone(),
            answer,
        });
        let defect =
            |_| Failure::new(Code::Internal, "the instance took no call; this is a defect of the host");
        asking.try_send(Ask::Run(call)).map_err(defect)?;
        Ok(answered)
    }

    /// What happens next. Drives the instance meanwhile.
    async fn next(
        &self,
        launched: &mut Launched,
        running: &mut FuturesUnordered<impl Future<Output = Over>>,
        inside: &Inside,
        rest: Rest,
    ) -> Next {
        let Launched { driving, place, work, .. } = launched;
        let (Rest::Working(until) | Rest::Idle(until)) = rest;
        let mut leave = pin!(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = place.asked_to_leave() => {}
                () = sleep_until(until) => {}
            }
        });
        let room = self.plugin.policy().overlap.at_once();
        // What may end is looked at before what may begin.
        std::future::poll_fn(|cx| {
            if let Some(over) = ended(running, cx) {
                return Poll::Ready(over);
            }
            if let Poll::Ready(failure) = driving.as_mut().poll(cx) {
                return Poll::Ready(Next::Trapped(failure));
            }
            // An answer that the guest has just given is not left for another turn of the scheduler.
            if let Some(over) = ended(running, cx) {
                return Poll::Ready(over);
            }
            if running.is_empty() {
                if matches!(rest, Rest::Working(_)) && work.is_done() {
                    return Poll::Ready(Next::Idle);
                }
                if leave.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Leave);
                }
            }
            // None enters an instance that may be about to go.
            if running.len() < room && !inside.may_go() {
                return self.mailbox.poll_take(cx).map(Next::Run);
            }
            Poll::Pending
        })
        .await
    }

    /// Gives a run its outcome.
    pub(crate) fn settle(&self, run: &Run, outcome: Outcome) {
        if let Outcome::Failed(failure) = &outcome {
            self.log(run, failure);
        }
        run.log.end(outcome);
    }

    /// Who has to act on a failure decides how loud it is.
    fn log(&self, run: &Run, failure: &Failure) {
        let (agent, run, code) = (&self.id, run.log.run(), failure.code);
        match code {
            // The client's.
            Code::Rejected | Code::OverBudget | Code::Cancelled => {
                tracing::debug!(%agent, %run, %code, "{failure}")
            }
            // Of something outside, or of a host that is stopping or full.
            Code::Unavailable | Code::Stalled | Code::Interrupted | Code::InstanceLost | Code::Overloaded => {
                tracing::info!(%agent, %run, %code, "{failure}")
            }
            Code::Internal => tracing::error!(%agent, %run, %code, "{failure}"),
            // The plugin's.
            _ => tracing::warn!(%agent, %run, %code, "{failure}"),
        }
    }

    /// The outcome of a run that did not end by its deadline.
    pub(crate) fn late(&self, run: &Run) -> Outcome {
        let longest = self.plugin.policy().deadline;
        let (deadline, hint) = match run.deadline.filter(|asked| *asked < longest) {
            Some(asked) => (asked, "ask with a longer `Run-Deadline`, or for less"),
            None => (longest, "raise `deadline` in the sidecar's [runs], or ask for less"),
        };
        let message = format!("the run did not end within {}; {hint}", Span(deadline));
        Outcome::Failed(Failure::new(Code::DeadlineExceeded, message))
    }

    /// The outcome of a run with this answer.
    pub(crate) fn outcome(&self, run: &Run, answer: Result<(), Failure>) -> Outcome {
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
            Err(failure) => Outcome::Failed(explained(run, failure)),
        }
    }
}

/// The failure of a run, which is another one if the host knows better what it failed of.
fn explained(run: &Run, failure: Failure) -> Failure {
    match (failure.code, run.log.cause()) {
        (Code::Failed | Code::Unavailable | Code::Rejected | Code::Trapped, Some((code, cause))) => {
            match failure.message.contains(&cause) {
                true => Failure { code, ..failure },
                false => Failure::new(code, format!("{cause}; the plugin says: {failure}")),
            }
        }
        _ => failure,
    }
}

/// A run that has ended, if there is one.
fn ended(running: &mut FuturesUnordered<impl Future<Output = Over>>, cx: &mut Context<'_>) -> Option<Next> {
    match running.poll_next_unpin(cx) {
        Poll::Ready(Some(over)) => Some(Next::Over(Box::new(over))),
        Poll::Ready(None) | Poll::Pending => None,
    }
}

impl Drop for Agent {
    /// After a panic the task has not settled with the directory, and nobody reads the mailbox any more.
    fn drop(&mut self) {
        self.mailbox.close();
        self.shared.forget_gone(&self.id);
    }
}

pub(crate) fn interrupted() -> Failure {
    Failure::new(Code::Interrupted, "the host stopped before the run ended; submit it again")
}
