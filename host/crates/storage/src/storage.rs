//! What one agent keeps: one transaction after another, on a file that is opened when it is first needed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rookery_core::{AgentId, Durability};

use crate::database::{self, Database};
use crate::error::{FileError, SqlError, StorageError};
use crate::index::Index;
use crate::transaction::{Redo, Transaction, Write};
use crate::watch::Means;
use crate::{alarms, keys, sql};

/// What one agent keeps. Whoever has it is the only one who writes.
///
/// Nothing is opened until something is asked for, and no file is made until something is written. Dropping it undoes
/// what was not committed, and waits for the disk as [`close`](Storage::close) does, which also says if that failed.
pub struct Storage {
    agent: AgentId,
    path: PathBuf,
    durability: Durability,
    limit: u64,
    /// What a statement of the guest may take.
    pub(crate) means: Means,
    open: Open,
    transaction: Transaction,
    pub(crate) index: Arc<Index>,
    /// When the first of the alarms rings that were set since the last commit.
    rings: Option<u64>,
    /// Whether something was asked for since the last [`rest`](Storage::rest).
    used: bool,
}

enum Open {
    Not,
    /// The agent has no file: this is what it would read from an empty one.
    Blank(Database),
    File(Database),
}

/// How many pages are given back to the disk at once, since somebody may wait: 4 MiB, which took at most 50 ms where two
/// thirds of a GiB were to be given back from everywhere in the file.
const GIVEN_AT_ONCE: i64 = 1024;

/// What everything is answered between the loss of a transaction and its end.
const LOST: &str = "what was written since the last commit had to be undone with a statement that failed";

impl Storage {
    pub(crate) fn new(
        agent: AgentId,
        path: PathBuf,
        durability: Durability,
        limit: u64,
        index: Arc<Index>,
    ) -> Self {
        let (open, transaction) = (Open::Not, Transaction::None);
        let (rings, used) = (None, false);
        Self { agent, path, durability, limit, means: sql::MEANS, open, transaction, index, rings, used }
    }

