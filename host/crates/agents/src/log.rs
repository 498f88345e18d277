//! A run's log: the events a guest wrote, in order, and how the run stands.
//!
//! Promises: events are numbered without a gap; writing never waits for a reader; exactly one outcome, and nothing after
//! it. With an archive, the outcome is shown to readers only when the whole run is committed.
//! Bounded by: the run's output limit. With an archive, what is committed is kept in memory only up to [`WINDOW`], and
//! a guest that is [`AHEAD`] of the archive is to be held ([`Reply::room`]). Without one, what has not been read is
//! kept, by a [`Budget`] over all runs beside an [`ALLOWANCE`] for each; when it is used up, the readers of the run that
//! wants to write are cut off, and the run goes on.
//!
//! [`WINDOW`]: crate::state::WINDOW
//! [`AHEAD`]: crate::state::AHEAD
//! [`ALLOWANCE`]: crate::state::ALLOWANCE
//! [`Reply::room`]: crate::Reply::room

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rookery_core::{Chunk, Code, Failure, Generation, Item, Outcome, RunId, RunState, Spent, Standing, Stop};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::archive::{Accepted, Archive};
use crate::budget::Budget;
use crate::mailbox::Mailbox;
use crate::source::Kept;
use crate::state::State;

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
            state: Mutex::new(State::new()),
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
        state.append(Item::Outcome(outcome), 0, &self.keeping);
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
        (state.kept.iter().map(|event| crate::state::size(event)).sum(), state.archived.ahead)
    }

    pub(crate) fn write(self: &Arc<Self>, chunk: Chunk) -> Result<(), Refusal> {
        let mut state = self.lock();
        let written = state.write(chunk, &self.keeping);
        self.tell_archive(state);
        written
    }

    /// Writes one chunk after the other up to the first one that is refused, and wakes readers and archive once.
    pub(crate) fn write_all(
        self: &Arc<Self>,
        chunks: impl IntoIterator<Item = Chunk>,
    ) -> Result<(), Refusal> {
        let mut state = self.lock();
        let written = chunks.into_iter().try_for_each(|chunk| state.write(chunk, &self.keeping));
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
            state.append(Item::Outcome(Outcome::Failed(failure)), 0, &self.keeping);
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

#[cfg(test)]
mod tests {
    use rookery_core::{AgentId, Origin, Prompt};

    use super::*;
    use crate::budget::Budget;
    use crate::reader::{Cut, Reader};
    use crate::state::ALLOWANCE;

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
