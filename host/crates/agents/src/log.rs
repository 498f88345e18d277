//! A run's log: the events a guest wrote, in order, for readers that follow at their own pace.
//!
//! Promises: events reach every reader in order, numbered without a gap; writing never waits for a reader; after the
//! outcome nothing is taken any more.
//! Bounded by: the run's output limit, and over all runs of the host by a [`Budget`] beside an [`ALLOWANCE`] for each.
//! An event is kept only until every reader has it, and not at all where there is no reader.
//! Costs: when the host-wide budget is used up, the readers of the run that wants to write are cut off; the run
//! itself goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rookery_core::{Chunk, Event, Item, LONGEST_TEXT, Outcome};

use crate::budget::Budget;

/// What every run may hold unread beside the budget, in bytes. A page of text: so much that an ordinary stream is never
/// cut off because of a flood elsewhere, so little that all runs of a host together hold some hundred MiB of it.
const ALLOWANCE: usize = 16 * 1024;

/// Why a chunk was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The run has its outcome already.
    Cancelled,
    /// The run's output would exceed its limit; the run will fail.
    TooLarge,
    /// The chunk is not well formed.
    Invalid,
}

/// The reader was cut off: the host had no memory left for what it had not read. The run goes on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

/// The guest's end of a log.
#[derive(Clone, Debug)]
pub struct Reply {
    log: Arc<Log>,
}

/// A client's end of a log. Dropping it detaches; the run goes on.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    place: usize,
}

#[derive(Debug)]
struct Log {
    budget: Arc<Budget>,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What some reader has not read yet; the last one has the id `next - 1`.
    unread: VecDeque<Arc<Event>>,
    /// What those count.
    bytes: usize,
    next: u64,
    written: usize,
    ended: bool,
    too_large: bool,
    /// Freed places are used again, so that the places of the others stay what they are.
    readers: Vec<Option<Place>>,
}

#[derive(Debug)]
struct Place {
    next: u64,
    waker: Option<Waker>,
    cut: bool,
}

/// A log whose guest may write `limit` bytes, with its first reader.
pub(crate) fn new(limit: usize, budget: Arc<Budget>) -> (Reply, Reader) {
    let first = Place { next: 1, waker: None, cut: false };
    let state = State {
        unread: VecDeque::new(),
        bytes: 0,
        next: 1,
        written: 0,
        ended: false,
        too_large: false,
        readers: vec![Some(first)],
    };
    let log = Arc::new(Log { budget, limit, state: Mutex::new(state) });
    (Reply { log: log.clone() }, Reader { log, place: 0 })
}

impl Reply {
    /// Appends a chunk and wakes the readers.
    ///
    /// # Errors
    ///
    /// When the run is over, the chunk not well formed, or the output too large.
    pub fn write(&self, chunk: Chunk) -> Result<(), Refusal> {
        let size = chunk.size();
        let mut state = self.log.lock();
        if state.ended {
            return Err(Refusal::Cancelled);
        }
        if state.too_large || state.written.saturating_add(size) > self.log.limit {
            state.too_large = true;
            return Err(Refusal::TooLarge);
        }
        if chunk.check().is_err() {
            return Err(Refusal::Invalid);
        }
        if size <= LONGEST_TEXT {
            state.written += size;
            state.append(Item::Chunk(chunk), size, &self.log.budget);
            return Ok(());
        }
        let Some(pieces) = chunk.pieces() else {
            state.too_large = true;
            return Err(Refusal::TooLarge);
        };
        state.written += size;
        for piece in pieces {
            let size = piece.size();
            state.append(Item::Chunk(piece), size, &self.log.budget);
        }
        Ok(())
    }

    /// Whether a chunk was refused as too large, so that what was written is not the whole answer.
    pub(crate) fn too_large(&self) -> bool {
        self.log.lock().too_large
    }

    /// Appends the outcome. Only the first one counts; says whether this was it.
    pub(crate) fn end(&self, outcome: Outcome) -> bool {
        let mut state = self.log.lock();
        if state.ended {
            return false;
        }
        state.ended = true;
        state.append(Item::Outcome(outcome), 0, &self.log.budget);
        true
    }
}

