//! What a log knows: the events that are in memory, who reads them, and how far the archive has come.
//!
//! Promises: events are numbered without a gap; what a reader may see is never taken back.
//! Bounded by: [`WINDOW`] and what is not committed, with an archive; what is not read, without one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::SystemTime;

use rookery_core::{Chunk, Code, Event, Generation, Item, LONGEST_TEXT, Outcome, Spent};

use crate::log::{Keeping, Refusal};

/// What every run may hold unread beside the budget, in bytes. A page of text: so much that an ordinary stream is never
/// cut off because of a flood elsewhere, so little that all runs of a host together hold some hundred MiB of it.
pub(crate) const ALLOWANCE: usize = 16 * 1024;

/// How much of what is committed stays in memory for readers that come back, in bytes. Most runs fit whole; of a longer
/// one, who is further behind reads from the archive.
pub(crate) const WINDOW: usize = 64 * 1024;

/// How far a guest may be ahead of the archive, in bytes. A commit takes milliseconds, in which a model writes a page.
pub(crate) const AHEAD: usize = 1 << 20;

/// What a log knows. Everything here happens under its lock.
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
    pub(crate) cancelled: bool,
    pub(crate) too_large: bool,
    pub(crate) cause: Option<(Code, String)>,
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
    pub(crate) ahead: usize,
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

impl State {
    pub(crate) fn new() -> Self {
        Self { next: 1, ..Self::default() }
    }

    /// Takes a chunk, or says why not.
    pub(crate) fn write(&mut self, chunk: Chunk, keeping: &Keeping) -> Result<(), Refusal> {
        let size = chunk.size();
        if self.ended.is_some() || self.cancelled {
            return Err(Refusal::Cancelled);
        }
        if self.too_large || self.written.saturating_add(size) > keeping.output {
            self.too_large = true;
            return Err(Refusal::TooLarge);
        }
        if chunk.check().is_err() {
            return Err(Refusal::Invalid);
        }
        if size <= LONGEST_TEXT {
            self.written += size;
            self.append(Item::Chunk(chunk), size, keeping);
            return Ok(());
        }
        let Some(pieces) = chunk.pieces() else {
            self.too_large = true;
            return Err(Refusal::TooLarge);
        };
        self.written += size;
        for piece in pieces {
            let size = piece.size();
            self.append(Item::Chunk(piece), size, keeping);
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, item: Item, size: usize, keeping: &Keeping) {
        let event = Event { id: self.next, item };
        self.next += 1;
        match &keeping.archive {
            Some(_) => self.archived.ahead += size,
            // Nobody will ever read it: not even the memory for it is needed. The outcome is what is known of the run.
            None if size > 0 && self.places().next().is_none() => return self.forget(keeping),
            // The outcome counts nothing: it is one small event, and a reader that came this far shall have it.
            None if size > 0 && !keeping.unread.take(beyond(self.bytes + size) - beyond(self.bytes)) => {
                return self.cut(keeping);
            }
            None => {}
        }
        self.bytes += size;
        self.kept.push_back(Arc::new(event));
        self.wake_readers();
    }

    /// Takes back the last event, which no reader has seen.
    pub(crate) fn take_back(&mut self) {
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
    pub(crate) fn outcome(&self, shown: u64) -> Option<Outcome> {
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

    fn cut(&mut self, keeping: &Keeping) {
        for place in self.places() {
            place.cut = true;
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
        self.forget(keeping);
    }

    /// Notes that events up to this one are committed.
    pub(crate) fn commit(&mut self, up_to: u64, keeping: &Keeping) {
        let before = self.archived.committed.unwrap_or(0);
        let known = usize::try_from((before + 1).saturating_sub(self.oldest())).unwrap_or(usize::MAX);
        let newly = self.kept.iter().skip(known).take_while(|event| event.id <= up_to);
        let bytes: usize = newly.map(|event| size(event)).sum();
        self.archived.ahead = self.archived.ahead.saturating_sub(bytes);
        self.archived.committed = Some(before.max(up_to));
        self.forget(keeping);
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
    pub(crate) fn forget(&mut self, keeping: &Keeping) {
        let archive = keeping.archive.is_some() && !self.archived.lost;
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
            if keeping.archive.is_none() {
                keeping.unread.give(beyond(self.bytes) - beyond(left));
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
