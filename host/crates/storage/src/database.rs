//! An agent's database, opened: checked, guarded and within bounds.
//!
//! Promises: what is opened is this agent's, of a format that is known, and nothing in its schema acts in the host's name;
//! a new file is whole from its first moment on.
//! Bounded by: `max_page_count` for the file, 2 MiB of cached pages and [`CACHED`] prepared statements for the connection.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use rookery_core::{AgentId, Durability};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use crate::error::{FileError, StorageError};
use crate::watch::Watch;
use crate::{functions, names, patterns, schema};

/// A connection to what an agent keeps.
pub(crate) struct Database {
    pub(crate) connection: Connection,
    pub(crate) watch: Watch,
    agent: AgentId,
    /// How many pages the file may have.
    pages: i64,
    /// Whether the log is to be begun without waiting for the disk.
    unbegun: Cell<bool>,
}

/// Statements of the host bear this, and those of guests may not: they are cached together, and what was prepared for the
/// host is not asked about again.
pub(crate) const HOSTS: &str = "/*rookery*/";

/// How many statements are kept prepared.
const CACHED: usize = 32;

/// A guest's statement may overshoot the limit by so many pages before SQLite stops it: then it is the host that undoes
/// the statement, and not SQLite that undoes the whole transaction. Enough for a row of 2 MiB in some indexes.
const HEADROOM: i64 = 4096;

