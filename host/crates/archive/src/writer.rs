//! The one who writes: a thread that takes what logs have and commits it, many runs in one transaction.
//!
//! Promises: a source hears `committed` only of what is; one run that cannot be written takes no other with it; what a
//! run hands over continues its log, or is refused.
//! Bounded by: what the logs hold; a transaction is [`TRANSACTION`] bytes or one run's batch.
//! Ends when: it is closed, after everything that was queued, or all handles are gone.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rookery_agents::archive::{Accepted, Batch, Source};
use rookery_core::{Event, Item, Outcome, RunId};
use rusqlite::{Connection, TransactionBehavior};
use tokio::time::Instant;

use crate::error::WriteError;
use crate::queue::{Forget, Next, Pace, Queue};
use crate::retention::{self, Sweeper};
use crate::{agents, error, rows};

/// Writes batches. Knows nothing of threads.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    /// The runs that may still go on: accepted, and without an outcome. Bounded by the directory's limits.
    live: HashMap<RunId, Place>,
    /// The number of the next run that is accepted.
    next: i64,
    /// The runs before this one are [entered](agents::enter), or were to be.
    entered: i64,
    block: Vec<u8>,
    /// Let go last: who gets it finds everything written.
    _lock: File,
}

/// Where a run's log goes on.
#[derive(Clone, Copy)]
struct Place {
    no: i64,
    next: u64,
    ended: bool,
}

/// What a source handed over.
struct Taken {
    source: Arc<dyn Source>,
    run: RunId,
    batch: Batch,
    bytes: usize,
}

/// A transaction takes batches until they count so many bytes, and a larger batch is written alone, after the others:
/// at a slow disk's 100 MB/s nobody waits longer than some 40 ms for someone else's flood.
const TRANSACTION: usize = 4 << 20;

/// Where so many runs were written at once, many wait for a commit. Until as many have come again, each of them waits for
/// the others.
const CROWD: usize = 8;

/// But for so long at most. Most of what a commit costs is the same for one run as for a hundred, and a client does not see
/// two milliseconds. With one, a busy host fell below the crowd again and again, and committed twice as often.
const TOGETHER: Duration = Duration::from_millis(2);

/// The life of the writer's thread.
pub(crate) fn run(writer: Writer, sweeper: Sweeper, queue: &Queue, gather: Duration) {
    let _end = End(queue);
    work(writer, sweeper, queue, gather);
}

/// Also where something panics: nobody shall wait for ever.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.closed();
        self.0.refuse();
    }
}

fn work(mut writer: Writer, mut sweeper: Sweeper, queue: &Queue, gather: Duration) {
    let now = Instant::now();
    let mut pace = Pace { gathered: now, together: now, crowd: 0 };
    let mut sweep = now + sweeper.pause();
    loop {
        match queue.next(pace, sweep) {
            Next::Write(sources) => {
                let crowd = if sources.len() >= CROWD { sources.len() } else { 0 };
                writer.write(sources);
                writer.enter_many();
                let now = Instant::now();
                // Counted from here, not from the first source that comes: so the first one after a silence does not
                // wait at all, and in a storm there are no more commits than with a fixed wait.
                pace = Pace { gathered: now + gather, together: now + TOGETHER, crowd };
            }
            Next::Forget(forget) => {
                if let Some(unfinished) = writer.forget(forget) {
                    queue.forget_on(unfinished);
                }
            }
            Next::Sweep => {
                sweeper.step_or_warn(&mut writer.connection);
                sweep = Instant::now() + sweeper.pause();
            }
            Next::SweepAll => {
                while sweeper.step_or_warn(&mut writer.connection) {}
                queue.swept();
            }
            Next::Stop => return,
        }
    }
}

impl Writer {
    pub(crate) fn new(connection: Connection, lock: File, next: i64) -> Self {
        Self { connection, live: HashMap::new(), next, entered: next, block: Vec::new(), _lock: lock }
    }

