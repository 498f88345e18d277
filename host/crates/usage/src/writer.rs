//! The one who writes: a thread that brings the table up to what was counted, many entries in one transaction.
//!
//! Promises: nothing is written twice, and nothing is forgotten that could be written later.
//! Bounded by: a transaction has [`TRANSACTION`] entries. While the disk fails, the oldest entries past [`MOST`] are given
//! up: they are missing in the table, and in what their agents have spent once those are idle.
//! Ends when: it is closed, after one try to write everything that was counted.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rookery_core::Spent;
use rookery_database::plain;
use rusqlite::{Connection, TransactionBehavior};
use tokio::time::Instant;

use crate::Clock;
use crate::counter::LARGEST;
use crate::day::Day;
use crate::entry::Entry;
use crate::queue::{MOST, Next, Queue};

/// Writes entries. Knows nothing of threads.
pub(crate) struct Writer {
    connection: Connection,
    /// It was said that the disk fails.
    failing: bool,
    /// So many entries were given up since then.
    lost: usize,
    /// Let go last: who gets it finds everything written.
    _lock: File,
}

/// What is old, and when it is looked for.
pub(crate) struct Sweeping {
    pub(crate) clock: Clock,
    pub(crate) keep_days: u32,
}

/// Some milliseconds of writing, in which readers find what was there before.
const TRANSACTION: usize = 4 * 1024;

/// A step of removing takes so many rows: a few milliseconds.
const STEP: usize = 1000;

/// Between two steps where there was nothing left to remove, and where there was.
const REST: Duration = Duration::from_secs(60 * 60);
const BREATH: Duration = Duration::from_millis(100);

/// Free pages that are given back to the disk in a step.
const PAGES: u32 = 256;

/// The life of the writer's thread.
pub(crate) fn run(writer: Writer, sweeping: &Sweeping, queue: &Queue) {
    let _end = End(queue);
    work(writer, sweeping, queue);
}

/// Also where something panics: nobody shall wait for ever.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

fn work(mut writer: Writer, sweeping: &Sweeping, queue: &Queue) {
    let mut sweep = Instant::now();
    loop {
        match queue.next(sweep) {
            (Next::Write(entries), asked) => {
                let (left, failed) = writer.write(entries);
                let lost = queue.wrote(asked, left, failed);
                if lost > 0 {
                    tracing::error!("the host ends, and {lost} entries of what models were asked are lost");
                }
            }
            (Next::Sweep, _) => {
                let more = writer.sweep_or_warn(Day::of((sweeping.clock)()), sweeping.keep_days);
                sweep = Instant::now() + if more { BREATH } else { REST };
            }
            (Next::Stop, _) => return,
        }
    }
}

impl Writer {
    pub(crate) fn new(connection: Connection, lock: File) -> Self {
        Self { connection, failing: false, lost: 0, _lock: lock }
    }

    /// Brings the table up to these entries. Gives back those that are to be tried again, and why.
    pub(crate) fn write(&mut self, mut entries: Vec<Arc<Entry>>) -> (Vec<Arc<Entry>>, Option<String>) {
        while !entries.is_empty() {
            let rest = entries.split_off(entries.len().min(TRANSACTION));
            let counted: Vec<_> = entries.iter().map(|entry| entry.take()).collect();
            if let Err(error) = self.commit(&entries, &counted) {
                entries.retain(|entry| entry.put_back());
                entries.extend(rest);
                let failed = self.failed(&error, &mut entries);
                return (entries, Some(failed));
            }
            entries = rest;
        }
        self.recovered();
        (Vec::new(), None)
    }

    /// All of them or none.
    fn commit(&mut self, entries: &[Arc<Entry>], counted: &[Spent]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut add = transaction.prepare_cached(ADD)?;
            for (entry, now) in entries.iter().zip(counted) {
                let [requests, input, output, micros] = difference(&entry.written(), now);
                let (day, model, most) = (entry.day.0, &*entry.model, LARGEST.cast_signed());
                let (plugin, name) = (entry.agent.plugin.as_str(), entry.agent.name.as_str());
                add.execute((day, plugin, name, model, requests, input, output, micros, most))?;
            }
        }
        transaction.commit()?;
        for (entry, counted) in entries.iter().zip(counted) {
            *entry.written() = *counted;
        }
        Ok(())
    }

    fn failed(&mut self, error: &rusqlite::Error, entries: &mut Vec<Arc<Entry>>) -> String {
        let cause = plain(error);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!("what models were asked cannot be written down, and is tried again: {cause}");
        }
        let spare = entries.len().saturating_sub(MOST);
        self.lost += spare;
        for entry in entries.drain(..spare) {
            // As if it were in the table, so that what is counted from now on is.
            *entry.written() = entry.take();
        }
        cause
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            let lost = std::mem::take(&mut self.lost);
            tracing::warn!(
                "what models were asked is written down again; entries that were given up: {lost}"
            );
        }
    }

    fn sweep_or_warn(&mut self, today: Day, keep_days: u32) -> bool {
        sweep(&mut self.connection, today, keep_days).unwrap_or_else(|error| {
            tracing::warn!(%error, "old usage could not be removed; the next step tries again");
            false
        })
    }
}

/// Adds to an entry of the table. A number that was corrected downwards is added as a negative one.
const ADD: &str = "\
INSERT INTO usage (day, plugin, agent, model, requests, input, output, micros) \
VALUES (?1, ?2, ?3, ?4, max(?5, 0), max(?6, 0), max(?7, 0), max(?8, 0)) ON CONFLICT DO UPDATE SET \
requests = max(0, min(requests + ?5, ?9)), input = max(0, min(input + ?6, ?9)), \
output = max(0, min(output + ?7, ?9)), micros = max(0, min(micros + ?8, ?9))";

fn difference(then: &Spent, now: &Spent) -> [i64; 4] {
    let numbers = |spent: &Spent| [spent.requests, spent.input_tokens, spent.output_tokens, spent.money.0];
    let (then, now) = (numbers(then), numbers(now));
    // Neither is above the largest number that is counted to, so both have a sign to spare.
    std::array::from_fn(|at| now[at].cast_signed() - then[at].cast_signed())
}

/// Removes a little of what is older than so many days; says whether there may be more to do.
pub(crate) fn sweep(connection: &mut Connection, today: Day, keep_days: u32) -> rusqlite::Result<bool> {
    let removed = connection.prepare_cached(REMOVE)?.execute((today.before(keep_days).0, STEP as i64))?;
    if removed > 0 {
        connection.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    }
    Ok(removed == STEP)
}

pub(crate) const REMOVE: &str = "\
DELETE FROM usage WHERE (day, plugin, agent, model) IN \
(SELECT day, plugin, agent, model FROM usage WHERE day < ? ORDER BY day, plugin, agent, model LIMIT ?)";
