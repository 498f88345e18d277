//! Guests faked in Rust. They do what the prompt says, and write down what happened.
//!
//! A prompt is a list of steps, such as `say on, take 10s, count`:
//!
//! | step | |
//! |---|---|
//! | `say x` | writes `x` |
//! | `count` | writes how many runs this instance has begun: 1, 2, 3 … |
//! | `write n` | writes one chunk of `n` bytes, and goes on when it is refused |
//! | `pour n` | writes `n` chunks of a thousand bytes, and waits for room before each, as the engine's guests do |
//! | `tick 10s` | writes `.` every so often, until it is refused because the run was cancelled |
//! | `take 10s` | lets time pass |
//! | `stuck` | never goes on |
//! | `open` | waits for the end of what the run has open |
//! | `cancel` | has its own run cancelled, as a client may at this very moment |
//! | `stall` | learns that what it waited for outside has fallen silent |
//! | `ask n` | notes that until now it asked models `n` times |
//! | `answer`, `fail` | gives the answer; what follows is work left over, between runs |
//! | `forget` | drops the answer without giving it |
//! | `trap`, `panic` | makes the instance unusable, or the host's own code fail |
//!
//! A run that has come to its end without an answer has done well.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rookery_core::{AgentId, Chunk, Code, Failure, Generation, Money, RunId, Span, Spent};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::directory::Shared;
use crate::guest::{Ask, Call, Instance, Plugin, Policy, Work};
use crate::tests::in_time;
use crate::{Directory, Refusal};

/// A plugin whose guests do what the prompt says.
pub(super) struct Fake {
    policy: Policy,
    launching: Launching,
    pub(super) sleeping: Sleeping,
    pub(super) record: Arc<Record>,
}

/// How a launch goes.
pub(super) enum Launching {
    AtOnce,
    Takes(Duration),
    NeverEnds,
    /// The first so many launches fail.
    Fails(AtomicUsize),
    Panics,
}

/// How a guest goes to sleep.
#[derive(Clone, Copy)]
pub(super) enum Sleeping {
    Takes(Duration),
    Never,
    Traps,
}

/// What happened to the guests of one host.
pub(super) struct Record {
    state: watch::Sender<State>,
    host: OnceLock<Weak<Shared>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// In the order in which it happened.
    pub(super) events: Vec<Event>,
    agents: HashMap<AgentId, Counts>,
    /// Instances that are live now, and the most that were at once.
    pub(super) live: usize,
    pub(super) most_live: usize,
    /// Runs inside some guest now, and the most that were at once.
    pub(super) running: usize,
    pub(super) most_running: usize,
    /// Agents that had two instances, or two runs, at once. Nothing may ever be in here.
    pub(super) broken: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    live: usize,
    running: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Launched(Generation),
    Dropped(Generation),
    Began(String),
    /// What a run had open has ended.
    Closed,
    /// The run was over for the host when its guest wrote.
    Refused,
    /// A guest was asked to sleep, and did.
    AskedToSleep(Generation),
    Asleep(Generation),
}

impl Fake {
    pub(super) fn new(policy: Policy) -> Self {
        Self::launching(policy, Launching::AtOnce)
    }

    pub(super) fn launching(policy: Policy, launching: Launching) -> Self {
        Self {
            policy,
            launching,
            sleeping: Sleeping::Takes(Duration::ZERO),
            record: Arc::new(Record { state: watch::Sender::default(), host: OnceLock::new() }),
        }
    }
}

/// What it comes to when models were asked so often.
pub(super) fn asked(requests: u64) -> Spent {
    Spent { requests, input_tokens: 10 * requests, output_tokens: requests, money: Money(requests) }
}

impl Plugin for Fake {
    fn policy(&self) -> Policy {
        self.policy
    }

    fn version(&self) -> &str {
        "fake"
    }