impl Database {
    /// Opens the file of an agent.
    pub(crate) fn open(
        path: &Path,
        agent: &AgentId,
        durability: Durability,
        limit: u64,
    ) -> Result<Self, FileError> {
        let failed = |error| failed(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rookery_sqlite::open_with_flags(path, flags).map_err(failed)?;
        let database = Self::prepare(connection, agent, durability, limit).map_err(failed)?;
        let found = schema::identify(&database.connection, path)?;
        if &found != agent {
            return Err(FileError::NotOurs { path: path.into(), reason: format!("it is agent `{found}`'s") });
        }
        Ok(database)
    }

    /// What an agent has that has no file: everything that a file would have, and nothing in it.
    pub(crate) fn blank(agent: &AgentId) -> rusqlite::Result<Self> {
        let database = Self::prepare(rookery_sqlite::open_in_memory()?, agent, Durability::Normal, u64::MAX)?;
        schema::fill(&database.connection, agent)?;
        Ok(database)
    }

    fn prepare(
        mut connection: Connection,
        agent: &AgentId,
        durability: Durability,
        limit: u64,
    ) -> rusqlite::Result<Self> {
        distrust(&connection)?;
        functions::replace(&connection)?;
        patterns::replace(&connection)?;
        let synchronous = durability.synchronous();
        // Sorting and undoing happen in memory, where it is counted: temporary files could fill the disk within a
        // statement's two seconds, and would leave an agent's data in a folder that is not the host's.
        connection.execute_batch(&format!(
            "PRAGMA temp_store = MEMORY; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -2048; \
             PRAGMA journal_size_limit = 16777216"
        ))?;
        connection.set_prepared_statement_cache_capacity(CACHED);
        let page: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0))?;
        let pages = i64::try_from(limit).unwrap_or(i64::MAX) / page.max(512);
        let pages = pages.clamp(1, i64::from(u32::MAX) - 1 - HEADROOM);
        let watch = Watch::over(&mut connection)?;
        let unbegun = Cell::new(durability == Durability::Normal);
        let database = Self { connection, watch, agent: agent.clone(), pages, unbegun };
        database.bound_file(0)?;
        Ok(database)
    }

    /// Runs a statement of the host that needs nothing and finds nothing.
    pub(crate) fn run(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute(()).map(drop)
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) -> rusqlite::Result<()> {
        if self.unbegun.replace(false) && self.has_no_log() {
            self.begin_log()?;
        }
        // At once and not at the first write: nobody else writes, so it is as cheap, and it cannot fail later on.
        self.run("BEGIN IMMEDIATE /*rookery*/")
    }

    /// Writes the beginning of a new log without waiting for the disk. SQLite would wait, lest what is left in a log that
    /// it begins anew be taken for what follows; in a file that is new there is nothing left
    /// (<https://sqlite.org/src/info/ff5be73dee>). It is 7 of 8 ms on a common disk.
    fn begin_log(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA synchronous = OFF")?;
        // It is this already; but unlike a row, SQLite writes it all the same.
        let begun = self.connection.pragma_update(None, "application_id", schema::APPLICATION);
        let synchronous = Durability::Normal.synchronous();
        self.connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}"))?;
        begun
    }

    fn has_no_log(&self) -> bool {
        let log = self.connection.path().map(|path| names::beside(Path::new(path), "-wal"));
        log.is_some_and(|log| fs::metadata(log).map_or(true, |log| log.len() == 0))
    }

    /// Lets `write` use more than the limit, and then says whether it did.
    pub(crate) fn within_limit<T, E: From<StorageError>>(
        &self,
        write: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let pages = |database: &Self| database.page_count().map_err(|error| database.unusable(&error));
        let before = pages(self)?;
        let near = before + HEADROOM > self.pages;
        if near {
            self.bound_file(HEADROOM).map_err(|error| self.unusable(&error))?;
        }
        let result = write();
        if near {
            self.bound_file(0).map_err(|error| self.unusable(&error))?;
        }
        let written = result?;
        // Where the limit was lowered since, what shrinks or stays is still welcome.
        if pages(self)? > self.pages.max(before) { Err(StorageError::Full.into()) } else { Ok(written) }
    }

    /// Lets `write` use more than the limit: what the host has to write of its own.
    pub(crate) fn beyond_limit<T>(&self, write: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.bound_file(HEADROOM)?;
        let result = write();
        self.bound_file(0)?;
        result
    }

    /// Logs why the file cannot be used, and says to the guest that it cannot.
    pub(crate) fn unusable(&self, error: &dyn std::fmt::Display) -> StorageError {
        unusable(&self.agent, error)
    }

    /// What a failure of one of the host's own statements is to the guest.
    pub(crate) fn failure(&self, error: &rusqlite::Error) -> StorageError {
        failure(&self.agent, error)
    }

    /// Writes everything into the one file and lets go of it. Where somebody copies it, that one does, who lets go of it last.
    pub(crate) fn let_go_at_once(self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        self.let_go()
    }

    /// Gives pages back to the disk that are not used any more, at most so many; says whether it gave some. Below a
    /// quarter of all, what is not used is used again before long, and moving pages costs writes.
    pub(crate) fn give_back(&self, most: i64) -> rusqlite::Result<bool> {
        let number = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let (free, all) = (number("freelist_count")?, number("page_count")?);
        if free <= SPARE_PAGES || free * 4 <= all {
            return Ok(false);
        }
        self.connection.pragma(None, "incremental_vacuum", free.min(most), |_| Ok(()))?;
        Ok(number("page_count")? < all)
    }

    /// Writes everything into the one file and lets go of it, after who copies it, if that does not take long.
    pub(crate) fn let_go(self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
        self.connection.close().map_err(|(_, error)| error)
    }

    fn page_count(&self) -> rusqlite::Result<i64> {
        self.connection.prepare_cached("PRAGMA page_count /*rookery*/")?.query_row((), |row| row.get(0))
    }

    fn bound_file(&self, beyond: i64) -> rusqlite::Result<()> {
        let statement = format!("PRAGMA max_page_count = {} {HOSTS}", self.pages + beyond);
        self.connection.prepare_cached(&statement)?.query_row((), |_| Ok(()))
    }
}

/// Free pages are given back to the disk when they are more than so many, and a quarter of all.
const SPARE_PAGES: i64 = 256;