    /// Takes what the sources have, writes it, and tells each of them how it went.
    pub(crate) fn write(&mut self, sources: Vec<Arc<dyn Source>>) {
        let taken = sources.into_iter().map(Taken::from).filter(|taken| !taken.is_empty());
        let (large, small): (Vec<_>, Vec<_>) = taken.partition(|taken| taken.bytes > TRANSACTION);
        let mut group = Vec::new();
        let mut bytes = 0;
        for taken in small {
            if bytes + taken.bytes > TRANSACTION {
                self.write_group(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += taken.bytes;
            group.push(taken);
        }
        self.write_group(group);
        for taken in large {
            self.write_group(vec![taken]);
        }
    }

    /// Enters what was written, where it has become much.
    pub(crate) fn enter_many(&mut self) {
        if self.next - self.entered < agents::MANY {
            return;
        }
        self.entered = self.next;
        let mut enter = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            agents::enter(&transaction)?;
            transaction.commit()
        };
        if let Err(error) = enter() {
            tracing::warn!(%error, "runs could not be entered under their agents; they are with the next ones");
        }
    }

    /// One step of removing an agent's runs; gives back what is not done.
    fn forget(&mut self, mut forget: Forget) -> Option<Forget> {
        let step = retention::forget(&mut self.connection, &forget.agent, |run| self.live.contains_key(run));
        match step {
            Ok((removed, more)) => {
                forget.removed += removed;
                if more {
                    return Some(forget);
                }
                forget.done(Ok(()));
            }
            Err(error) => {
                let error = error::unremoved(&forget.agent, &error);
                forget.done(Err(error));
            }
        }
        None
    }

    fn write_group(&mut self, group: Vec<Taken>) {
        match self.commit(&group) {
            Ok(places) => {
                for (Taken { source, run, batch, .. }, place) in group.into_iter().zip(places) {
                    // Before its readers hear of it: who reads the end frees the run then, on a thread where such memory is
                    // needed again.
                    drop(batch);
                    self.remember(run, place);
                    source.committed(place.next - 1);
                }
            }
            Err(error) => match <[Taken; 1]>::try_from(group) {
                // It was alone, so it is the one that cannot be written.
                Ok([Taken { source, run, .. }]) => {
                    self.live.remove(&run);
                    source.lost(&error.of(run));
                }
                Err(group) => group.into_iter().for_each(|taken| self.write_group(vec![taken])),
            },
        }
    }

    /// All of it or nothing. Says where each run goes on afterwards.
    fn commit(&mut self, group: &[Taken]) -> Result<Vec<Place>, WriteError> {
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let places = group
            .iter()
            .map(|taken| match &taken.batch.accepted {
                Some(accepted) => {
                    self.next += 1;
                    begin(&transaction, self.next - 1, taken, accepted, &mut self.block)
                }
                None => {
                    let place = self.live.get(&taken.run).copied();
                    go_on(&transaction, place.ok_or(WriteError::NotLive)?, taken, &mut self.block)
                }
            })
            .collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(places)
    }

    fn remember(&mut self, run: RunId, place: Place) {
        if place.ended {
            self.live.remove(&run);
        } else {
            self.live.insert(run, place);
        }
    }
}

/// Puts down a run that was accepted, and everything that is known of it: one row, if that is little.
fn begin(
    to: &Connection,
    no: i64,
    taken: &Taken,
    accepted: &Accepted,
    block: &mut Vec<u8>,
) -> Result<Place, WriteError> {
    let batch = &taken.batch;
    let whole = outcome(batch).is_some() && rows::are_few(&batch.events);
    let next = match whole {
        true => rows::encode(1, events(batch), block)?,
        false => rows::append(to, no, 1, events(batch), block)?,
    };
    let end = end(batch, next);
    let items = whole.then_some(block.as_slice());
    rows::insert(to, no, taken.run, accepted, batch.started, end.as_ref(), items)?;
    Ok(Place { no, next, ended: end.is_some() })
}

/// Puts down what is new of a run.
fn go_on(
    to: &Connection,
    Place { no, next, .. }: Place,
    taken: &Taken,
    block: &mut Vec<u8>,
) -> Result<Place, WriteError> {
    let batch = &taken.batch;
    let next = rows::append(to, no, next, events(batch), block)?;
    let end = end(batch, next);
    match (&end, batch.started) {
        (Some(end), started) => rows::end(to, no, started, end)?,
        (None, Some(started)) => rows::start(to, no, started)?,
        (None, None) => {}
    }
    Ok(Place { no, next, ended: end.is_some() })
}

fn events(batch: &Batch) -> impl Iterator<Item = &Event> {
    batch.events.iter().map(Arc::as_ref)
}

/// How the run ended, if it did, where the event after its last would be `next`.
fn end(batch: &Batch, next: u64) -> Option<rows::End<'_>> {
    let outcome = outcome(batch)?;
    let at = batch.ended.unwrap_or_else(SystemTime::now);
    Some(rows::End { at, outcome, events: next - 1, spent: batch.spent })
}

fn outcome(batch: &Batch) -> Option<&Outcome> {
    match &batch.events.last()?.item {
        Item::Outcome(outcome) => Some(outcome),
        Item::Chunk(_) => None,
    }
}

impl Taken {
    /// Nothing was handed over, so there is nothing to say.
    fn is_empty(&self) -> bool {
        let Batch { accepted, started, events, ended: _, spent: _ } = &self.batch;
        accepted.is_none() && started.is_none() && events.is_empty()
    }
}

impl From<Arc<dyn Source>> for Taken {
    fn from(source: Arc<dyn Source>) -> Self {
        let (run, batch) = (source.run(), source.take());
        let events: usize = batch.events.iter().map(|event| rows::size(event)).sum();
        let prompt = batch.accepted.as_ref().map(|accepted| &accepted.prompt);
        let prompt =
            prompt.map_or(0, |prompt| prompt.text.len() + prompt.body.as_ref().map_or(0, String::len));
        Self { source, run, batch, bytes: events + prompt }
    }
}