    fn launch(
        &self,
        agent: &AgentId,
        generation: Generation,
    ) -> BoxFuture<'static, Result<Box<dyn Instance>, Failure>> {
        let (record, agent, at_once) = (self.record.clone(), agent.clone(), self.policy.overlap.at_once());
        let sleeping = self.sleeping;
        let launched = move || -> Result<Box<dyn Instance>, Failure> {
            let place = LivePlace::take(record, agent, generation, at_once);
            Ok(Box::new(Guest { place, sleeping, runs: AtomicU64::new(0) }))
        };
        let broken = || Failure::new(Code::LaunchFailed, "no luck");
        match &self.launching {
            Launching::AtOnce => async move { launched() }.boxed(),
            Launching::Takes(time) => sleep(*time).map(move |()| launched()).boxed(),
            Launching::NeverEnds => pending().boxed(),
            Launching::Panics => async { panic!("the host's own code is broken") }.boxed(),
            Launching::Fails(left) => {
                let fails =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                async move { if fails { Err(broken()) } else { launched() } }.boxed()
            }
        }
    }
}

/// An instance.
struct Guest {
    place: LivePlace,
    sleeping: Sleeping,
    runs: AtomicU64,
}

impl Instance for Guest {
    fn drive(self: Box<Self>, mut asked: mpsc::Receiver<Ask>, work: Work) -> BoxFuture<'static, Failure> {
        async move {
            // All calls that arrive are worked on at once: it is the host that must not send two.
            let mut working = FuturesUnordered::new();
            loop {
                work.set(!working.is_empty());
                tokio::select! {
                    asked = asked.recv() => match asked {
                        Some(Ask::Run(call)) => working.push(self.work(*call)),
                        Some(Ask::Sleep(asleep)) => {
                            assert!(working.is_empty(), "a guest that has work left over is not asked to sleep");
                            match self.sleep().await {
                                Ok(()) => drop(asleep.send(())),
                                Err(failure) => return failure,
                            }
                        }
                        None => pending().await,
                    },
                    Some(end) = working.next() => if let Err(failure) = end { return failure },
                }
            }
        }
        .boxed()
    }
}

impl Guest {
    async fn sleep(&self) -> Result<(), Failure> {
        let generation = self.place.generation;
        self.place.record.change(|state| state.events.push(Event::AskedToSleep(generation)));
        match self.sleeping {
            Sleeping::Takes(time) => sleep(time).await,
            Sleeping::Never => pending().await,
            Sleeping::Traps => return Err(Failure::new(Code::Trapped, "in its sleep")),
        }
        self.place.record.change(|state| state.events.push(Event::Asleep(generation)));
        Ok(())
    }

    /// Takes the prompt's steps one after another. An error ends the instance.
    async fn work(&self, call: Call) -> Result<(), Failure> {
        let Call { prompt, reply, answer, ended, .. } = call;
        let count = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let (mut answer, mut place) = (Some(answer), Some(RunPlace::take(&self.place, &prompt.text)));
        let mut give = |result: Option<Result<(), Failure>>| {
            // Left before the host can know of it, as its next call may come at once.
            drop(place.take());
            if let (Some(answer), Some(result)) = (answer.take(), result) {
                let _ = answer.send(result);
            }
        };
        let write = |text: String| {
            if reply.write(Chunk::Text(text)) == Err(Refusal::Cancelled) {
                self.place.record.change(|state| state.events.push(Event::Refused));
            }
        };
        for step in prompt.text.split(", ") {
            let (verb, what) = step.split_once(' ').unwrap_or((step, ""));
            match verb {
                "say" => write(what.into()),
                "count" => write(count.to_string()),
                "pour" => {
                    for _ in 0..what.parse::<usize>().expect("a number") {
                        reply.room().await;
                        write("x".repeat(1000));
                    }
                }
                "tick" => {
                    let every = what.parse::<Span>().expect("a span of time").0;
                    while reply.write(Chunk::Text(".".into())) != Err(Refusal::Cancelled) {
                        sleep(every).await;
                    }
                }
                "write" => write("x".repeat(what.parse().expect("a number"))),
                "take" => sleep(what.parse::<Span>().expect("a span of time").0).await,
                "stuck" => pending().await,
                "open" => {
                    ended.cancelled().await;
                    self.place.record.change(|state| state.events.push(Event::Closed));
                }
                "cancel" => self.place.record.cancel(prompt.run).await,
                "stall" => reply.stalled("the model was silent".into()),
                "overspend" => reply.over_budget("the day's budget is spent".into()),
                "ask" => reply.spent(asked(what.parse().expect("a number"))),
                "answer" => give(Some(Ok(()))),
                "fail" => give(Some(Err(Failure::new(Code::Failed, "as it was asked to")))),
                "forget" => give(None),
                "trap" => return Err(Failure::new(Code::Trapped, "as it was asked to")),
                "panic" => panic!("the host's own code is broken"),
                _ => panic!("`{step}` is no step"),
            }
        }
        give(Some(Ok(())));
        Ok(())
    }
}

