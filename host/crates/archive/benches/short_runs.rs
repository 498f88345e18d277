//! What the archive costs a host of short runs: time and bytes for each, by how many come at once.
//!
//! `cargo bench -p rookery-archive`. A run has a chunk and an outcome. It comes whole, as that of an agent that answers at
//! once does under load, or in three steps, each committed before the next. An answer has 64 chunks, and comes in two steps: it
//! is accepted, and then it is all there.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a bench is for who reads it")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rookery_agents::archive::{Accepted, Archive, ArchiveError, Batch, Source};
use rookery_archive::{Runs, Settings};
use rookery_core::{AgentId, Chunk, Event, Generation, Item, Origin, Outcome, Prompt, RunId, Spent};
use tokio::time::Instant;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many come first, so that no page is the first of its kind.
const BEFORE: usize = 1000;
/// So few that none of their log is copied into the database yet, and its file has all of it.
const LOGGED: usize = 128;
const TIMED: usize = 20_000;

fn main() {
    let headings = ["us a run", "CPU us a run", "log bytes a run", "written a run"];
    println!(
        "{:6} {:>8} {:>8} {}",
        "run",
        "agents",
        "at once",
        headings.map(|heading| format!("{heading:>16}")).join("")
    );
    for (run, steps) in [("whole", &WHOLE[..]), ("steps", &STEPS), ("answer", &ANSWER)] {
        for (agents, together) in [(1, 1), (1, 8), (1, 64), (1000, 1), (1000, 8), (1000, 64)] {
            measure(run, steps, agents, together);
        }
    }
}

/// What is handed over at once.
#[derive(Clone, Copy)]
struct Step {
    accepted: bool,
    started: bool,
    /// From this one on.
    first: u64,
    chunks: u64,
    ended: bool,
}

const WHOLE: [Step; 1] = [Step { accepted: true, started: true, first: 1, chunks: 1, ended: true }];
const STEPS: [Step; 3] = [
    Step { accepted: true, started: false, first: 1, chunks: 0, ended: false },
    Step { accepted: false, started: true, first: 1, chunks: 1, ended: false },
    Step { accepted: false, started: false, first: 2, chunks: 0, ended: true },
];
const ANSWER: [Step; 2] = [
    Step { accepted: true, started: false, first: 1, chunks: 0, ended: false },
    Step { accepted: false, started: true, first: 1, chunks: 64, ended: true },
];

fn measure(run: &str, steps: &[Step], agents: usize, together: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let runs = Runs::open(&Settings::new(folder.path())).expect("opened");
    write(&runs, steps, agents, BEFORE, 64);
    let log = logged(folder.path());
    write(&runs, steps, agents, LOGGED, together);
    let log = logged(folder.path()) - log;
    let (began, computed, before) = (Instant::now(), computed(), written());
    write(&runs, steps, agents, TIMED, together);
    let (took, computed, written) = (began.elapsed(), self::computed() - computed, written() - before);
    println!(
        "{run:6} {agents:8} {together:8} {:16.1}{:16.1}{:16}{:16}",
        took.as_secs_f64() * 1e6 / TIMED as f64,
        computed as f64 / 1e3 / TIMED as f64,
        log / LOGGED as u64,
        written / TIMED as u64,
    );
}

/// Writes so many runs of so many agents in turn, so many of them at once.
fn write(runs: &Runs, steps: &[Step], agents: usize, count: usize, together: usize) {
    for group in 0..count / together {
        let sheets: Vec<_> =
            (0..together).map(|n| Sheet::new((group * together + n) * 7919 % agents)).collect();
        for step in steps {
            let left = Arc::new(AtomicUsize::new(sheets.len()));
            for sheet in &sheets {
                runs.wake(Arc::new(sheet.with(*step, left.clone())));
            }
            runs.hurry();
            while left.load(Ordering::Acquire) > 0 {
                std::thread::park();
            }
        }
    }
}

fn logged(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("runs.db-wal")).expect("a log").len()
}

/// For how many nanoseconds this process has computed so far; zero where the system does not say.
fn computed() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    stats.filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// How many bytes this process has written so far; zero where the system does not say.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or_default()
}

#[derive(Clone)]
struct Sheet {
    run: RunId,
    agent: AgentId,
}

impl Sheet {
    fn new(user: usize) -> Self {
        let (plugin, name) = ("echo".parse().expect("a name"), format!("user-{user}"));
        Self { run: RunId::new(), agent: AgentId { plugin, name: name.parse().expect("a name") } }
    }

    fn with(&self, step: Step, left: Arc<AtomicUsize>) -> Waiting {
        let now = SystemTime::now();
        let prompt = Prompt {
            run: self.run,
            text: "hello there, how are you?".into(),
            body: None,
            origin: Origin::Client(Some("127.0.0.1:40000".into())),
        };
        let accepted = Accepted { agent: self.agent.clone(), prompt, at: now, key: None };
        let event = |id, item| Arc::new(Event { id, item });
        let end = step.first + step.chunks;
        let mut events: Vec<_> = (step.first..end)
            .map(|id| event(id, Item::Chunk(Chunk::Text("hello there, how are you?".into()))))
            .collect();
        if step.ended {
            events.push(event(end, Item::Outcome(Outcome::Done)));
        }
        let batch = Batch {
            accepted: step.accepted.then_some(accepted),
            started: step.started.then_some((now, Generation(1))),
            events,
            ended: step.ended.then_some(now),
            spent: Spent::default(),
        };
        Waiting { run: self.run, batch: Mutex::new(batch), left, waiter: std::thread::current() }
    }
}

/// A log that waits until what it has is committed.
struct Waiting {
    run: RunId,
    batch: Mutex<Batch>,
    left: Arc<AtomicUsize>,
    waiter: std::thread::Thread,
}

impl Source for Waiting {
    fn run(&self) -> RunId {
        self.run
    }

    fn take(&self) -> Batch {
        std::mem::take(&mut self.batch.lock().expect("a lock"))
    }

    fn committed(&self, _: u64) {
        if self.left.fetch_sub(1, Ordering::Release) == 1 {
            self.waiter.unpark();
        }
    }

    fn lost(&self, error: &ArchiveError) {
        panic!("{error}");
    }
}
