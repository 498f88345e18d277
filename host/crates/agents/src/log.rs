//! A run's log: the events a guest wrote, in order, and how the run stands.
//!
//! Promises: events are numbered without a gap; writing never waits for a reader; exactly one outcome, and nothing after
//! it. With an archive, the outcome is shown to readers only when the whole run is committed.
//! Bounded by: the run's output limit. With an archive, what is committed is kept in memory only up to [`WINDOW`], and
//! a guest that is [`AHEAD`] of the archive is to be held ([`Reply::room`]). Without one, what has not been read is
//! kept, by a [`Budget`] over all runs beside an [`ALLOWANCE`] for each; when it is used up, the readers of the run that
//! wants to write are cut off, and the run goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

use rookery_core::{
    Chunk, Code, Event, Failure, Generation, Item, LONGEST_TEXT, Outcome, RunId, RunState, Spent, Standing,
    Stop,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::archive::{Accepted, Archive};
use crate::budget::Budget;
use crate::mailbox::Mailbox;
use crate::source::Kept;

/// What every run may hold unread beside the budget, in bytes. A page of text: so much that an ordinary stream is never
/// cut off because of a flood elsewhere, so little that all runs of a host together hold some hundred MiB of it.
const ALLOWANCE: usize = 16 * 1024;

/// How much of what is committed stays in memory for readers that come back, in bytes. Most runs fit whole; of a longer
/// one, who is further behind reads from the archive.
pub(crate) const WINDOW: usize = 64 * 1024;

/// How far a guest may be ahead of the archive, in bytes. A commit takes milliseconds, in which a model writes a page.
const AHEAD: usize = 1 << 20;

/// Why a chunk was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The run is over for its client: it was cancelled, or has its outcome.
    Cancelled,
    /// The run's output would exceed its limit; the run will fail.
    TooLarge,
    /// The chunk is not well formed.
    Invalid,
}

/// What is asked of a log.
#[derive(Clone)]
pub(crate) struct Keeping {
    /// How many bytes the guest may write.
    pub(crate) output: usize,
    /// What unread events of all runs share, where there is no archive.
    pub(crate) unread: Arc<Budget>,
    /// Where the log is kept.
    pub(crate) archive: Option<Arc<dyn Archive>>,
    /// Whether readers see nothing that is not committed.
    pub(crate) strict: bool,
}

/// A run's log.
pub(crate) struct Log {
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) keeping: Keeping,
    /// Fires when the run was cancelled while it ran.
    pub(crate) cancelling: CancellationToken,
    /// Where the run waits for its turn.
    mailbox: Arc<Mailbox>,
    /// Called when the run has its outcome and nothing more will be written of it.
    settled: Box<dyn Fn(RunId) + Send + Sync>,
    /// Wakes who waits for the archive.
    pub(crate) progress: Notify,
    state: Mutex<State>,
}

/// What the log knows. Everything below happens under its lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The newest events; the last one has the id `next - 1`.
    pub(crate) kept: VecDeque<Arc<Event>>,
    /// What those count.
    bytes: usize,
    pub(crate) next: u64,
    written: usize,
    pub(crate) started: Option<(SystemTime, Generation)>,
    pub(crate) ended: Option<SystemTime>,
    cancelled: bool,
    too_large: bool,
    cause: Option<(Code, String)>,
    pub(crate) spent: Spent,
    pub(crate) archived: Archived,
    /// Freed places are used again, so that the places of the others stay what they are.
    pub(crate) readers: Vec<Option<Place>>,
    /// Whether the run shall be cancelled when its last reader leaves.
    pub(crate) cancel_on_detach: bool,
}

/// How far the archive has come.
#[derive(Debug, Default)]
pub(crate) struct Archived {
    /// The archive has been woken, and has not come yet.
    pub(crate) woken: bool,
    /// The acceptance, the start and the events up to this one were handed over.
    pub(crate) took_acceptance: bool,
    pub(crate) took_start: bool,
    pub(crate) taken: u64,
    /// Bytes that were not committed yet.
    ahead: usize,
    /// What is committed; none while not even the acceptance is.
    pub(crate) committed: Option<u64>,
    /// Nothing more can be written.
    pub(crate) lost: bool,
}