/// What an instance takes; dropped with it.
struct LivePlace {
    record: Arc<Record>,
    agent: AgentId,
    generation: Generation,
    at_once: usize,
}

impl LivePlace {
    fn take(record: Arc<Record>, agent: AgentId, generation: Generation, at_once: usize) -> Self {
        record.change(|state| {
            state.events.push(Event::Launched(generation));
            state.live += 1;
            state.most_live = state.most_live.max(state.live);
            let counts = state.agents.entry(agent.clone()).or_default();
            counts.live += 1;
            if counts.live > 1 {
                state.broken.push(format!("{agent} had two instances"));
            }
        });
        Self { record, agent, generation, at_once }
    }
}

impl Drop for LivePlace {
    fn drop(&mut self) {
        self.record.change(|state| {
            state.events.push(Event::Dropped(self.generation));
            state.live -= 1;
            state.agents.entry(self.agent.clone()).or_default().live -= 1;
        });
    }
}

/// What a run takes inside a guest: from its begin to its answer, or until the instance is dropped.
struct RunPlace<'a>(&'a LivePlace);

impl<'a> RunPlace<'a> {
    fn take(place: &'a LivePlace, text: &str) -> Self {
        place.record.change(|state| {
            state.events.push(Event::Began(text.to_owned()));
            state.running += 1;
            state.most_running = state.most_running.max(state.running);
            let counts = state.agents.entry(place.agent.clone()).or_default();
            counts.running += 1;
            if counts.running > place.at_once {
                state.broken.push(format!("{} had {} runs at once", place.agent, counts.running));
            }
        });
        Self(place)
    }
}

impl Drop for RunPlace<'_> {
    fn drop(&mut self) {
        self.0.record.change(|state| {
            state.running -= 1;
            state.agents.entry(self.0.agent.clone()).or_default().running -= 1;
        });
    }
}

impl Record {
    /// Tells the guests in which host they are.
    pub(super) fn set_host(&self, host: &Directory) {
        let set = self.host.set(Arc::downgrade(&host.shared));
        assert!(set.is_ok(), "guests are in one host");
    }

    async fn cancel(&self, run: RunId) {
        let shared = self.host.get().and_then(Weak::upgrade).expect("a host");
        Directory { shared }.cancel(run).await.expect("readable");
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.state().events
    }

    /// The generations that were launched, in that order.
    pub(super) fn launches(&self) -> Vec<Generation> {
        let launched = |event| if let Event::Launched(generation) = event { Some(generation) } else { None };
        self.events().into_iter().filter_map(launched).collect()
    }

    /// Whether a run with this prompt has begun.
    pub(super) fn began(&self, text: &str) -> bool {
        self.state.borrow().events.contains(&Event::Began(text.into()))
    }

    pub(super) fn live(&self) -> usize {
        self.state.borrow().live
    }

    /// Waits for a state of the guests.
    pub(super) async fn until(&self, mut reached: impl FnMut(&State) -> bool) {
        let mut states = self.state.subscribe();
        in_time(states.wait_for(|state| reached(state))).await.expect("the record outlives this wait");
    }
}
