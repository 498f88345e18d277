//! What survives what.

/// What is kept after a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process. When the machine dies the last moments may be gone; what is on disk is sound all the same.
    #[default]
    Normal,
    /// The death of the machine: the disk is waited for at every commit.
    Full,
}

impl Durability {
    /// As `PRAGMA synchronous` of SQLite names it, for a database with a write-ahead log.
    pub fn synchronous(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}
