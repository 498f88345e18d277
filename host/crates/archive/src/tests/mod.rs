//! What the tests have in common: a log that is only a tape, and short ways to ask.

mod agents;
mod failures;
mod forgetting;
mod hurrying;
mod long;
mod migrating;
mod model;
mod opening;
mod recovery;
mod retention;
mod runs;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rookery_agents::archive::{Accepted, Archive, ArchiveError, Batch, Query, Source};
use rookery_core::{
    AgentId, Chunk, Event, Failure, Generation, Item, Money, Origin, Outcome, Prompt, RunId, RunState, Spent,
    Stop,
};

use crate::{Runs, Settings, rows};

/// A log that keeps everything, so that what was read can be compared.
pub(crate) struct Tape {
    pub(crate) run: RunId,
    pub(crate) agent: AgentId,
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Batch,
    all: Vec<Arc<Event>>,
    queued: bool,
    /// So many times something was handed over, each of which is to be reported.
    handed: usize,
    committed: Vec<u64>,
    lost: Option<String>,
    started: bool,
}

impl Tape {
    /// A run that was accepted.
    pub(crate) fn new(agent: &str) -> Arc<Self> {
        Self::with(agent, None, at(1_000))
    }

    pub(crate) fn with(agent: &str, key: Option<&str>, at: SystemTime) -> Arc<Self> {
        let run = run_at(at);
        let prompt = Prompt {
            run,
            text: format!("what is {run}?"),
            body: Some("{\"prompt\":\"…\"}".into()),
            origin: Origin::Client(Some("127.0.0.1:4000".into())),
        };
        Self::given(agent, prompt, key, at)
    }

    pub(crate) fn given(agent: &str, prompt: Prompt, key: Option<&str>, at: SystemTime) -> Arc<Self> {
        let (run, agent) = (prompt.run, self::agent(agent));
        let accepted = Accepted { agent: agent.clone(), prompt, at, key: key.map(Into::into) };
        let waiting = Batch { accepted: Some(accepted), ..Batch::default() };
        let state = Mutex::new(State { waiting, ..State::default() });
        Arc::new(Self { run, agent, state, told: Condvar::new() })
    }

    pub(crate) fn start(&self, generation: u64) {
        let mut state = self.state.lock().unwrap();
        state.waiting.started = Some((at(2_000), Generation(generation)));
        state.started = true;
    }

    pub(crate) fn has_started(&self) -> bool {
        self.state.lock().unwrap().started
    }

    pub(crate) fn write(&self, item: Item) {
        self.state.lock().unwrap().push(item);
    }

    pub(crate) fn text(&self, text: &str) {
        self.write(Item::Chunk(Chunk::Text(text.into())));
    }

    pub(crate) fn end_at(&self, outcome: Outcome, at: SystemTime) {
        self.end_with(outcome, at, Spent::default());
    }

    pub(crate) fn end_with(&self, outcome: Outcome, at: SystemTime, spent: Spent) {
        let mut state = self.state.lock().unwrap();
        state.push(Item::Outcome(outcome));
        (state.waiting.ended, state.waiting.spent) = (Some(at), spent);
    }

    pub(crate) fn end(&self) {
        self.end_at(Outcome::Done, at(3_000));
    }

    /// Enters the queue, unless it is in it.
    pub(crate) fn wake(self: &Arc<Self>, runs: &Runs) {
        let queued = std::mem::replace(&mut self.state.lock().unwrap().queued, true);
        if !queued {
            runs.wake(self.clone());
        }
    }

    /// Waits until everything is committed that was written.
    pub(crate) fn settle(self: &Arc<Self>, runs: &Runs) {
        self.wake(runs);
        let state = self.state.lock().unwrap();
        let open = |state: &mut State| {
            let all = state.committed.len() == state.handed && empty(&state.waiting);
            !all && state.lost.is_none()
        };
        let (state, wait) = self.told.wait_timeout_while(state, Duration::from_secs(20), open).unwrap();
        assert!(!wait.timed_out() && state.lost.is_none(), "{:?}", state.lost);
    }

    pub(crate) fn wait_lost(&self) -> String {
        let state = self.state.lock().unwrap();
        let wait = Duration::from_secs(20);
        let (state, _) = self.told.wait_timeout_while(state, wait, |state| state.lost.is_none()).unwrap();
        state.lost.clone().unwrap()
    }

    pub(crate) fn lost(&self) -> Option<String> {
        self.state.lock().unwrap().lost.clone()
    }

    pub(crate) fn committed(&self) -> Vec<u64> {
        self.state.lock().unwrap().committed.clone()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().all.iter().map(|event| Event::clone(event)).collect()
    }
}

impl State {
    fn push(&mut self, item: Item) {
        let event = Arc::new(Event { id: self.all.len() as u64 + 1, item });
        self.all.push(event.clone());
        self.waiting.events.push(event);
    }
}

