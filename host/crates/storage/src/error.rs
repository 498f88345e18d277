//! Why something was not done: to the guest by type and without a path, to the operator with everything.

use std::io;
use std::path::PathBuf;

use rookery_core::AgentId;

use crate::database::is_full;

/// Why storage did not do as it was told. The call has changed nothing; what was written before it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The agent has used up its storage, or the host's disk is full.
    #[error("the storage is full")]
    Full,
    /// A key, a value or what was asked for is out of bounds; the text says which bound.
    #[error("{0}")]
    OutOfBounds(String),
    /// The agent's file cannot be read or written; the log says why.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a statement did not do what it should. It has changed nothing; what was written before it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The statement is wrong, or this data does not fit the schema. The text is SQLite's.
    #[error("{0}")]
    Invalid(String),
    /// A constraint does not hold. The text is SQLite's.
    #[error("{0}")]
    Constraint(String),
    /// The statement asks for what is not allowed here; the text says what.
    #[error("{0}")]
    Denied(String),
    /// It took too long and was interrupted.
    #[error("the statement took too long")]
    TooSlow,
    /// As for keys.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why agents' files could not be opened, copied, listed or removed. All of these are for the person who runs the host.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is something already, and nothing is overwritten.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The agent keeps something already, and nothing is overwritten.
    #[error("agent `{0}` keeps something already")]
    Taken(AgentId),
    /// The agent keeps nothing.
    #[error("agent `{0}` keeps nothing")]
    Missing(AgentId),
    /// What is there is not what an agent keeps; the text says what is wrong with it.
    #[error("{path} does not hold what an agent keeps: {reason}")]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of the host wrote it.
    #[error("{path} was written by a newer rookery (its format is {found}, this one knows up to {known})")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// A folder or file cannot be made, read, written or removed.
    #[error("{path} cannot be used: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The database refuses for another reason.
    #[error("{path} cannot be used: {error}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database says.
        error: rusqlite::Error,
    },
}

impl FileError {
    /// Whether there was no room on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { error, .. } => error.kind() == io::ErrorKind::StorageFull,
            Self::Database { error, .. } => is_full(error),
            _ => false,
        }
    }

    /// What would mend it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exists(_) => "name a file that does not exist yet",
            Self::Taken(_) => "remove what it keeps first, or use another name",
            Self::Missing(_) => "look at the agent's name; an agent that has written nothing has no file",
            Self::NotOurs { .. } => "use a file that was exported from a rookery",
            Self::Newer { .. } => "use that version",
            Self::Io { .. } | Self::Database { .. } => "look at the disk and at who may write to it",
        }
    }
}

pub(crate) fn bound<T>(text: impl Into<String>) -> Result<T, StorageError> {
    Err(StorageError::OutOfBounds(text.into()))
}