/// A reader's place.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) next: u64,
    pub(crate) waker: Option<Waker>,
    pub(crate) cut: bool,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelling {
    /// The run had its outcome already.
    Over,
    /// It will never start.
    NeverStarts,
    /// The guest has been told.
    Told,
}

impl Log {
    /// A log that has just been opened. The archive has not heard of it yet: see [`Log::wake_archive`].
    pub(crate) fn open(
        accepted: Accepted,
        keeping: Keeping,
        mailbox: Arc<Mailbox>,
        settled: impl Fn(RunId) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            accepted: Arc::new(accepted),
            keeping,
            cancelling: CancellationToken::new(),
            mailbox,
            settled: Box::new(settled),
            progress: Notify::new(),
            state: Mutex::new(State { next: 1, ..State::default() }),
        })
    }

    pub(crate) fn run(&self) -> RunId {
        self.accepted.prompt.run
    }

    /// Notes that the run's turn has come. False where it has its outcome already.
    pub(crate) fn start(self: &Arc<Self>, generation: Generation) -> bool {
        let mut state = self.lock();
        if state.ended.is_some() {
            return false;
        }
        state.started = Some((SystemTime::now(), generation));
        self.tell_archive(state);
        true
    }

    /// Decides the outcome. Only the first one counts; says whether this was it.
    pub(crate) fn end(self: &Arc<Self>, outcome: Outcome) -> bool {
        let mut state = self.lock();
        if state.ended.is_some() {
            return false;
        }
        state.ended = Some(SystemTime::now());
        state.append(Item::Outcome(outcome), 0, self);
        drop(state);
        self.progress.notify_waiters();
        self.hurry_archive();
        self.settle();
        true
    }

    /// Cancels the run: one that has not started ends here and now, one that runs is told.
    pub(crate) fn cancel(self: &Arc<Self>) -> Cancelling {
        let mut state = self.lock();
        if state.ended.is_some() {
            return Cancelling::Over;
        }
        if state.started.is_none() {
            drop(state);
            self.end(Outcome::Cancelled(Stop::BeforeStart));
            drop(self.mailbox.remove(self.run()));
            return Cancelling::NeverStarts;
        }
        state.cancelled = true;
        drop(state);
        self.cancelling.cancel();
        Cancelling::Told
    }

    /// Whether the run has its outcome.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// Whether the run was cancelled while it ran.
    pub(crate) fn cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Whether a chunk was refused as too large, so that what was written is not the whole answer.
    pub(crate) fn too_large(&self) -> bool {
        self.lock().too_large
    }

    /// Notes what the host knows of why the run may fail. The last one counts.
    pub(crate) fn set_cause(&self, code: Code, what: String) {
        self.lock().cause = Some((code, what));
    }

    /// What the host knows of why the run failed.
    pub(crate) fn cause(&self) -> Option<(Code, String)> {
        self.lock().cause.clone()
    }

    /// Notes what the run asked of models until now. The last one before the outcome counts.
    pub(crate) fn set_spent(&self, spent: Spent) {
        let mut state = self.lock();
        // The archive may have it already, and who asks later shall hear the same as who asks now.
        if state.ended.is_none() {
            state.spent = spent;
        }
    }

    /// How the run stands.
    pub(crate) fn state(&self) -> RunState {
        self.standing((&self.accepted.prompt.text, false))
    }

    /// How the run stands, for a list.
    pub(crate) fn listed(&self) -> RunState {
        self.standing(RunState::listed(&self.accepted.prompt.text))
    }

    fn standing(&self, (prompt, prompt_cut): (&str, bool)) -> RunState {
        // Before the log's own lock, as the mailbox's is never taken under it.
        let before = self.mailbox.place(self.run()).unwrap_or(0);
        let state = self.lock();
        let shown = state.visible(&self.keeping) - 1;
        let outcome = state.outcome(shown);
        let standing = match (outcome, state.started) {
            (Some(outcome), _) => Standing::Ended(outcome),
            (None, Some(_)) => Standing::Running,
            (None, None) => Standing::Queued(before),
        };
        RunState {
            run: self.run(),
            agent: self.accepted.agent.clone(),
            origin: self.accepted.prompt.origin.clone(),
            prompt: prompt.to_owned(),
            prompt_cut,
            submitted: self.accepted.at,
            started: state.started,
            ended: state.ended.filter(|_| matches!(standing, Standing::Ended(_))),
            standing,
            events: shown,
            spent: state.spent,
        }
    }

    /// The outcome, as soon as readers may see it.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let state = self.lock();
        state.outcome(state.visible(&self.keeping) - 1)
    }

    /// How many bytes are in memory, and how many of them are not committed.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (usize, usize) {
        let state = self.lock();
        (state.kept.iter().map(|event| size(event)).sum(), state.archived.ahead)
    }

    pub(crate) fn write(self: &Arc<Self>, chunk: Chunk) -> Result<(), Refusal> {
        let mut state = self.lock();
        let written = state.write(chunk, self);
        self.tell_archive(state);
        written
    }

    /// Writes one chunk after the other up to the first one that is refused, and wakes readers and archive once.
    pub(crate) fn write_all(
        self: &Arc<Self>,
        chunks: impl IntoIterator<Item = Chunk>,
    ) -> Result<(), Refusal> {
        let mut state = self.lock();
        let written = chunks.into_iter().try_for_each(|chunk| state.write(chunk, self));
        self.tell_archive(state);
        written
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the archive, if it does not know already, that there is something.
    pub(crate) fn wake_archive(self: &Arc<Self>) {
        self.tell_archive(self.lock());
    }

    fn tell_archive(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let Some(archive) = &self.keeping.archive else { return };
        if !state.archived.lost && !std::mem::replace(&mut state.archived.woken, true) {
            drop(state);
            archive.wake(Arc::new(Kept(self.clone())));
        }
    }

    /// The same where a client waits for it: for the acceptance, if it does, and for the outcome.
    pub(crate) fn hurry_archive(self: &Arc<Self>) {
        self.wake_archive();
        if let Some(archive) = &self.keeping.archive {
            archive.hurry();
        }
    }

    /// The archive has got no further than this and never will: the run ends with that, unless its readers have seen
    /// another end.
    pub(crate) fn give_up(self: &Arc<Self>, why: &str) {
        let mut state = self.lock();
        if state.archived.lost {
            return;
        }
        let hidden = state.ended.is_some() && state.visible(&self.keeping) < state.next;
        if hidden {
            state.take_back();
        }
        while self.keeping.strict && state.archived.committed.unwrap_or(0) + 1 < state.next {
            state.take_back();
        }
        state.archived.lost = true;
        if hidden || state.ended.is_none() {
            state.ended = Some(SystemTime::now());
            let failure =
                Failure::new(Code::Internal, format!("the host could not keep the log of this run: {why}"));
            state.append(Item::Outcome(Outcome::Failed(failure)), 0, self);
        }
        state.wake_readers();
        drop(state);
        drop(self.mailbox.remove(self.run()));
        self.cancelling.cancel();
        self.progress.notify_waiters();
        self.settle();
    }

    /// Says that it is settled, if it is.
    pub(crate) fn settle(&self) {
        let state = self.lock();
        let written = self.keeping.archive.is_none()
            || state.archived.lost
            || state.archived.committed == Some(state.next - 1);
        if state.ended.is_some() && written {
            drop(state);
            (self.settled)(self.run());
        }
    }
}