impl Source for Tape {
    fn run(&self) -> RunId {
        self.run
    }

    fn take(&self) -> Batch {
        let mut state = self.state.lock().unwrap();
        state.queued = false;
        let batch = std::mem::take(&mut state.waiting);
        state.handed += usize::from(!empty(&batch));
        batch
    }

    fn committed(&self, up_to: u64) {
        self.state.lock().unwrap().committed.push(up_to);
        self.told.notify_all();
    }

    fn lost(&self, error: &ArchiveError) {
        self.state.lock().unwrap().lost = Some(error.0.clone());
        self.told.notify_all();
    }
}

fn empty(batch: &Batch) -> bool {
    batch.accepted.is_none() && batch.started.is_none() && batch.events.is_empty()
}

/// One event of every kind and outcome, with texts that somebody made to hurt.
pub(crate) fn every_item() -> Vec<Item> {
    let hostile = [
        "",
        "plain",
        "\0",
        "\r\n\r\ndata: forged\n\n",
        "'; DROP TABLE runs; --",
        "é🦀\u{202e}\u{feff}",
        "{\"a\":[1]}",
    ];
    let mut items = Vec::new();
    for text in hostile.map(String::from).into_iter().chain(["x".repeat(100_000)]) {
        let (a, b, c) = (text.clone(), text.clone(), text.clone());
        items.extend(
            [
                Chunk::Text(text.clone()),
                Chunk::Reasoning(text.clone()),
                Chunk::Data { name: a.clone(), json: b.clone() },
                Chunk::ToolCall { id: a.clone(), name: b.clone(), arguments: c },
                Chunk::ToolResult { id: a.clone(), content: b.clone(), is_error: true },
                Chunk::ToolResult { id: a, content: b, is_error: false },
                Chunk::Usage { model: text, input_tokens: 0, output_tokens: u64::MAX },
            ]
            .map(Item::Chunk),
        );
    }
    items.extend(every_outcome().into_iter().map(Item::Outcome));
    items
}

pub(crate) fn every_outcome() -> Vec<Outcome> {
    let failures = rows::CODES.map(|code| Outcome::Failed(Failure::new(code, "it's \0 broken\n")));
    let stops = [Stop::BeforeStart, Stop::Returned, Stop::Dropped].map(Outcome::Cancelled);
    [Outcome::Done].into_iter().chain(failures).chain(stops).collect()
}

/// What runs may have spent: nothing, little, and all that a number holds.
pub(crate) fn every_spent() -> Vec<Spent> {
    let spent = |[requests, input_tokens, output_tokens, micros]: [u64; 4]| Spent {
        requests,
        input_tokens,
        output_tokens,
        money: Money(micros),
    };
    [[0; 4], [2, 31, 12, 123], [1, 0, 0, 0], [0, 0, 0, 1], [1, 127, 128, 1 << 53], [u64::MAX; 4]]
        .map(spent)
        .into()
}

pub(crate) fn agent(text: &str) -> AgentId {
    let (plugin, name) = text.split_once('/').unwrap();
    AgentId { plugin: plugin.parse().unwrap(), name: name.parse().unwrap() }
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// An id that says that it was made then. Later ones sort later, if they are of the same time.
pub(crate) fn run_at(at: SystemTime) -> RunId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let millis = u64::try_from(rows::millis(at)).unwrap();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[8..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    RunId::from_bytes(bytes)
}

/// Keeps everything, for the times of most tests are long ago; and commits at once.
pub(crate) fn settings(folder: &Path) -> Settings {
    let long = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Settings { keep_for: long, gather: Duration::ZERO, keep: usize::MAX, ..Settings::new(folder) }
}

pub(crate) fn open(folder: &Path) -> Runs {
    Runs::open(&settings(folder)).unwrap()
}

/// What a process that dies now would leave behind.
pub(crate) fn crash(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["runs.db", "runs.db-wal"] {
        std::fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub(crate) fn replay(runs: &Runs, run: RunId) -> Vec<Event> {
    wait(runs.read(run, 0, usize::MAX)).unwrap()
}

pub(crate) fn state(runs: &Runs, run: RunId) -> Option<RunState> {
    wait(runs.state(run)).unwrap()
}

pub(crate) const EVERYTHING: Query = Query { agent: None, state: None, before: None, limit: usize::MAX };

pub(crate) fn list(runs: &Runs, query: Query) -> Vec<RunId> {
    wait(runs.list(query)).unwrap().into_iter().map(|state| state.run).collect()
}

pub(crate) fn done_run(runs: &Runs, agent: &str, ended: SystemTime) -> Arc<Tape> {
    let tape = Tape::with(agent, None, ended);
    tape.text("hello");
    tape.end_at(Outcome::Done, ended);
    tape.settle(runs);
    tape
}
