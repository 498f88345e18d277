//! Why the runs could not be written or read: what it is, and what to do.

use rookery_agents::archive::ArchiveError;
use rookery_core::{AgentId, RunId};
use rookery_database::plain;
use rusqlite::types::FromSqlError;

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
