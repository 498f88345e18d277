//! From a folder to a database that can be used: locked, checked, of the newest format.
//!
//! Promises: one process at a time writes; a file that is not ours, or newer than we are, is left as it is; looking makes
//! nothing.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rookery_core::Durability;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::OpenError;

/// A database that is ours alone until the lock is dropped.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) lock: File,
}

/// Opens the usage of a folder for writing; makes it where there is none.
pub(crate) fn open(folder: &Path, durability: Durability) -> Result<Opened, OpenError> {
    make(folder).map_err(|error| OpenError::Folder { path: folder.into(), error })?;
    let lock = lock(folder)?;
    let path = file(folder);
    let connection = prepare(&path, durability)?;
    Ok(Opened { connection, path, lock })
}

/// Opens the usage of a folder for reading, whoever uses it; none where there is none yet.
pub(crate) fn look(folder: &Path) -> Result<Option<(Connection, PathBuf)>, OpenError> {
    let path = file(folder);
    if !path.exists() {
        return Ok(None);
    }
    let connection = reader(&path)?;
    Ok((format(&connection, &path)? > 0).then_some((connection, path)))
}

/// Opens the same database once more, for reading.
pub(crate) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(PATIENCE).map(|()| connection));
    opened.map_err(|error| OpenError::of(path, error))
}

/// How long a statement waits for another connection. There is one writer only, so nobody waits in ordinary times; a
/// person with a database shell may hold it for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says in the file's header whose it is: "Rous".
const APPLICATION: i64 = 0x526f_7573;

/// Each takes the database from the format of its place to the next; one that was released is never changed.
const MIGRATIONS: [&str; 1] = [include_str!("formats/1.sql")];

fn file(folder: &Path) -> PathBuf {
    folder.join("usage.db")
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        // Who asks which model how much is nobody else's business.
        builder.mode(0o700);
    }
    builder.create(folder)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("usage.lock");
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
    let refused = |error| OpenError::of(path, error);
    let mut connection = Connection::open(path).map_err(refused)?;
    connection.busy_timeout(PATIENCE).map_err(refused)?;
    // Before anything is written: a file that is not ours is left as it is.
    let format = format(&connection, path)?;
    settle(&connection, durability).map_err(refused)?;
    migrate(&mut connection, format).map_err(refused)?;
    Ok(connection)
}

/// The format of a database that is ours; 0 where it is empty.
fn format(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let refused = |error| OpenError::of(path, error);
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(refused)?;
    let application = number("application_id").map_err(refused)?;
    let found = number("user_version").map_err(refused)?;
    if objects == 0 && application == 0 && found == 0 {
        return Ok(0);
    }
    if application != APPLICATION {
        return Err(OpenError::NotUsage(path.into()));
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
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))
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
