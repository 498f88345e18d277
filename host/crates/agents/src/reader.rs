//! A client's end of a log. Dropping it detaches; the run goes on, unless its plugin wants it cancelled then.
//!
//! Promises: every event after the one it starts after, in order, none twice and none missing, then nothing after the
//! outcome; from memory where it is there, from the archive where it is not.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use rookery_core::{Event, Outcome, RunId};

use crate::archive::{Archive, ArchiveError};
use crate::log::Log;
use crate::state::{Place, size};

/// The reader was cut off: the host had no memory left for what it had not read, or the archive could not be read. The
/// run goes on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

/// A client's end of a log.
pub struct Reader {
    from: From,
    /// What is being read from the archive.
    reading: Option<Reading>,
}

/// What is on its way. Nobody ever waits for the lock: it is there so that a reader may be shared.
type Reading = Mutex<BoxFuture<'static, Result<Vec<Event>, ArchiveError>>>;

enum From {
    /// A run whose log is in memory, at least its end.
    Live { log: Arc<Log>, place: usize },
    /// A run that is only in the archive, which has so many events of it, and the end that it lacks if it was lost.
    Archived { archive: Arc<dyn Archive>, run: RunId, next: u64, events: u64, end: Option<Arc<Event>> },
}

impl Reader {
    /// Reads a log from after this event.
    pub(crate) fn live(log: Arc<Log>, after: u64) -> Self {
        let mut state = log.lock();
        // A client can claim to have seen what there has never been.
        let next = after.saturating_add(1).min(state.visible(&log.keeping));
        let place = Place { next, waker: None, cut: false };
        let free = state.readers.iter().position(Option::is_none);
        let at = free.unwrap_or(state.readers.len());
        match free {
            Some(at) => state.readers[at] = Some(place),
            None => state.readers.push(Some(place)),
        }
        drop(state);
        Self { from: From::Live { log, place: at }, reading: None }
    }

    /// Reads a run that has ended, from after this event; so many of its events were written, and after them comes an
    /// end of its own if they lack one.
    pub(crate) fn archived(
        archive: Arc<dyn Archive>,
        run: RunId,
        after: u64,
        (events, end): (u64, Option<Arc<Event>>),
    ) -> Self {
        Self { from: From::Archived { archive, run, next: after + 1, events, end }, reading: None }
    }