    /// Keeps what was written since the last time, all of it or nothing. Costs nothing where nothing was written.
    ///
    /// # Errors
    ///
    /// [`SqlError::Constraint`] where one that is deferred does not hold, or any of [`StorageError`]. Nothing of what was
    /// written since the last time is kept then, and the next write begins anew.
    pub fn commit(&mut self) -> Result<(), SqlError> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::None => return Ok(()),
            Transaction::Lost => return Err(StorageError::Unavailable(LOST.into()).into()),
            Transaction::Open(_) => {}
        }
        let Open::File(database) = &self.open else { return Ok(()) };
        let rings = self.rings.take();
        let committed =
            rings.map_or(Ok(()), |at| self.index.lower(&self.agent, at)).map_err(SqlError::Storage);
        let run = || database.run("COMMIT /*rookery*/").map_err(|error| sql::failure(database, error));
        committed.and_then(|()| run()).inspect_err(|_| undo_all(database))?;
        if let Some(at) = rings {
            self.index.tell(&self.agent, at);
        }
        Ok(())
    }

    /// Undoes what was written since the last commit.
    pub fn rollback(&mut self) {
        if let (Transaction::Open(_), Open::File(database)) = (&self.transaction, &self.open) {
            undo_all(database);
        }
        self.transaction = Transaction::None;
        self.rings = None;
    }

    pub(crate) fn agent(&self) -> &AgentId {
        &self.agent
    }

    pub(crate) fn in_transaction(&self) -> bool {
        !matches!(self.transaction, Transaction::None)
    }

    /// An alarm was set that rings at this time.
    pub(crate) fn note_alarm(&mut self, rings: Option<u64>) {
        self.rings = self.rings.into_iter().chain(rings).min();
    }

    /// Whether there is a file that is to be closed.
    pub fn is_open(&self) -> bool {
        matches!(self.open, Open::File(_))
    }

    /// Undoes what was not committed, puts everything into the one file, and lets go of it. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] or [`StorageError::Unavailable`]. What was committed is still there, in two files.
    pub fn close(&mut self) -> Result<(), StorageError> {
        while self.close_step()? {}
        Ok(())
    }

    /// A step of [`close`](Storage::close), for who closes many and has none wait for what another has to give back to the
    /// disk. Says whether there is more to do, by calling it again.
    ///
    /// # Errors
    ///
    /// As for [`close`](Storage::close). It is closed then.
    pub fn close_step(&mut self) -> Result<bool, StorageError> {
        self.rollback();
        self.step(Database::let_go)
    }

    /// Closes what nothing has used since this was called the last time, unless something was written that is not committed;
    /// what is asked for next opens it again. Says whether more is to be done, by calling it again at once: that way nobody
    /// who wants the storage meanwhile waits for longer than for a commit. It does not wait for who copies the file.
    ///
    /// # Errors
    ///
    /// As for [`close`](Storage::close). It is closed then.
    pub fn rest(&mut self) -> Result<bool, StorageError> {
        if std::mem::take(&mut self.used) || self.in_transaction() {
            return Ok(false);
        }
        self.step(Database::let_go_at_once)
    }

    /// Gives something back to the disk, or lets go where there is nothing to give. Says whether there may be more to do.
    fn step(&mut self, let_go: impl FnOnce(Database) -> rusqlite::Result<()>) -> Result<bool, StorageError> {
        if let Open::File(database) = &self.open
            && database.give_back(GIVEN_AT_ONCE).unwrap_or(false)
        {
            return Ok(true);
        }
        match std::mem::replace(&mut self.open, Open::Not) {
            Open::File(database) => {
                let_go(database).map_err(|error| database::unusable(&self.agent, &error))?
            }
            Open::Not | Open::Blank(_) => {}
        }
        Ok(false)
    }

    /// What is there, for reading.
    pub(crate) fn reading(&mut self) -> Result<&Database, StorageError> {
        self.used = true;
        if let Transaction::Lost = self.transaction {
            return Err(StorageError::Unavailable(LOST.into()));
        }
        if let Open::Not = self.open {
            self.open = if self.has_file() {
                Open::File(self.open_file()?)
            } else {
                let blank = Database::blank(&self.agent);
                Open::Blank(blank.map_err(|error| database::unusable(&self.agent, &error))?)
            };
        }
        match &self.open {
            Open::File(database) | Open::Blank(database) => Ok(database),
            Open::Not => Err(database::unusable(&self.agent, &"it was opened and is not open")),
        }
    }

    /// Reads something, as a guest's statement does. SQLite undoes the transaction even where one that only reads is refused
    /// memory.
    pub(crate) fn read<T>(
        &mut self,
        read: impl FnOnce(&Database) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let found = read(self.reading()?);
        if found.is_err() && self.in_transaction() {
            self.undo(false, false);
        }
        found
    }

    /// Changes something: all that `write` does or nothing, whatever becomes of the transaction later. `several` is whether
    /// it takes more than one statement of a kind that SQLite undoes by itself.
    pub(crate) fn change<T>(
        &mut self,
        several: bool,
        write: impl FnOnce(&Database) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let began = self.begin()?;
        let Open::File(database) = &self.open else {
            return Err(database::unusable(&self.agent, &"it was opened and is not open").into());
        };
        // What begins the transaction is undone with it.
        let fenced = several && !began;
        let fence = |statement| {
            let run = if fenced { database.run(statement) } else { Ok(()) };
            run.map_err(|error| sql::failure(database, error))
        };
        let written = fence("SAVEPOINT one /*rookery*/").and_then(|()| write(database));
        let written = written.and_then(|written| fence("RELEASE one /*rookery*/").map(|()| written));
        if written.is_err() {
            self.undo(began, fenced);
        }
        written
    }

    /// Remembers what was written, so that it can be written again.
    pub(crate) fn remember(&mut self, bytes: usize, time: Duration, write: impl FnOnce() -> Write) {
        if let Transaction::Open(redo) = &mut self.transaction {
            redo.remember(bytes, time, write);
        }
    }

    /// Whether there is a file to read from.
    pub(crate) fn has_file(&self) -> bool {
        match self.open {
            Open::File(_) => true,
            Open::Blank(_) => false,
            Open::Not => fs::metadata(&self.path).is_ok_and(|file| file.len() > 0),
        }
    }

    /// Begins a transaction if there is none; says whether it did.
    fn begin(&mut self) -> Result<bool, StorageError> {
        self.used = true;
        match self.transaction {
            Transaction::Open(_) => return Ok(false),
            Transaction::Lost => return Err(StorageError::Unavailable(LOST.into())),
            Transaction::None => {}
        }
        if !matches!(self.open, Open::File(_)) {
            if !self.has_file() {
                database::create(&self.path, &self.agent, self.durability)
                    .map_err(|error| self.unusable_file(&error))?;
            }
            self.open = Open::File(self.open_file()?);
        }
        let database = self.reading()?;
        database.begin().map_err(|error| database.failure(&error))?;
        self.transaction = Transaction::Open(Redo::new());
        Ok(true)
    }

    /// Undoes what a call did that failed.
    fn undo(&mut self, began: bool, fenced: bool) {
        let Open::File(database) = &self.open else { return };
        // SQLite has undone everything where a statement that writes is interrupted, or one of any kind finds no room.
        if database.connection.is_autocommit() {
            if !began {
                return self.redo();
            }
        } else if began {
            undo_all(database);
        } else if fenced {
            let undone = database.run("ROLLBACK TO one /*rookery*/");
            if undone.and_then(|()| database.run("RELEASE one /*rookery*/")).is_err() {
                undo_all(database);
                self.transaction = Transaction::Lost;
            }
        }
        if began {
            self.transaction = Transaction::None;
        }
    }

    /// Writes once more what stood before the call, or declares it lost.
    fn redo(&mut self) {
        let transaction = std::mem::replace(&mut self.transaction, Transaction::Lost);
        let (Open::File(database), Transaction::Open(redo)) = (&self.open, transaction) else { return };
        let Some(writes) = redo.writes() else { return };
        let mut again = Redo::new();
        let repeated = database.begin().is_ok()
            && writes.into_iter().all(|write| repeat(database, write, self.means, &mut again).is_some());
        if repeated {
            self.transaction = Transaction::Open(again);
        } else {
            undo_all(database);
        }
    }

    fn open_file(&self) -> Result<Database, StorageError> {
        Database::open(&self.path, &self.agent, self.durability, self.limit)
            .map_err(|error| self.unusable_file(&error))
    }

    fn unusable_file(&self, error: &FileError) -> StorageError {
        match error {
            FileError::Io { error, .. } if error.kind() == std::io::ErrorKind::StorageFull => {
                StorageError::Full
            }
            FileError::Database { error, .. } if database::is_full(error) => StorageError::Full,
            error => database::unusable(&self.agent, error),
        }
    }
}

