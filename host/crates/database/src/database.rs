//! Which database it is, and the ways to open it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rookery_core::Durability;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::OpenError;

/// Which database it is: where in a folder it lives, how a file is known for it, and how it came to be as it is.
pub struct Database {
    /// What it holds, in one word: `runs` are in `runs.db`, locked by `runs.lock`.
    pub holds: &'static str,
    /// Says in the file's header whose it is: four letters, and no other database has the same.
    pub application: i64,
    /// How many bytes a page has, in a file that is made: a power of two from 512 to 65,536.
    pub page: u32,
    /// Each takes the database from the format of its place to the next; one that was released is never changed.
    pub migrations: &'static [&'static str],
    /// Sets up the connection that writes, beyond what holds for all: bounds on its log, on its cache. Nothing is
    /// migrated yet.
    pub tune: fn(&Connection) -> rusqlite::Result<()>,
    /// What comes of it where a person moves the file away.
    pub anew: &'static str,
}

/// A database that is ours alone until the lock is dropped.
pub struct Opened {
    /// The one that writes.
    pub connection: Connection,
    /// The file, to open [readers](reader) of.
    pub path: PathBuf,
    /// To be dropped after the connection: who gets it finds everything written.
    pub lock: File,
}

/// Opens a database once more, for reading.
///
/// # Errors
///
/// What SQLite says; [`Database::refused`] says it to a person.
pub fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rookery_sqlite::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// How long a statement waits for another connection. There is one writer only, so nobody waits in ordinary times; a
/// person with a database shell may hold it for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

impl Database {
    /// Opens the one of a folder for writing; makes both where they are missing. Blocks.
    ///
    /// # Errors
    ///
    /// When somebody else writes, or what is there cannot be used. A file that was there is as it was then, or in a later
    /// format whose successor could not be reached.
    pub fn open(&self, folder: &Path, durability: Durability) -> Result<Opened, OpenError> {
        make(folder).map_err(|error| OpenError::Folder { path: folder.into(), error })?;
        let lock = self.lock(folder)?;
        let path = self.file(folder);
        let connection = self.prepare(&path, durability)?;
        Ok(Opened { connection, path, lock })
    }

    /// Opens the one of a folder for reading, whoever uses it; none where there is none yet. Changes nothing there. Blocks.
    ///
    /// # Errors
    ///
    /// When what is there cannot be read.
    pub fn look(&self, folder: &Path) -> Result<Option<(Connection, PathBuf)>, OpenError> {
        let path = self.file(folder);
        if !path.exists() {
            return Ok(None);
        }
        let connection = reader(&path).map_err(|error| self.refused(&path, error))?;
        Ok((self.format(&connection, &path)? > 0).then_some((connection, path)))
    }

    /// What SQLite says of this file, to a person.
    pub fn refused(&self, path: &Path, error: rusqlite::Error) -> OpenError {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => self.not_ours(path),
            _ => OpenError::Database { path: path.into(), error },
        }
    }

    /// This file is something else, or damaged beyond reading.
    pub fn not_ours(&self, path: &Path) -> OpenError {
        OpenError::NotOurs { path: path.into(), holds: self.holds, anew: self.anew }
    }

    fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.db", self.holds))
    }

    fn lock(&self, folder: &Path) -> Result<File, OpenError> {
        let path = folder.join(format!("{}.lock", self.holds));
        // Left behind on purpose: who removed it could remove the one that another process has just locked.
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| OpenError::Folder { path: path.clone(), error })?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.into())),
            Err(TryLockError::Error(error)) => Err(OpenError::Folder { path, error }),
        }
    }

    fn prepare(&self, path: &Path, durability: Durability) -> Result<Connection, OpenError> {
        let refused = |error| self.refused(path, error);
        let mut connection = rookery_sqlite::open(path).map_err(refused)?;
        connection.busy_timeout(PATIENCE).map_err(refused)?;
        // Before anything is written: a file that is not ours is left as it is.
        let format = self.format(&connection, path)?;
        self.settle(&connection, durability).map_err(refused)?;
        (self.tune)(&connection).map_err(refused)?;
        self.migrate(&mut connection, path, format).map_err(refused)?;
        Ok(connection)
    }

    /// The format of a database that is ours; 0 where it is empty.
    fn format(&self, connection: &Connection, path: &Path) -> Result<usize, OpenError> {
        let refused = |error| self.refused(path, error);
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let objects: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
            .map_err(refused)?;
        let application = number("application_id").map_err(refused)?;
        let found = number("user_version").map_err(refused)?;
        if objects == 0 && application == 0 && found == 0 {
            return Ok(0);
        }
        if application != self.application {
            return Err(self.not_ours(path));
        }
        match usize::try_from(found) {
            Ok(format) if format <= self.migrations.len() => Ok(format),
            _ => Err(OpenError::Newer { path: path.into(), found, known: self.migrations.len() as i64 }),
        }
    }

    fn settle(&self, connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
        // The first two only work before the first table.
        connection.pragma_update(None, "page_size", self.page)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", durability.synchronous())
    }

    fn migrate(&self, connection: &mut Connection, path: &Path, from: usize) -> rusqlite::Result<()> {
        if (1..self.migrations.len()).contains(&from) {
            let (path, to) = (path.display(), self.migrations.len());
            tracing::info!(%path, from, to, "brings a database to a new format; a large one takes a moment");
        }
        for (format, migration) in self.migrations.iter().enumerate().skip(from) {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", self.application)?;
            transaction.pragma_update(None, "user_version", format as i64 + 1)?;
            transaction.commit()?;
        }
        Ok(())
    }
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        // Who asks which agent what, and what it answers, is nobody else's business.
        builder.mode(0o700);
    }
    builder.create(folder)
}