impl State {
    fn write(&mut self, chunk: Chunk, log: &Log) -> Result<(), Refusal> {
        let size = chunk.size();
        if self.ended.is_some() || self.cancelled {
            return Err(Refusal::Cancelled);
        }
        if self.too_large || self.written.saturating_add(size) > log.keeping.output {
            self.too_large = true;
            return Err(Refusal::TooLarge);
        }
        if chunk.check().is_err() {
            return Err(Refusal::Invalid);
        }
        if size <= LONGEST_TEXT {
            self.written += size;
            self.append(Item::Chunk(chunk), size, log);
            return Ok(());
        }
        let Some(pieces) = chunk.pieces() else {
            self.too_large = true;
            return Err(Refusal::TooLarge);
        };
        self.written += size;
        for piece in pieces {
            let size = piece.size();
            self.append(Item::Chunk(piece), size, log);
        }
        Ok(())
    }

    fn append(&mut self, item: Item, size: usize, log: &Log) {
        let event = Event { id: self.next, item };
        self.next += 1;
        match &log.keeping.archive {
            Some(_) => self.archived.ahead += size,
            // Nobody will ever read it: not even the memory for it is needed. The outcome is what is known of the run.
            None if size > 0 && self.places().next().is_none() => return self.forget(log),
            // The outcome counts nothing: it is one small event, and a reader that came this far shall have it.
            None if size > 0 && !log.keeping.unread.take(beyond(self.bytes + size) - beyond(self.bytes)) => {
                return self.cut(log);
            }
            None => {}
        }
        self.bytes += size;
        self.kept.push_back(Arc::new(event));
        self.wake_readers();
    }

