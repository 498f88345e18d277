//! Why a folder of cassettes cannot be used: its owner's to mend.

use std::io;
use std::path::PathBuf;

/// Why a recording was not begun, or a folder cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteError {
    /// Recording would mix with what was recorded before.
    #[error("there are cassettes in `{}` already, as {}", .folder.display(), .found.display())]
    Taken {
        /// Where to record to.
        folder: PathBuf,
        /// One of them.
        found: PathBuf,
    },
    /// There is nothing to replay.
    #[error("there is no cassette in `{}`", .0.display())]
    Empty(PathBuf),
    /// A cassette was edited and is none any more, or was not written to its end.
    #[error("{}, line {line}: {reason}", .path.display())]
    Malformed {
        /// The cassette.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// More than is read.
    #[error("`{}` is more than {limit} MiB", .path.display())]
    TooLarge {
        /// A cassette, or the whole folder.
        path: PathBuf,
        /// How much it may be.
        limit: u64,
    },
    /// The disk.
    #[error("`{}`: {error}", .path.display())]
    Io {
        /// What could not be read or made.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl CassetteError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            CassetteError::Taken { .. } => {
                "remove them, or record into another folder; single cassettes may be moved from one to the other"
            }
            CassetteError::Empty(_) => {
                "record some with --record; they lie in folders that are called as their plugins"
            }
            CassetteError::Malformed { .. } => "mend it, or record it anew",
            CassetteError::TooLarge { .. } => {
                "remove exchanges that are not needed, or replay a part of the folder"
            }
            CassetteError::Io { .. } => "name a folder that this user may read and write",
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> CassetteError {
        let path = path.into();
        |error| CassetteError::Io { path, error }
    }
}
