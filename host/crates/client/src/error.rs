//! Why a host did not do what it was asked to.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use rookery_core::{RunId, Span};
use serde::Deserialize;

use crate::base::Base;

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There was no connection, so the host knows nothing of it.
    #[error("no host answers at {base}")]
    Unreachable {
        /// Where none is.
        base: Base,
        /// What the system says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There was a connection, and it broke before the answer: the host may have done what it was asked to.
    #[error("the host at {base} gave no answer ({why}); it can have accepted what it was asked to do")]
    Unanswered {
        /// Where the host is.
        base: Base,
        /// What happened instead.
        why: String,
    },
    /// The host says no.
    #[error("{0}")]
    Problem(Problem),
    /// What answers is something else than a host.
    #[error("what answers at {base} seems to be no host: {what}")]
    Foreign {
        /// Where it is.
        base: Base,
        /// What it said.
        what: String,
        /// The status it said it with.
        status: StatusCode,
    },
    /// A run's stream ended before the run did.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A run's stream broke and could not be taken up again.
    #[error("run {run} could not be followed any further: {last}, and nothing new came within {patience}")]
    GaveUp {
        /// The run, which may still go on.
        run: RunId,
        /// The last event that came.
        seen: u64,
        /// For how long it was tried.
        patience: Span,
        /// What went wrong last.
        last: Box<ClientError>,
    },
}

/// Why a stream ended before its run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It ended without an outcome.
    #[error("the stream ended before the run did")]
    Ended,
    /// Not even a sign of life came.
    #[error("nothing came for {}", Span(*.0))]
    Silent(Duration),
    /// The connection broke.
    #[error("the connection broke")]
    Lost(#[from] hyper::Error),
    /// What came is no stream of a run.
    #[error("what came is no stream of a run: {0}")]
    Garbled(&'static str),
    /// An event is missing.
    #[error("event {came} came where event {due} was due")]
    Gap {
        /// The number that was due.
        due: u64,
        /// The number that came.
        came: u64,
    },
}

/// A host's problem document: why a request was refused, or why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable name.
    pub code: String,
    /// What was tried and what to do next. A guest may have written this.
    #[serde(default)]
    pub detail: String,
}

impl ClientError {
    /// Whether asking again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unanswered { .. } | Self::Broken(_) => true,
            Self::Problem(problem) => passes(problem.status),
            Self::Foreign { status, .. } => passes(status.as_u16()),
            Self::GaveUp { .. } => false,
        }
    }
}

fn passes(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => write!(f, "{}", self.code),
            detail => write!(f, "{detail} ({})", self.code),
        }
    }
}