/// Makes the file of an agent that has none: whole, or not at all.
pub(crate) fn create(path: &Path, agent: &AgentId, durability: Durability) -> Result<(), FileError> {
    let image = schema::image(agent).map_err(|error| failed(path, error))?;
    let folder = names::folder(path);
    let part = names::beside(path, ".part");
    let write = || -> io::Result<()> {
        forget(path)?;
        let mut file = first_file(&part)?;
        file.write_all(&image)?;
        if durability == Durability::Full {
            file.sync_all()?;
        }
        fs::rename(&part, path)?;
        if durability == Durability::Full { sync(folder) } else { Ok(()) }
    };
    // Nothing waits for the disk where only the process's death is to be survived: when the machine dies before the disk
    // has the file, then what is gone is an agent's first moments.
    write().map_err(|error| {
        // What is half written takes room, and there may be none.
        let _ = fs::remove_file(&part);
        FileError::Io { path: path.into(), error }
    })
}

/// Removes what is left beside a file that is no more. SQLite would take it for the new file's.
pub(crate) fn forget(path: &Path) -> io::Result<()> {
    for companion in names::companions(path) {
        match fs::remove_file(companion) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a folder that nobody else can look into, where there is none.
pub(crate) fn private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// An empty file that nobody else can look into, and its folder where there is none. From now on the folder stays.
pub(crate) fn first_file(path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        let made = private(names::folder(path)).and_then(|()| private_file(path));
        let gone = |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists);
        match made {
            // The last agent in it was removed, and the folder with it, just when it was found to be there or after.
            Err(error) if gone(error.kind()) && tries < REMOVED => tries += 1,
            made => return made,
        }
    }
}

/// So many agents of a plugin are not removed, each as the last one, while a single file is made.
const REMOVED: usize = 100;

/// Removes a folder that nothing is in. The system does both at once, so that no file is lost that is just being made.
pub(crate) fn remove_empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// An empty file that nobody else can look into.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Waits until the disk knows which files a folder has.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    let _ = folder;
    Ok(())
}

/// Has SQLite take nothing that it finds in the file for harmless, and sets its bounds. Before anything is read.
pub(crate) fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
        // "name" is a column and never, where there is no such column, a text.
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        connection.set_db_config(config, on)?;
    }
    for (limit, most) in LIMITS {
        connection.set_limit(limit, most)?;
    }
    connection.execute_batch("PRAGMA cell_size_check = ON")
}

/// A row is at most 2 MiB and its small columns.
pub(crate) const ROW: usize = (2 << 20) + (64 << 10);

const LIMITS: [(Limit, i32); 12] = [
    (Limit::SQLITE_LIMIT_LENGTH, ROW as i32),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, crate::sql::STATEMENT as i32 + HOSTS.len() as i32),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, crate::sql::PARAMETERS as i32),
    (Limit::SQLITE_LIMIT_COLUMN, 500),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    // As it was in SQLite for twenty years. A function's arguments are read in one step: a thousand paths into a JSON of 2 MiB
    // took two seconds.
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 127),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 200),
    (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 50),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    (Limit::SQLITE_LIMIT_SCHEMA, 1000),
];

/// What stands for everything that is not the guest's to know.
pub(crate) fn unusable(agent: &AgentId, error: &dyn std::fmt::Display) -> StorageError {
    tracing::error!(%agent, %error, "what the agent keeps cannot be used");
    StorageError::Unavailable(
        "what the agent keeps cannot be read or written now; the host's log says why".into(),
    )
}

/// What a failure of one of the host's own statements is to the guest.
pub(crate) fn failure(agent: &AgentId, error: &rusqlite::Error) -> StorageError {
    if is_full(error) { StorageError::Full } else { unusable(agent, error) }
}

/// Whether there was no room: the agent's own, or the disk's.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    // The index of the log is a file too, and SQLite has another word for it where that one finds no room.
    let shared = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == shared)
}

pub(crate) fn failed(path: &Path, error: rusqlite::Error) -> FileError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            FileError::NotOurs { path: path.into(), reason: "it is not a database".into() }
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            FileError::NotOurs { path: path.into(), reason: format!("it is damaged ({error})") }
        }
        _ => FileError::Database { path: path.into(), error },
    }
}

/// The image of a database as bytes.
pub(crate) fn bytes(connection: &mut Connection) -> rusqlite::Result<Vec<u8>> {
    connection.serialize(MAIN_DB).map(|image| image.to_vec())
}
