//! From a folder to a database that can be used: locked, checked, of the newest format, and recovered.
//!
//! Promises: one process at a time; a file that is not ours, or newer than we are, is left as it is; afterwards every
//! run that it holds has its outcome.
//! Costs: recovery writes one event for every run that had none; it looks at no other run.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rookery_core::{Code, Durability, Event, Failure, Item, Outcome, Spent};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::{OpenError, ReadError, WriteError};
use crate::rows;
use crate::rows::End;

/// A database that is ours alone until the lock is dropped.
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
    make(folder).map_err(|error| OpenError::Folder { path: folder.into(), error })?;
    let lock = lock(folder)?;
    let path = folder.join("runs.db");
    let mut connection = prepare(&path, durability)?;
    let recovered = recover(&mut connection).map_err(|error| refused(&path, error))?;
    let next = next(&connection).map_err(|error| refused(&path, error))?;
    Ok(Opened { connection, path, lock, next, recovered })
}

/// Reads in the runs of a folder, whoever uses it; where there are none, the answer is the default.
pub(crate) fn look<T: Default>(
    folder: &Path,
    read: impl FnOnce(&Connection) -> Result<T, ReadError>,
) -> Result<T, OpenError> {
    let path = folder.join("runs.db");
    if !path.exists() {
        return Ok(T::default());
    }
    let connection = open_reader(&path).map_err(|error| refused(&path, error))?;
    if format(&connection, &path)? == 0 {
        return Ok(T::default());
    }
    read(&connection).map_err(|error| match error {
        ReadError::Database(error) => refused(&path, error),
        ReadError::Damaged(_) | ReadError::Column(_) => OpenError::NotRuns(path),
    })
}

/// Opens the same database once more, for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// How long a statement waits for another connection. There is one writer only, so nobody waits in ordinary times; a
/// person with a database shell may hold it for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says in the file's header whose it is: "Rook".
const APPLICATION: i64 = 0x526f_6f6b;

/// Each takes the database from the format of its place to the next; one that was released is never changed.
const MIGRATIONS: [&str; 3] =
    [include_str!("formats/1.sql"), include_str!("formats/2.sql"), include_str!("formats/3.sql")];

/// The log is copied into the database when it has so many pages of 4 KiB. The pages that running runs end in are in the
/// log over and over, and are copied once; at 16 MiB the copying is still a matter of some 10 ms.
const CHECKPOINT_PAGES: i64 = 4096;

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        // Prompts and answers are nobody else's business.
        builder.mode(0o700);
    }
    builder.create(folder)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("runs.lock");
    // Left behind on purpose: who removed it could remove the one that another process has just locked.
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| OpenError::Folder { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.into())),
        Err(TryLockError::Error(error)) => Err(OpenError::Folder { path, error }),
    }
}

fn prepare(path: &Path, durability: Durability) -> Result<Connection, OpenError> {
    let refused = |error| refused(path, error);
    let mut connection = Connection::open(path).map_err(refused)?;
    connection.busy_timeout(PATIENCE).map_err(refused)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Before anything is written: a file that is not ours is left as it is.
    let format = format(&connection, path)?;
    settle(&connection, durability).map_err(refused)?;
    migrate(&mut connection, format).map_err(refused)?;
    Ok(connection)
}

/// The format of a database that is ours; 0 where it is empty.
fn format(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let refused = |error| refused(path, error);
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(refused)?;
    let application = number("application_id").map_err(refused)?;
    let found = number("user_version").map_err(refused)?;
    if objects == 0 && application == 0 && found == 0 {
        return Ok(0);
    }
    if application != APPLICATION {
        return Err(OpenError::NotRuns(path.into()));
    }
    match usize::try_from(found) {
        Ok(format) if format <= MIGRATIONS.len() => Ok(format),
        _ => Err(OpenError::Newer { path: path.into(), found, known: MIGRATIONS.len() as i64 }),
    }
}

fn settle(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    // The first one only works before the first table.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", durability.synchronous())?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -16 * 1024)
}

fn migrate(connection: &mut Connection, from: usize) -> rusqlite::Result<()> {
    for (format, migration) in MIGRATIONS.iter().enumerate().skip(from) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", format as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// A number that no run has, and no event that outlived its run.
fn next(connection: &Connection) -> rusqlite::Result<i64> {
    let last =
        "SELECT max(coalesce((SELECT max(no) FROM runs), 0), coalesce((SELECT max(run) FROM events), 0))";
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

fn refused(path: &Path, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotRuns(path.into()),
        _ => OpenError::Database { path: path.into(), error },
    }
}
