//! Why there is no report: what it is, and what to do.

use rookery_database::OpenError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is nothing that could be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A report would lack what was counted last.
    #[error("what models were asked could not be written down: {0}")]
    Unwritten(String),
}

impl ReportError {
    /// What would mend it.
    pub fn hint(&self) -> String {
        match self {
            Self::Open(error) => error.hint(),
            Self::Unwritten(_) => "look at the disk; nothing that was counted is forgotten yet".into(),
        }
    }
}
