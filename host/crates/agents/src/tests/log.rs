//! The log against a model: whatever is written, committed, joined, left, cancelled, lost or started again in whatever
//! order, every reader sees exactly the events after the one it came with, and every run has exactly one outcome.
//!
//! Nobody is asked again unless it was woken, so that a lost wake-up is a reader that never sees the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::SystemTime;

use rookery_core::{Generation, Money, Prompt, Spent};

use super::*;
use crate::archive::{Accepted, Archive};
use crate::budget::Budget;
use crate::log::{Keeping, Log};
use crate::mailbox::Mailbox;
use crate::state::WINDOW;
use crate::tests::random::Dice;

/// A reader, and what it has seen.
struct Following {
    reader: Reader,
    after: u64,
    seen: Vec<Event>,
    woken: Arc<Flag>,
    over: bool,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Following {
    fn new(reader: Reader, after: u64) -> Self {
        Self { reader, after, seen: Vec::new(), woken: Arc::new(Flag(AtomicBool::new(true))), over: false }
    }

    /// Reads for as long as there is something, if it was woken.
    fn step(&mut self, bytes: usize, reads: usize) {
        for _ in 0..reads {
            if self.over || !self.woken.0.swap(false, Ordering::SeqCst) {
                return;
            }
            let (waker, mut read) = (Waker::from(self.woken.clone()), Vec::new());
            match self.reader.poll_read(&mut Context::from_waker(&waker), &mut read, bytes) {
                Poll::Pending => return assert!(read.is_empty()),
                Poll::Ready(more) => {
                    assert_eq!(more, Ok(!read.is_empty()), "ready with something, or at the end");
                    self.over = read.is_empty();
                    self.seen.extend(read.into_iter().map(|event| (*event).clone()));
                    self.woken.0.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    /// What it has seen is a part of this, from where it came on.
    fn check(&self, all: &[Event]) {
        let from = usize::try_from(self.after).unwrap().min(all.len());
        let to = from + self.seen.len();
        assert!(to <= all.len() && all[from..to] == self.seen, "after {}: {:?}", self.after, self.seen);
        assert!(!self.over || to == all.len(), "after {}: over before the end", self.after);
    }
}

/// What a log is for, in the simplest way.
#[derive(Default)]
struct Model {
    events: Vec<Event>,
    cancelled: bool,
    spent: Spent,
}

impl Model {
    fn ended(&self) -> bool {
        matches!(self.events.last(), Some(Event { item: Item::Outcome(_), .. }))
    }

    fn push(&mut self, item: Item) {
        self.events.push(Event { id: self.events.len() as u64 + 1, item });
    }
}

#[tokio::test]
async fn every_reader_of_a_log_sees_exactly_what_comes_after_where_it_began() {
    for seed in 0..300 {
        log_against_model(seed).await;
    }
}

async fn log_against_model(seed: u64) {
    let mut dice = Dice(seed);
    let archive = FakeArchive::held();
    let (strict, large) = (dice.below(3) == 0, dice.below(2) == 0);
    let settled = Arc::new(AtomicUsize::new(0));
    let (log, run) = open(&archive, strict, settled.clone());
    let mut model = Model::default();
    let mut readers: Vec<Following> = Vec::new();
    for step in 0..dice.below(400) {
        match dice.below(16) {
            0..5 => {
                let size = if large { 20_000 } else { 10 };
                let mut chunk = || Chunk::Text(format!("{step} {}", "x".repeat(dice.below(size))));
                let chunks: Vec<_> = if step % 3 == 0 { vec![chunk(), chunk()] } else { vec![chunk()] };
                let taken = match &*chunks {
                    [chunk] => log.write(chunk.clone()).is_ok(),
                    several => log.write_all(several.iter().cloned()).is_ok(),
                };
                assert_eq!(taken, !model.ended() && !model.cancelled, "{seed}");
                if taken {
                    chunks.into_iter().for_each(|chunk| model.push(Item::Chunk(chunk)));
                }
            }
            5 | 6 => _ = archive.take(),
            7 | 8 => _ = archive.write(),
            9 | 10 => {
                // Nobody can have seen more than is shown.
                let after = dice.below(log.state().events as usize + 1) as u64;
                readers.push(Following::new(Reader::live(log.clone(), after), after));
            }
            11 if !readers.is_empty() => {
                let left = readers.swap_remove(dice.below(readers.len()));
                left.check(&model.events);
            }
            12..15 if !readers.is_empty() => {
                let which = dice.below(readers.len());
                readers[which].step(1 + dice.below(40_000), 1 + dice.below(5));
            }
            15 => match dice.below(20) {
                0 if log.start(Generation(1)) => {}
                1 => {
                    let (before, told) = (model.ended(), log.cancel());
                    assert_eq!(before, told == Cancelling::Over, "{seed}");
                    model.cancelled |= told == Cancelling::Told;
                    if told == Cancelling::NeverStarts {
                        model.push(Item::Outcome(Outcome::Cancelled(Stop::BeforeStart)));
                    }
                }
                2 => end_both(&log, &mut model),
                3..8 => {
                    let spent = some_spent(&mut dice);
                    log.set_spent(spent);
                    // What comes after the outcome is too late for the archive, and so for everybody.
                    if !model.ended() {
                        model.spent = spent;
                    }
                }
                _ => {}
            },
            _ => {}
        }
        let (kept, ahead) = log.kept();
        assert!(kept <= WINDOW + ahead, "{seed}: {kept} bytes are kept, {ahead} are not committed");
        readers.iter().for_each(|reader| reader.check(&model.events));
        let state = log.state();
        assert_eq!(state.spent, model.spent, "{seed}");
        let shown = state.events as usize;
        let committed = archive.events(run).len();
        assert!(shown <= model.events.len() && (!strict || shown <= committed), "{seed}");
        assert!(!model.ended() || shown < model.events.len() || committed == shown, "{seed}");
        assert_eq!(settled.load(Ordering::SeqCst) > 0, model.ended() && committed == model.events.len());
    }
    end_both(&log, &mut model);
    readers.push(Following::new(Reader::live(log.clone(), 0), 0));
    archive.commit();
    assert_eq!(archive.events(run), model.events, "{seed}");
    assert_eq!(archive.spent(run), model.spent, "{seed}");
    assert!(settled.load(Ordering::SeqCst) > 0, "{seed}");
    readers.push(Following::new(Reader::live(log.clone(), 0), 0));
    for reader in &mut readers {
        reader.step(1 + dice.below(40_000), usize::MAX);
        assert!(reader.over, "{seed}: a reader waits for ever");
        reader.check(&model.events);
    }
    let mut last = Reader::live(log.clone(), model.events.len() as u64);
    assert_eq!(rest(&mut last).await, [], "{seed}: nothing after the end");
}

/// What a run may have spent, or nothing, as after a call that was given back.
fn some_spent(dice: &mut Dice) -> Spent {
    let requests = dice.below(3) as u64;
    let mut tokens = || requests * dice.below(1000) as u64;
    Spent { requests, input_tokens: tokens(), output_tokens: tokens(), money: Money(tokens()) }
}

/// Decides the outcome in both.
fn end_both(log: &Arc<Log>, model: &mut Model) {
    let first = log.end(Outcome::Done);
    assert_eq!(first, !model.ended(), "only the first outcome counts");
    if first {
        model.push(Item::Outcome(Outcome::Done));
    }
}

fn open(archive: &Arc<FakeArchive>, strict: bool, settled: Arc<AtomicUsize>) -> (Arc<Log>, RunId) {
    let prompt = Prompt { run: RunId::new(), text: String::new(), body: None, origin: Origin::Client(None) };
    let run = prompt.run;
    let accepted = Accepted { agent: agent("alice"), prompt, at: SystemTime::now(), key: None };
    let kept: Arc<dyn Archive> = archive.clone();
    let unread = Arc::new(Budget::new(0));
    let keeping = Keeping { output: usize::MAX, unread, archive: Some(kept), strict };
    let log = Log::open(accepted, keeping, Arc::new(Mailbox::new(1)), move |_| {
        settled.fetch_add(1, Ordering::SeqCst);
    });
    log.wake_archive();
    (log, run)
}

const PROMPTS: [&str; 8] = [
    "say a, take 1s, say b",
    "pour 100, take 500ms, pour 100",
    "write 150000, say b",
    "say a, stuck",
    "tick 300ms",
    "open, fail",
    "say a, take 2s, trap",
    "count, answer, take 1s, say late",
];

#[tokio::test(start_paused = true)]
async fn every_client_that_comes_back_sees_one_stream_whatever_happens_to_the_host() {
    for seed in 0..150 {
        host_against_model(seed).await;
    }
}

/// A client that has seen so much of a run. Its reader is there while it is connected.
struct Client {
    run: RunId,
    seen: Vec<Event>,
    reader: Option<Reader>,
}

impl Client {
    fn over(&self) -> bool {
        matches!(self.seen.last(), Some(Event { item: Item::Outcome(_), .. }))
    }

    async fn connect(&mut self, host: &Host) {
        let last = self.seen.last().map_or(0, |event| event.id);
        self.reader = Some(host.follow(self.run, last).await);
    }

    /// Reads what is there.
    fn read(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        for event in now(reader) {
            assert!(!self.over(), "nothing comes after the end");
            self.seen.push((*event).clone());
        }
    }
}

async fn host_against_model(seed: u64) {
    let mut dice = Dice(seed);
    let policy = Policy { deadline: seconds(20), queue: 4, ..POLICY };
    let strict = dice.below(2) == 0;
    let mut archive = FakeArchive::held();
    let open = |archive: &Arc<FakeArchive>| {
        Host::keeping(Fake::new(policy), LIMITS, Some(archiving(archive, strict)))
    };
    let mut host = open(&archive);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..300 {
        match dice.below(20) {
            0..3 => {
                let (name, text) = (dice.one_of(&["a", "b"]), dice.one_of(&PROMPTS));
                if let Ok(run) = host.submit(name, text) {
                    clients.push(Client { run: run.run, seen: Vec::new(), reader: Some(run.events) });
                }
            }
            3..6 => tokio::time::sleep(Duration::from_millis(dice.below(900) as u64)).await,
            6..9 => _ = archive.take(),
            9..12 => _ = archive.write(),
            12 if !clients.is_empty() => {
                let which = dice.below(clients.len());
                let _ = host.directory.cancel(clients[which].run).await.unwrap();
            }
            13 | 14 if !clients.is_empty() => {
                let which = dice.below(clients.len());
                match clients[which].reader.take() {
                    Some(_) => {}
                    None if host.directory.state(clients[which].run).await.unwrap().is_some() => {
                        clients[which].connect(&host).await;
                    }
                    None => {}
                }
            }
            15 if dice.below(8) == 0 => {
                // Killed: what is not committed was never written, and no client hears of an end.
                clients.iter_mut().for_each(|client| client.reader = None);
                archive = archive.reopened();
                archive.hold();
                host = open(&archive);
                let known = archive.runs();
                clients.retain(|client| known.contains(&client.run));
                // What a client saw and the archive did not is gone with the host; with `strict` there is nothing.
                for client in &mut clients {
                    let written = archive.events(client.run);
                    if !written.starts_with(&client.seen) {
                        assert!(!strict && !client.over(), "{seed}: {:?} {written:?}", client.seen);
                        client.seen.truncate(written.len() - 1);
                    }
                }
            }
            _ => clients.iter_mut().for_each(Client::read),
        }
    }
    archive.release();
    host.directory.drain(seconds(5)).await;
    assert_eq!(host.guests.state().broken, [""; 0], "{seed}");
    assert_eq!((host.directory.unsettled_count(), host.directory.running()), (0, 0), "{seed}");
    for client in &mut clients {
        if client.reader.is_none() && !client.over() {
            client.connect(&host).await;
        }
        if let Some(mut reader) = client.reader.take() {
            client.seen.extend(rest(&mut reader).await);
        }
        assert_eq!(client.seen, archive.events(client.run), "{seed}");
    }
    for run in archive.runs() {
        let events = archive.events(run);
        let outcomes = events.iter().filter(|event| matches!(event.item, Item::Outcome(_))).count();
        assert_eq!((outcomes, events.last().unwrap().id), (1, events.len() as u64), "{seed}");
    }
}
