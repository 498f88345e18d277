//! An agent as one file: taken out, brought in, or as another agent's beginning.
//!
//! Promises: a copy is of one moment, whatever is written meanwhile, and the writer goes on; it appears whole or not at
//! all, and over nothing. What is brought in is one of ours, whole, and bears the new name.
//! Costs: an agent that writes while it is copied has a larger log until the copy is done.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rookery_core::AgentId;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::database::{self, failed, first_file, private_file, remove_empty, sync};
use crate::databases::Databases;
use crate::error::FileError;
use crate::{names, schema};

/// Pages that are copied at a time.
const STEP: i32 = 256;

impl Databases {
    /// Writes what the agent has committed into a file that does not exist yet. The agent may be in use.
    ///
    /// # Errors
    ///
    /// [`FileError::Exists`], [`FileError::Missing`], or what is wrong with the agent's file or the disk.
    pub fn export(&self, agent: &AgentId, to: &Path) -> Result<(), FileError> {
        let part = Part::beside(to)?;
        self.copy(agent, &part)?;
        part.finish(|| FileError::Exists(to.into()))
    }

    /// Makes a file that was exported what an agent keeps that has nothing yet.
    ///
    /// # Errors
    ///
    /// [`FileError::Taken`], or what is wrong with the file or the disk. Nothing has changed then.
    pub fn import(&self, agent: &AgentId, from: &Path) -> Result<(), FileError> {
        let part = self.place(agent)?;
        // A log beside it holds what is not in the file yet.
        if names::companions(from).iter().any(|file| fs::metadata(file).is_ok_and(|file| file.len() > 0)) {
            let reason = "it is in use or was not closed; export it instead".into();
            return Err(FileError::NotOurs { path: from.into(), reason });
        }
        let copied =
            fs::File::open(from).and_then(|mut file| io::copy(&mut file, &mut private_file(&part.path)?));
        copied.map_err(|error| FileError::Io { path: from.into(), error })?;
        // What is found wrong is wrong with what was brought in.
        self.settle(agent, &part, from)?;
        part.finish(|| FileError::Taken(agent.clone()))?;
        self.index(agent)
    }

    /// Makes what one agent has committed the beginning of another, that has nothing yet. The first may be in use.
    ///
    /// # Errors
    ///
    /// As for exporting and importing.
    pub fn fork(&self, from: &AgentId, to: &AgentId) -> Result<(), FileError> {
        let part = self.place(to)?;
        self.copy(from, &part)?;
        self.settle(to, &part, &self.file(from))?;
        part.finish(|| FileError::Taken(to.clone()))?;
        self.index(to)
    }

    /// Where something for an agent can be written that has nothing yet: an empty file.
    fn place(&self, agent: &AgentId) -> Result<Part, FileError> {
        let path = self.file(agent);
        if self.exists(agent) {
            return Err(FileError::Taken(agent.clone()));
        }
        let failed = |error| FileError::Io { path: path.clone(), error };
        database::forget(&path).and_then(|()| clear(&path)).map_err(failed)?;
        let mut part = Part::beside(&path)?;
        part.in_plugin = true;
        first_file(&part.path).map_err(failed)?;
        Ok(part)
    }

    fn copy(&self, agent: &AgentId, part: &Part) -> Result<(), FileError> {
        let path = self.file(agent);
        if !self.exists(agent) {
            return Err(FileError::Missing(agent.clone()));
        }
        private_file(&part.path).map_err(|error| FileError::Io { path: part.path.clone(), error })?;
        let from = open(&path)?;
        let mut to = open(&part.path)?;
        copy(&from, &mut to).map_err(|error| failed(&path, error))?;
        to.close().map_err(|(_, error)| failed(&part.path, error))?;
        // The last one to let go of a file tidies up beside it, and that is this one if the agent went meanwhile.
        from.close().map_err(|(_, error)| failed(&path, error))
    }

    /// Checks what was written and makes it this agent's. `origin` is what to name where it is found wrong.
    fn settle(&self, agent: &AgentId, part: &Part, origin: &Path) -> Result<(), FileError> {
        let failed = |error| failed(origin, error);
        let connection = open(&part.path)?;
        let sound: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
        if sound != "ok" {
            let reason = format!("it is damaged ({sound})");
            return Err(FileError::NotOurs { path: origin.into(), reason });
        }
        schema::identify(&connection, origin)?;
        schema::rename(&connection, agent).map_err(failed)?;
        connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
            .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())))
            .map_err(failed)?;
        connection.close().map_err(|(_, error)| failed(error))
    }
}

/// Removes a file that is empty: its making was cut off.
fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opened for writing though it is only read: so that the last one tidies up.
fn open(path: &Path) -> Result<Connection, FileError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rookery_sqlite::open_with_flags(path, flags).map_err(|error| failed(path, error))?;
    database::distrust(&connection).map_err(|error| failed(path, error))?;
    Ok(connection)
}

/// Copies what is committed now, however long it takes and whatever is committed in the meantime.
fn copy(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    from.execute_batch("BEGIN")?;
    // It is this read that fixes the moment.
    from.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    {
        let backup = Backup::new(from, to)?;
        while backup.step(STEP)? != StepResult::Done {}
    }
    from.execute_batch("COMMIT")
}

/// A file that is being written beside where it shall be, and is gone if it does not come to that.
struct Part {
    path: PathBuf,
    whole: PathBuf,
    /// Its folder is a plugin's, and goes too where it would be empty.
    in_plugin: bool,
}

impl Part {
    fn beside(whole: &Path) -> Result<Self, FileError> {
        if fs::symlink_metadata(whole).is_ok() {
            return Err(FileError::Exists(whole.into()));
        }
        Ok(Self { path: names::beside(whole, ".part"), whole: whole.into(), in_plugin: false })
    }

    /// Waits for the disk, and gives the file its name unless there is something of that name by now.
    fn finish(self, taken: impl FnOnce() -> FileError) -> Result<(), FileError> {
        let name = || -> io::Result<()> {
            fs::File::open(&self.path)?.sync_all()?;
            // Renaming would replace what is there, so the name is taken first.
            fs::File::create_new(&self.whole)?;
            fs::rename(&self.path, &self.whole)?;
            sync(names::folder(&self.whole))
        };
        name().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(),
            _ => FileError::Io { path: self.whole.clone(), error },
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has its name by now, or is worth nothing.
        for path in names::companions(&self.path).iter().chain([&self.path]) {
            let _ = fs::remove_file(path);
        }
        if self.in_plugin {
            let _ = remove_empty(names::folder(&self.path));
        }
    }
}
