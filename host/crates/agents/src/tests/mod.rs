//! The crate's promises, with guests faked in Rust.
//!
//! Nothing here waits for a while: it waits for an event of a run or for a state of the guests. Where time is the
//! subject the clock is paused, and the time is checked too.

mod archive;
mod archive_fake;
mod bounds;
mod cancel;
mod causes;
mod concurrent;
mod deadline;
mod detach;
mod drain;
mod failing;
mod guests;
mod holding;
mod log;
mod lost;
mod once;
mod overlap;
mod random;
mod readers;
mod room;
mod serving;
mod sleeping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rookery_core::{
    AgentId, Chunk, Code, Event, Failure, Item, Origin, Outcome, Overlap, RunId, Standing, Stop,
};
use tokio::time::{Instant, timeout};

use crate::guest::{Plugin, Policy};
use crate::tests::archive_fake::FakeArchive;
use crate::tests::guests::{Fake, Record};
use crate::{Archiving, Asked, Cancelling, Directory, Limits, Reader, Submitted};

const DEADLINE: Duration = Duration::from_secs(600);

const GRACE: Duration = Duration::from_secs(5);

const SLEEP_AFTER: Duration = Duration::from_secs(60);

const POLICY: Policy = Policy {
    queue: 1024,
    deadline: DEADLINE,
    output: 1 << 20,
    overlap: Overlap::Queue,
    cancel_on_detach: false,
    grace: GRACE,
    sleep_after: SLEEP_AFTER,
};

const LIMITS: Limits = Limits { runs: 4096, live: 64, prompts: 1 << 20, unread: 16 << 20 };

/// A directory that serves one plugin, `fake`.
struct Host {
    directory: Directory,
    guests: Arc<Record>,
}

impl Host {
    fn new(fake: Fake, limits: Limits) -> Self {
        Self::keeping(fake, limits, None)
    }

    /// A host whose runs are kept in this archive.
    fn archived(policy: Policy, archive: &Arc<FakeArchive>) -> Self {
        Self::keeping(Fake::new(policy), LIMITS, Some(archiving(archive, false)))
    }

    fn keeping(fake: Fake, limits: Limits, archiving: Option<Archiving>) -> Self {
        let guests = fake.record.clone();
        let plugin: Arc<dyn Plugin> = Arc::new(fake);
        let plugins = BTreeMap::from([("fake".parse().unwrap(), plugin)]);
        let directory = Directory::new(plugins, limits, archiving);
        guests.set_host(&directory);
        Self { directory, guests }
    }

    fn with_policy(policy: Policy) -> Self {
        Self::new(Fake::new(policy), LIMITS)
    }

    fn submit(&self, name: &str, text: &str) -> Result<Submitted, Failure> {
        self.directory.submit(&agent(name), asked(text))
    }

    /// Submits a run that is accepted, and reads it to its end.
    async fn run(&self, name: &str, text: &str) -> Ended {
        end(self.submit(name, text).expect("accepted")).await
    }

    /// Follows a run that there is.
    async fn follow(&self, run: RunId, after: u64) -> Reader {
        self.directory.follow(run, after).await.expect("readable").expect("known")
    }

    /// How a run stands that there is.
    async fn standing(&self, run: RunId) -> Standing {
        self.directory.state(run).await.expect("readable").expect("known").standing
    }

    async fn cancel(&self, run: RunId) -> Cancelling {
        self.directory.cancel(run).await.expect("readable").expect("known")
    }

    fn refusal(&self, name: &str, text: &str) -> Code {
        self.submit(name, text).expect_err("refused").code
    }

    /// How many agents have a task.
    fn agents(&self) -> usize {
        self.directory.known()
    }
}

fn asked(text: &str) -> Asked {
    Asked {
        text: text.into(),
        body: None,
        origin: Origin::Client(None),
        key: None,
        deadline: None,
        background: false,
        alarm: None,
    }
}

fn archiving(archive: &Arc<FakeArchive>, strict: bool) -> Archiving {
    Archiving { archive: archive.clone(), strict }
}

fn agent(name: &str) -> AgentId {
    AgentId { plugin: "fake".parse().unwrap(), name: name.parse().unwrap() }
}

/// What a reader saw of a run.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    text: String,
    outcome: Outcome,
}

impl Ended {
    fn done(text: &str) -> Self {
        Self { text: text.into(), outcome: Outcome::Done }
    }

    fn code(&self) -> Code {
        match &self.outcome {
            Outcome::Failed(failure) => failure.code,
            other => panic!("{other:?} is no failure"),
        }
    }
}

/// Reads a run to its end, and checks that its events are numbered without a gap and that its one outcome is the last.
async fn end(submitted: Submitted) -> Ended {
    let mut events = submitted.events;
    let (mut text, mut outcome, mut read) = (String::new(), None, 0);
    while let Some(event) = in_time(events.next()).await.expect("not cut off") {
        read += 1;
        assert_eq!(event.id, read, "numbered without a gap");
        assert_eq!(outcome, None, "nothing comes after the outcome");
        match &event.item {
            Item::Chunk(Chunk::Text(more)) => text.push_str(more),
            Item::Chunk(other) => panic!("no fake guest writes {other:?}"),
            Item::Outcome(end) => outcome = Some(end.clone()),
        }
    }
    Ended { text, outcome: outcome.expect("a stream that ends has an outcome") }
}

/// The next event's text: tells that a run has come so far.
async fn next_text(events: &mut Reader) -> String {
    match &in_time(events.next()).await.expect("not cut off").expect("not ended").item {
        Item::Chunk(Chunk::Text(text)) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

/// A run that has begun, and is the only one of its agent.
async fn begun(host: &Host, name: &str, then: &str) -> Submitted {
    let mut run = host.submit(name, &format!("say on, {then}")).expect("accepted");
    assert_eq!(next_text(&mut run.events).await, "on");
    run
}

/// Reads on in a run of which something was read before; only the outcome is left.
async fn outcome(mut run: Submitted) -> Outcome {
    let last = in_time(run.events.next()).await.expect("not cut off").expect("an outcome");
    assert_eq!(in_time(run.events.next()).await, Ok(None), "the outcome is the last event");
    match &last.item {
        Item::Outcome(outcome) => outcome.clone(),
        other => panic!("{other:?} is no outcome"),
    }
}

/// What a reader sees from where it is to the end.
async fn rest(events: &mut Reader) -> Vec<Event> {
    let mut seen = Vec::new();
    while let Some(event) = in_time(events.next()).await.expect("not cut off") {
        seen.push((*event).clone());
    }
    assert_eq!(in_time(events.next()).await, Ok(None), "nothing comes after the end");
    seen
}

/// What a reader sees now, without waiting.
fn now(events: &mut Reader) -> Vec<Arc<Event>> {
    let mut seen = Vec::new();
    while let Some(Ok(Some(event))) = events.next().now_or_never() {
        seen.push(event);
    }
    seen
}

/// Lets everything happen that can happen without time passing or anything from outside.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Gives up on what never comes. With the clock paused a day takes no time.
async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(24 * 3600), awaited).await.expect("came within a day")
}

fn code(outcome: &Outcome) -> Option<Code> {
    match outcome {
        Outcome::Failed(failure) => Some(failure.code),
        Outcome::Done | Outcome::Cancelled(_) => None,
    }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A test's own clock: what has passed since it was made.
fn clock() -> impl Fn() -> Duration {
    let began = Instant::now();
    move || began.elapsed()
}