    /// Takes back the last event, which no reader has seen.
    fn take_back(&mut self) {
        if let Some(event) = self.kept.pop_back() {
            self.bytes -= size(&event);
            self.next = event.id;
        }
    }

    pub(crate) fn wake_readers(&mut self) {
        for place in self.places() {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    pub(crate) fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        self.readers.iter_mut().flatten().filter(|place| !place.cut)
    }

    /// The outcome, if readers have been shown events up to it.
    fn outcome(&self, shown: u64) -> Option<Outcome> {
        match &self.kept.back().filter(|event| event.id <= shown)?.item {
            Item::Outcome(outcome) => Some(outcome.clone()),
            Item::Chunk(_) => None,
        }
    }

    /// The id before which readers may see events.
    pub(crate) fn visible(&self, keeping: &Keeping) -> u64 {
        if keeping.archive.is_none() || self.archived.lost {
            return self.next;
        }
        let committed = self.archived.committed.unwrap_or(0) + 1;
        match () {
            () if keeping.strict => committed,
            () if self.ended.is_some() && committed < self.next => self.next - 1,
            () => self.next,
        }
    }

    /// Whether the run cannot be forgotten any more, as far as that can be had.
    pub(crate) fn is_kept(&self, keeping: &Keeping) -> bool {
        keeping.archive.is_none() || self.archived.lost || self.archived.committed.is_some()
    }

    /// The id of the oldest event in memory.
    pub(crate) fn oldest(&self) -> u64 {
        self.next - self.kept.len() as u64
    }

    fn cut(&mut self, log: &Log) {
        for place in self.places() {
            place.cut = true;
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
        self.forget(log);
    }

    /// Notes that events up to this one are committed.
    pub(crate) fn commit(&mut self, up_to: u64, log: &Log) {
        let before = self.archived.committed.unwrap_or(0);
        let known = usize::try_from((before + 1).saturating_sub(self.oldest())).unwrap_or(usize::MAX);
        let newly = self.kept.iter().skip(known).take_while(|event| event.id <= up_to);
        let bytes: usize = newly.map(|event| size(event)).sum();
        self.archived.ahead = self.archived.ahead.saturating_sub(bytes);
        self.archived.committed = Some(before.max(up_to));
        self.forget(log);
    }

    /// Whether the guest is not too far ahead of the archive.
    pub(crate) fn has_room(&self) -> bool {
        self.archived.lost || self.archived.ahead <= AHEAD
    }

    /// Whether a guest that was held may go on.
    pub(crate) fn holds_nobody(&self) -> bool {
        self.has_room() || self.ended.is_some()
    }

    /// Forgets what need not be in memory any more.
    pub(crate) fn forget(&mut self, log: &Log) {
        let archive = log.keeping.archive.is_some() && !self.archived.lost;
        // An archive waits for no reader, and each of a thousand would look at all others at every event.
        let slowest = match archive {
            true => u64::MAX,
            false => self.places().map(|place| place.next).min().unwrap_or(u64::MAX),
        };
        let committed = self.archived.committed.unwrap_or(0);
        let last = if self.ended.is_some() { self.next - 1 } else { u64::MAX };
        loop {
            let over = self.bytes > WINDOW;
            let gone = |event: &mut Arc<Event>| match archive {
                true => event.id <= committed && over,
                false => event.id < slowest && event.id != last,
            };
            let Some(event) = self.kept.pop_front_if(gone) else { return };
            let left = self.bytes - size(&event);
            if log.keeping.archive.is_none() {
                log.keeping.unread.give(beyond(self.bytes) - beyond(left));
            }
            self.bytes = left;
        }
    }
}

/// What so many unread bytes of one run take of the budget.
fn beyond(bytes: usize) -> usize {
    bytes.saturating_sub(ALLOWANCE)
}

/// What an event counts.
pub(crate) fn size(event: &Event) -> usize {
    match &event.item {
        Item::Chunk(chunk) => chunk.size(),
        Item::Outcome(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use rookery_core::{AgentId, Origin, Prompt};

    use super::*;
    use crate::reader::{Cut, Reader};

    fn text(text: &str) -> Chunk {
        Chunk::Text(text.into())
    }

    /// A chunk that uses up the allowance, so that everything after it counts.
    fn page() -> Chunk {
        text(&"x".repeat(ALLOWANCE - text("").size()))
    }

    fn accepted() -> Accepted {
        let agent = AgentId { plugin: "p".parse().unwrap(), name: "n".parse().unwrap() };
        let prompt =
            Prompt { run: RunId::new(), text: String::new(), body: None, origin: Origin::Client(None) };
        Accepted { agent, prompt, at: SystemTime::now(), key: None }
    }

    fn log(output: usize, budget: usize) -> (Arc<Log>, Reader, Arc<Budget>) {
        let unread = Arc::new(Budget::new(budget));
        let keeping = Keeping { output, unread: unread.clone(), archive: None, strict: false };
        let log = Log::open(accepted(), keeping, Arc::new(Mailbox::new(1)), |_| {});
        let reader = Reader::live(log.clone(), 0);
        (log, reader, unread)
    }

    #[tokio::test]
    async fn events_arrive_in_order_and_the_outcome_is_the_last() {
        let (log, mut reader, _) = log(1 << 20, 1 << 20);
        log.write(text("a")).unwrap();
        log.write(text("b")).unwrap();
        assert!(log.end(Outcome::Done));
        let mut seen = Vec::new();
        while let Some(event) = reader.next().await.unwrap() {
            seen.push((event.id, event.item.clone()));
        }
        let expected = [Item::Chunk(text("a")), Item::Chunk(text("b")), Item::Outcome(Outcome::Done)];
        assert_eq!(seen, (1..).zip(expected).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn of_several_chunks_all_are_taken_up_to_the_first_that_is_refused() {
        let (log, mut reader, _) = log(1 << 20, 1 << 20);
        let bad = Chunk::Data { name: "done".into(), json: "1".into() };
        assert_eq!(log.write_all([text("a"), text("b"), bad, text("c")]), Err(Refusal::Invalid));
        assert!(log.end(Outcome::Done));
        let mut seen = Vec::new();
        while let Some(event) = reader.next().await.unwrap() {
            seen.push(event.item.clone());
        }
        assert_eq!(seen, [Item::Chunk(text("a")), Item::Chunk(text("b")), Item::Outcome(Outcome::Done)]);
    }

    #[tokio::test]
    async fn only_the_first_outcome_counts_and_nothing_is_taken_after_it() {
        let (log, mut reader, _) = log(1 << 20, 1 << 20);
        let stopped = Outcome::Cancelled(Stop::Returned);
        assert!(log.end(stopped.clone()));
        assert!(!log.end(Outcome::Done));
        assert_eq!(log.write(text("late")), Err(Refusal::Cancelled));
        assert_eq!(reader.next().await.unwrap().unwrap().item, Item::Outcome(stopped));
        assert_eq!(reader.next().await, Ok(None));
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_a_write() {
        let (log, mut reader, _) = log(1 << 20, 1 << 20);
        let reading = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        log.write(text("now")).unwrap();
        assert_eq!(reading.await.unwrap().unwrap().unwrap().id, 1);
    }

    #[test]
    fn what_exceeds_the_limit_is_refused_for_good() {
        let (log, _reader, _) = log(text("12345").size() * 2, 1 << 20);
        log.write(text("12345")).unwrap();
        assert_eq!(log.write(text("too long for what is left")), Err(Refusal::TooLarge));
        assert_eq!(log.write(text("")), Err(Refusal::TooLarge), "an answer has no holes");
        assert!(log.too_large());
    }

    #[tokio::test]
    async fn a_refused_chunk_leaves_no_gap_in_the_numbers() {
        let (log, mut reader, _) = log(1 << 20, 1 << 20);
        let bad = Chunk::Data { name: "done".into(), json: "1".into() };
        assert_eq!(log.write(bad), Err(Refusal::Invalid));
        log.write(text("a")).unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().id, 1);
    }

    #[tokio::test]
    async fn memory_is_held_only_for_what_has_not_been_read() {
        let (log, mut reader, budget) = log(1 << 20, 1 << 20);
        for chunk in [page(), text("abc"), text("abc")] {
            log.write(chunk).unwrap();
        }
        assert_eq!(budget.used(), 2 * text("abc").size());
        reader.next().await.unwrap();
        assert_eq!(budget.used(), 0);
        log.write(page()).unwrap();
        assert_eq!(budget.used(), 2 * text("abc").size());
        drop(reader);
        assert_eq!(budget.used(), 0);
        log.write(page()).unwrap();
        log.write(page()).unwrap();
        assert_eq!(budget.used(), 0, "nobody will read it");
    }

    #[tokio::test]
    async fn a_short_stream_is_not_cut_off_when_others_have_used_up_the_budget() {
        let (log, mut reader, _) = log(1 << 20, 0);
        for id in 1..=2 {
            log.write(page()).unwrap();
            assert_eq!(reader.next().await.unwrap().unwrap().id, id);
        }
    }

    #[tokio::test]
    async fn without_budget_the_reader_is_cut_off_and_the_run_goes_on() {
        let (log, mut reader, budget) = log(1 << 20, text("abc").size());
        for chunk in [page(), text("abc"), text("abc")] {
            log.write(chunk).unwrap();
        }
        assert_eq!(reader.next().await, Err(Cut));
        assert_eq!(budget.used(), 0);
        assert!(log.end(Outcome::Done));
    }

    #[tokio::test]
    async fn two_readers_each_read_everything_and_who_waits_for_the_end_has_read_nothing() {
        let (log, mut first, budget) = log(1 << 20, 1 << 20);
        let mut second = first.again();
        log.write(page()).unwrap();
        log.write(text("abc")).unwrap();
        log.end(Outcome::Done);
        first.ended().await.unwrap();
        for reader in [&mut first, &mut second] {
            assert_eq!(budget.used(), text("abc").size(), "somebody has not read it");
            for id in 1..=3 {
                assert_eq!(reader.next().await.unwrap().unwrap().id, id);
            }
            assert_eq!(reader.next().await, Ok(None));
        }
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_run_that_has_not_started_ends_when_it_is_cancelled_and_one_that_runs_is_told() {
        let (log, ..) = log(1 << 20, 1 << 20);
        assert_eq!(log.cancel(), Cancelling::NeverStarts);
        assert!(!log.start(Generation(1)));
        assert_eq!(log.cancel(), Cancelling::Over);

        let (log, ..) = self::log(1 << 20, 1 << 20);
        assert!(log.start(Generation(1)));
        assert_eq!((log.cancel(), log.cancel()), (Cancelling::Told, Cancelling::Told));
        assert!(log.cancelling.is_cancelled());
        assert_eq!(log.write(text("late")), Err(Refusal::Cancelled));
    }
}