impl Reader {
    /// Moves events that have not been read into `into`, until they count `bytes` or more. Ready with `Ok(true)` when
    /// it moved some, with `Ok(false)` when the outcome has been read before; there is nothing more then.
    ///
    /// # Errors
    ///
    /// When the reader was cut off.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<Arc<Event>>,
        bytes: usize,
    ) -> Poll<Result<bool, Cut>> {
        let mut state = self.log.lock();
        let state = &mut *state;
        let oldest = state.next - state.unread.len() as u64;
        let Some(place) = state.readers.get_mut(self.place).and_then(Option::as_mut) else {
            return Poll::Ready(Err(Cut));
        };
        if place.cut {
            return Poll::Ready(Err(Cut));
        }
        if place.next == state.next {
            if state.ended {
                return Poll::Ready(Ok(false));
            }
            if !place.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                place.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        // Places never fall behind what is kept: `trim` keeps what the slowest of them needs.
        let skip = usize::try_from(place.next - oldest).unwrap_or(usize::MAX);
        let mut taken = 0;
        for event in state.unread.iter().skip(skip) {
            into.push(event.clone());
            place.next = event.id + 1;
            taken += size(event);
            if taken >= bytes {
                break;
            }
        }
        state.trim(&self.log.budget);
        Poll::Ready(Ok(true))
    }

    /// Waits for the outcome without reading anything: what the run writes in the meantime stays in the log, and counts
    /// as unread.
    ///
    /// # Errors
    ///
    /// When the reader was cut off.
    pub async fn ended(&mut self) -> Result<(), Cut> {
        std::future::poll_fn(|cx| {
            let mut state = self.log.lock();
            let ended = state.ended;
            match state.readers.get_mut(self.place).and_then(Option::as_mut) {
                Some(place) if !place.cut => {
                    if ended {
                        return Poll::Ready(Ok(()));
                    }
                    place.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(Err(Cut)),
            }
        })
        .await
    }

    /// What has not been read, without reading it: it stays in the log until it is.
    pub fn peek(&self) -> Vec<Arc<Event>> {
        let state = self.log.lock();
        let next =
            state.readers.get(self.place).and_then(Option::as_ref).map_or(u64::MAX, |place| place.next);
        state.unread.iter().filter(|event| event.id >= next).cloned().collect()
    }

    /// The next event; none after the outcome.
    ///
    /// # Errors
    ///
    /// When the reader was cut off.
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, Cut> {
        let mut one = Vec::with_capacity(1);
        std::future::poll_fn(|cx| self.poll_read(cx, &mut one, 1)).await?;
        Ok(one.pop())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        if let Some(place) = state.readers.get_mut(self.place) {
            *place = None;
        }
        state.trim(&self.log.budget);
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, item: Item, size: usize, budget: &Budget) {
        let event = Event { id: self.next, item };
        self.next += 1;
        // Nobody will ever read it: not even the memory for it is needed.
        if self.places().next().is_none() {
            return;
        }
        // The outcome counts nothing: it is one small event, and a reader that came this far shall have it.
        if size > 0 && !budget.take(beyond(self.bytes + size) - beyond(self.bytes)) {
            self.cut(budget);
            return;
        }
        self.bytes += size;
        self.unread.push_back(Arc::new(event));
        for place in self.places() {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        self.readers.iter_mut().flatten().filter(|place| !place.cut)
    }

    fn cut(&mut self, budget: &Budget) {
        for place in self.places() {
            place.cut = true;
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
        self.trim(budget);
    }

    /// Forgets what every reader has read.
    fn trim(&mut self, budget: &Budget) {
        let slowest = self.places().map(|place| place.next).min().unwrap_or(u64::MAX);
        while let Some(event) = self.unread.pop_front_if(|event| event.id < slowest) {
            let left = self.bytes - size(&event);
            budget.give(beyond(self.bytes) - beyond(left));
            self.bytes = left;
        }
    }
}

/// What so many unread bytes of one run take of the budget.
fn beyond(bytes: usize) -> usize {
    bytes.saturating_sub(ALLOWANCE)
}

/// What an event counts against the budget.
fn size(event: &Event) -> usize {
    match &event.item {
        Item::Chunk(chunk) => chunk.size(),
        Item::Outcome(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use rookery_core::Stop;

    use super::*;

    fn text(text: &str) -> Chunk {
        Chunk::Text(text.into())
    }

    fn log(limit: usize, budget: usize) -> (Reply, Reader, Arc<Budget>) {
        let budget = Arc::new(Budget::new(budget));
        let (reply, reader) = new(limit, budget.clone());
        (reply, reader, budget)
    }

    #[tokio::test]
    async fn events_arrive_in_order_and_the_outcome_is_the_last() {
        let (reply, mut reader, _) = log(1 << 20, 1 << 20);
        reply.write(text("a")).unwrap();
        reply.write(text("b")).unwrap();
        assert!(reply.end(Outcome::Done));
        let mut seen = Vec::new();
        while let Some(event) = reader.next().await.unwrap() {
            seen.push((event.id, event.item.clone()));
        }
        let expected = [Item::Chunk(text("a")), Item::Chunk(text("b")), Item::Outcome(Outcome::Done)];
        assert_eq!(seen, (1..).zip(expected).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn only_the_first_outcome_counts_and_nothing_is_taken_after_it() {
        let (reply, mut reader, _) = log(1 << 20, 1 << 20);
        assert!(reply.end(Outcome::Cancelled(Stop::Returned)));
        assert!(!reply.end(Outcome::Done));
        assert_eq!(reply.write(text("late")), Err(Refusal::Cancelled));
        assert_eq!(
            reader.next().await.unwrap().unwrap().item,
            Item::Outcome(Outcome::Cancelled(Stop::Returned))
        );
        assert_eq!(reader.next().await, Ok(None));
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_a_write() {
        let (reply, mut reader, _) = log(1 << 20, 1 << 20);
        let reading = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        reply.write(text("now")).unwrap();
        assert_eq!(reading.await.unwrap().unwrap().unwrap().id, 1);
    }

    #[test]
    fn what_exceeds_the_limit_is_refused_for_good() {
        let (reply, _reader, _) = log(text("12345").size() * 2, 1 << 20);
        reply.write(text("12345")).unwrap();
        assert_eq!(reply.write(text("too long for what is left")), Err(Refusal::TooLarge));
        assert_eq!(reply.write(text("")), Err(Refusal::TooLarge), "an answer has no holes");
        assert!(reply.too_large());
    }

    #[tokio::test]
    async fn a_refused_chunk_leaves_no_gap_in_the_numbers() {
        let (reply, mut reader, _) = log(1 << 20, 1 << 20);
        let bad = Chunk::Data { name: "done".into(), json: "1".into() };
        assert_eq!(reply.write(bad), Err(Refusal::Invalid));
        reply.write(text("a")).unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().id, 1);
    }

    /// A chunk that uses up the allowance, so that everything after it counts.
    fn page() -> Chunk {
        text(&"x".repeat(ALLOWANCE - text("").size()))
    }

    #[tokio::test]
    async fn memory_is_held_only_for_what_has_not_been_read() {
        let (reply, mut reader, budget) = log(1 << 20, 1 << 20);
        for chunk in [page(), text("abc"), text("abc")] {
            reply.write(chunk).unwrap();
        }
        assert_eq!(budget.used(), 2 * text("abc").size());
        reader.next().await.unwrap();
        assert_eq!(budget.used(), 0);
        reply.write(page()).unwrap();
        assert_eq!(budget.used(), 2 * text("abc").size());
        drop(reader);
        assert_eq!(budget.used(), 0);
        reply.write(page()).unwrap();
        reply.write(page()).unwrap();
        assert_eq!(budget.used(), 0, "nobody will read it");
    }

    #[tokio::test]
    async fn a_short_stream_is_not_cut_off_when_others_have_used_up_the_budget() {
        let (reply, mut reader, _) = log(1 << 20, 0);
        reply.write(page()).unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().id, 1);
        reply.write(page()).unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().id, 2);
    }

    #[tokio::test]
    async fn who_waits_for_the_end_finds_everything_there_and_still_counted() {
        let (reply, mut reader, budget) = log(1 << 20, 1 << 20);
        let writing = tokio::spawn(async move {
            for chunk in [page(), text("abc")] {
                reply.write(chunk).unwrap();
                tokio::task::yield_now().await;
            }
            reply.end(Outcome::Done);
        });
        reader.ended().await.unwrap();
        writing.await.unwrap();
        assert_eq!(reader.peek().len(), 3);
        assert_eq!(budget.used(), text("abc").size());
        while reader.next().await.unwrap().is_some() {}
        assert_eq!((reader.peek().len(), budget.used()), (0, 0));
    }

    #[test]
    fn a_log_that_is_dropped_unread_gives_its_memory_back() {
        let (reply, reader, budget) = log(1 << 20, 1 << 20);
        reply.write(page()).unwrap();
        reply.write(text("abc")).unwrap();
        drop(reply);
        assert!(budget.used() > 0, "the reader may still come for it");
        drop(reader);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn without_budget_the_reader_is_cut_off_and_the_run_goes_on() {
        let (reply, mut reader, budget) = log(1 << 20, text("abc").size());
        for chunk in [page(), text("abc"), text("abc")] {
            reply.write(chunk).unwrap();
        }
        assert_eq!(reader.next().await, Err(Cut));
        assert_eq!(budget.used(), 0);
        assert!(reply.end(Outcome::Done));
    }
}
