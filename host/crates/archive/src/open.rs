//! From a folder to runs that can go on: their database, and in it an outcome for every run that was interrupted.
//!
//! Promise: afterwards every run that it holds has its outcome.
//! Costs: recovery writes one event for every run that had none; it looks at no other run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rookery_core::{Code, Durability, Event, Failure, Item, Outcome, Spent};
use rookery_database::{self as database, Database, OpenError};
use rusqlite::{Connection, TransactionBehavior};

use crate::error::{ReadError, WriteError};
use crate::rows;
use crate::rows::End;

/// Runs that are ours alone until the lock is dropped.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) lock: File,
    /// The number of the next run.
    pub(crate) next: i64,
    /// So many runs had no outcome and were given one.
    pub(crate) recovered: usize,
}

/// Opens the runs of a folder for writing; makes them where there are none.
pub(crate) fn open(folder: &Path, durability: Durability) -> Result<Opened, OpenError> {
    let mut opened = RUNS.open(folder, durability)?;
    let recovered = recover(&mut opened.connection).map_err(|error| RUNS.refused(&opened.path, error))?;
    let next = next(&opened.connection).map_err(|error| RUNS.refused(&opened.path, error))?;
    let database::Opened { connection, path, lock } = opened;
    Ok(Opened { connection, path, lock, next, recovered })
}

/// Reads in the runs of a folder, whoever uses it; where there are none, the answer is the default.
pub(crate) fn look<T: Default>(
    folder: &Path,
    read: impl FnOnce(&Connection) -> Result<T, ReadError>,
) -> Result<T, OpenError> {
    let Some((connection, path)) = RUNS.look(folder)? else { return Ok(T::default()) };
    read(&connection).map_err(|error| match error {
        ReadError::Database(error) => RUNS.refused(&path, error),
        ReadError::Damaged(_) | ReadError::Column(_) => RUNS.not_ours(&path),
    })
}

/// Which database the runs are kept in.
const RUNS: Database = Database {
    holds: "runs",
    // "Rook".
    application: 0x526f_6f6b,
    page: PAGE,
    migrations: &[
        include_str!("formats/1.sql"),
        include_str!("formats/2.sql"),
        include_str!("formats/3.sql"),
        include_str!("formats/4.sql"),
    ],
    tune,
    anew: "a new one is made then",
};

/// Every page is written to the log on its own, so that large ones are fewer writes: an answer of 64 words takes some 2 KiB,
/// of which a page of 4 KiB has one, and one of 8 KiB three. Larger ones cost a host with little to do more than they save.
const PAGE: u32 = 8192;

/// The log is copied into the database when it has so many bytes. The pages that running runs end in are in the log over and
/// over, and are copied once; at 16 MiB the copying is still a matter of some 10 ms.
const CHECKPOINT: i64 = 16 << 20;

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    // Of a file that was there already they may be smaller.
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT / page.max(512), |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -16 * 1024)
}

/// A number that no run has, and no event that outlived its run, and that was not entered.
fn next(connection: &Connection) -> rusqlite::Result<i64> {
    let last = "SELECT max(up_to, coalesce((SELECT max(no) FROM runs), 0), coalesce((SELECT max(run) FROM events), 0)) \
         FROM entered";
    connection.query_row(last, (), |row| row.get::<_, i64>(0)).map(|last| last + 1)
}

/// Ends every run that has no outcome, and says how many there were.
fn recover(connection: &mut Connection) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let unfinished = unfinished(&transaction)?;
    for (no, next) in &unfinished {
        match interrupt(&transaction, *no, *next) {
            Err(WriteError::Database(error)) => return Err(error),
            // The event is numbered right here, and it is the last.
            other => other.unwrap_or_default(),
        }
    }
    transaction.commit()?;
    Ok(unfinished.len())
}

/// How many numbers are left out before the outcome of a run that was interrupted while it ran. Clients may have seen
/// events that were not committed yet; the outcome must not bear the number of one of them, or who comes back with that
/// number has seen everything. A log is at most a MiB ahead of its archive, which is 8192 events.
const LOST: u64 = 16 * 1024;

/// The runs without an outcome, each with the number that it shall have. The directory's limits bound how many these are.
fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<(i64, u64)>> {
    let mut find = connection.prepare(
        "SELECT no, coalesce((SELECT last FROM events WHERE run = no AND first > 0 ORDER BY first DESC LIMIT 1), 0), \
         state = 'running' FROM runs INDEXED BY runs_live WHERE ended IS NULL",
    )?;
    let found = find.query_map((), |row| {
        let (last, ran) = (row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?);
        Ok((row.get(0)?, if ran { last + LOST } else { last + 1 }))
    })?;
    found.collect()
}

fn interrupt(to: &Connection, no: i64, number: u64) -> Result<(), WriteError> {
    let message = "the host stopped before the run ended; submit it again";
    let outcome = Outcome::Failed(Failure::new(Code::Interrupted, message));
    let event = Event { id: number, item: Item::Outcome(outcome.clone()) };
    rows::append(to, no, number, [&event], &mut Vec::new())?;
    // What it asked of models until then was known to the process that stopped.
    let end = End { at: SystemTime::now(), outcome: &outcome, events: number, spent: Spent::default() };
    rows::end(to, no, None, &end)?;
    Ok(())
}
