//! Why the runs could not be opened, written or read: what it is, and what to do.

use std::io;
use std::path::PathBuf;

use rookery_agents::archive::ArchiveError;
use rookery_core::{AgentId, RunId};
use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;

/// Why the runs could not be opened. All of these are for the person who runs the host.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has it open.
    #[error("another rookery uses the data folder {0}")]
    InUse(PathBuf),
    /// The folder or a file in it cannot be made or used.
    #[error("the data folder {path} cannot be used: {error}")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The file is something else, or damaged beyond reading.
    #[error("{0} holds no runs: it is not a database of rookery")]
    NotRuns(PathBuf),
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
    /// The database refuses for another reason.
    #[error("{path} cannot be opened: {error}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database says.
        error: rusqlite::Error,
    },
}

impl OpenError {
    /// What would mend it.
    pub fn hint(&self) -> String {
        match self {
            Self::InUse(_) => "stop it, or give this one a folder of its own with --data".into(),
            Self::Folder { .. } => "name a folder that this user may write to with --data".into(),
            Self::NotRuns(_) => "move the file away; a new one is made then".into(),
            Self::Newer { .. } => "use that version, or move the file away; a new one is made then".into(),
            Self::Database { .. } => "look at the disk and at who may write to the file".into(),
        }
    }
}

/// Why a stored value is no value: a damaged file, or a defect of this crate.
#[derive(Debug, thiserror::Error)]
#[error("{0} is damaged")]
pub(crate) struct Damaged(pub(crate) &'static str);

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The batch does not go on where the run's log ends: a defect of the host.
    #[error("event {found} was handed over where event {expected} was due")]
    Gap { expected: u64, found: u64 },
    /// An outcome that is not the last event, or an event after it: a defect of the host.
    #[error("something was handed over after the outcome")]
    AfterOutcome,
    /// The run was never accepted, has its outcome, or was lost before.
    #[error("its log has ended")]
    NotLive,
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("a column is damaged: {0}")]
    Column(#[from] FromSqlError),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

impl WriteError {
    pub(crate) fn of(&self, run: RunId) -> ArchiveError {
        let cause = match self {
            Self::Database(error) => plain(error),
            other => other.to_string(),
        };
        ArchiveError(format!("run {run} could not be written down: {cause}"))
    }
}

impl From<ReadError> for ArchiveError {
    fn from(error: ReadError) -> Self {
        let cause = match error {
            ReadError::Database(error) => plain(&error),
            other => other.to_string(),
        };
        Self(format!("what was written down of runs could not be read: {cause}"))
    }
}

/// Why the runs of an agent are still there.
pub(crate) fn unremoved(agent: &AgentId, error: &rusqlite::Error) -> ArchiveError {
    ArchiveError(format!("the runs of agent {agent} could not be removed: {}", plain(error)))
}

/// What everything is answered after the end.
pub(crate) fn closed() -> ArchiveError {
    ArchiveError("the host is stopping: its runs are closed".into())
}

/// The few causes that a person can do something about, in their words.
fn plain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".into(),
        Some(ErrorCode::SystemIoFailure) => format!("the disk does not work ({error})"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            format!("the file is damaged ({error})")
        }
        _ => error.to_string(),
    }
}