    /// Another reader of the same run, from its first event.
    #[must_use]
    pub fn again(&self) -> Self {
        match &self.from {
            From::Live { log, .. } => Self::live(log.clone(), 0),
            From::Archived { archive, run, events, end, .. } => {
                Self::archived(archive.clone(), *run, 0, (*events, end.clone()))
            }
        }
    }

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
        loop {
            if let Some(reading) = &mut self.reading {
                let reading = reading.get_mut().unwrap_or_else(PoisonError::into_inner);
                let read = ready!(reading.as_mut().poll(cx));
                self.reading = None;
                let read = read.map_err(|error| {
                    tracing::error!("the log of a run could not be read: {error}");
                    Cut
                })?;
                return Poll::Ready(self.moved(read, into));
            }
            match &mut self.from {
                From::Archived { next, events, end, .. } if *next > *events => {
                    let end = end.as_ref().filter(|end| end.id == *next);
                    into.extend(end.cloned());
                    *next += 1;
                    return Poll::Ready(Ok(end.is_some()));
                }
                From::Archived { archive, run, next, .. } => {
                    self.reading = Some(Mutex::new(archive.read(*run, *next - 1, bytes)));
                }
                From::Live { log, place } => match poll_live(log, *place, cx, into, bytes) {
                    Some(polled) => return polled,
                    None => self.reading = behind(log, *place, bytes),
                },
            }
        }
    }

    /// Takes in what was read from the archive.
    fn moved(&mut self, read: Vec<Event>, into: &mut Vec<Arc<Event>>) -> Result<bool, Cut> {
        // It is asked only for what is there.
        let last = read.last().ok_or(Cut)?;
        let after = last.id + 1;
        match &mut self.from {
            From::Archived { next, .. } => *next = after,
            From::Live { log, place } => {
                let mut state = log.lock();
                if let Some(place) = state.readers.get_mut(*place).and_then(Option::as_mut) {
                    place.next = after;
                }
            }
        }
        into.extend(read.into_iter().map(Arc::new));
        Ok(true)
    }

    /// The next event; none after the outcome.
    ///
    /// # Errors
    ///
    /// When the reader was cut off.
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, Cut> {
        let mut one = Vec::with_capacity(1);
        poll_fn(|cx| self.poll_read(cx, &mut one, 1)).await?;
        Ok(one.pop())
    }

    /// Waits until the run cannot be forgotten any more: it is in the archive, or there is none.
    pub async fn accepted(&self) {
        let From::Live { log, .. } = &self.from else { return };
        loop {
            let progress = log.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if log.lock().is_kept(&log.keeping) {
                return;
            }
            // Only where somebody waits, who would otherwise wait until more has gathered.
            log.hurry_archive();
            progress.await;
        }
    }

    /// Waits for the outcome without keeping anything of the run in memory for it. None where the run had ended before this
    /// reader came to be.
    pub async fn outcome(self) -> Option<Outcome> {
        let From::Live { log, .. } = &self.from else { return None };
        let log = log.clone();
        drop(self);
        loop {
            let progress = log.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if let Some(outcome) = log.outcome() {
                return Some(outcome);
            }
            progress.await;
        }
    }

    /// Waits for the outcome without reading anything. What the run writes in the meantime stays where it is.
    ///
    /// # Errors
    ///
    /// When the reader was cut off.
    pub async fn ended(&mut self) -> Result<(), Cut> {
        let From::Live { log, place } = &self.from else { return Ok(()) };
        poll_fn(|cx| {
            let mut state = log.lock();
            let ended = state.ended.is_some() && state.visible(&log.keeping) == state.next;
            match state.readers.get_mut(*place).and_then(Option::as_mut) {
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
}

/// What is in memory; none where the reader is behind that.
fn poll_live(
    log: &Log,
    place: usize,
    cx: &mut Context<'_>,
    into: &mut Vec<Arc<Event>>,
    bytes: usize,
) -> Option<Poll<Result<bool, Cut>>> {
    let mut state = log.lock();
    let state = &mut *state;
    let (oldest, visible) = (state.oldest(), state.visible(&log.keeping));
    let over = state.ended.is_some();
    let Some(place) = state.readers.get_mut(place).and_then(Option::as_mut).filter(|place| !place.cut) else {
        return Some(Poll::Ready(Err(Cut)));
    };
    if place.next >= visible {
        if over && place.next == state.next {
            return Some(Poll::Ready(Ok(false)));
        }
        if !place.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            place.waker = Some(cx.waker().clone());
        }
        return Some(Poll::Pending);
    }
    if place.next < oldest {
        // Without an archive what was forgotten is gone: a reader that comes late has missed it.
        return log.keeping.archive.is_none().then_some(Poll::Ready(Err(Cut)));
    }
    let skip = usize::try_from(place.next - oldest).unwrap_or(usize::MAX);
    let mut taken = 0;
    for event in state.kept.iter().skip(skip).take_while(|event| event.id < visible) {
        into.push(event.clone());
        place.next = event.id + 1;
        taken += size(event);
        if taken >= bytes {
            break;
        }
    }
    state.forget(&log.keeping);
    Some(Poll::Ready(Ok(true)))
}

/// Reads what is not in memory any more. It is committed, or it would still be there.
fn behind(log: &Log, place: usize, bytes: usize) -> Option<Reading> {
    let next = log.lock().readers.get(place).and_then(Option::as_ref).map_or(1, |place| place.next);
    log.keeping.archive.as_ref().map(|archive| Mutex::new(archive.read(log.run(), next - 1, bytes)))
}

impl Drop for Reader {
    fn drop(&mut self) {
        let From::Live { log, place } = &self.from else { return };
        let mut state = log.lock();
        if let Some(place) = state.readers.get_mut(*place) {
            *place = None;
        }
        state.forget(&log.keeping);
        let alone = state.cancel_on_detach && state.readers.iter().all(Option::is_none);
        drop(state);
        if alone {
            log.cancel();
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let run = match &self.from {
            From::Live { log, .. } => log.run(),
            From::Archived { run, .. } => *run,
        };
        f.debug_struct("Reader").field("run", &run).finish_non_exhaustive()
    }
}