/// None where it did not go as it did the first time.
fn repeat(database: &Database, write: Write, means: Means, again: &mut Redo) -> Option<()> {
    match &write {
        Write::Set { key, value } => {
            keys::set(database, key, value).ok()?;
            again.remember(key.len() + value.len(), Duration::ZERO, || write);
        }
        Write::Delete { key } => {
            keys::delete(database, key).ok()?;
            again.remember(key.len(), Duration::ZERO, || write);
        }
        Write::Alarm(pending) => {
            alarms::put_again(database, pending).ok()?;
            again.remember(alarms::size(pending), Duration::ZERO, || write);
        }
        Write::NoAlarm { name } => {
            alarms::remove(database, name).ok()?;
            again.remember(name.len(), Duration::ZERO, || write);
        }
        Write::Run { statement, parameters, changed } => {
            // Prepared afresh it is told what the statement and its triggers ask for.
            database.connection.flush_prepared_statement_cache();
            let ran = sql::run(database, statement, parameters, means).ok()?;
            if ran.findings.fickle || ran.changed != *changed {
                return None;
            }
            again.remember(sql::size(statement, parameters), ran.took, || write);
        }
    }
    Some(())
}

fn undo_all(database: &Database) {
    if database.connection.is_autocommit() {
        return;
    }
    if let Err(error) = database.run("ROLLBACK /*rookery*/") {
        // The next one who begins a transaction is told that it cannot be.
        tracing::error!(%error, "a transaction could not be undone");
    }
}
