//! Why a database could not be opened, written or read: what it is, and what to do.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why a database could not be opened. All of these are for the person who runs the host.
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
    #[error("{path} holds no {holds}: it is not a database of rookery")]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it should hold, in one word.
        holds: &'static str,
        /// What comes of it where a person moves the file away.
        anew: &'static str,
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
            Self::NotOurs { anew, .. } => format!("move the file away; {anew}"),
            Self::Newer { .. } => "use that version, or move the file away; a new one is made then".into(),
            Self::Database { .. } => "look at the disk and at who may write to the file".into(),
        }
    }
}

/// Why a statement failed. The few causes that a person can do something about are in their words.
pub fn plain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".into(),
        Some(ErrorCode::SystemIoFailure) => format!("the disk does not work ({error})"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            format!("the file is damaged ({error})")
        }
        _ => error.to_string(),
    }
}
