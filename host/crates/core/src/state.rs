//! Where a run stands: what is known of it beside its events.

use std::time::SystemTime;

use crate::{AgentId, Generation, Origin, Outcome, RunId};

/// What is known of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    /// Which run.
    pub run: RunId,
    /// Whose run.
    pub agent: AgentId,
    /// Who asked.
    pub origin: Origin,
    /// What was asked.
    pub prompt: String,
    /// When it was accepted.
    pub submitted: SystemTime,
    /// When its turn came, and with which instance.
    pub started: Option<(SystemTime, Generation)>,
    /// When it had its outcome.
    pub ended: Option<SystemTime>,
    /// How far it is.
    pub standing: Standing,
    /// How many events it has, the outcome among them.
    pub events: u64,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for its turn; so many runs of its agent wait before it.
    Queued(usize),
    /// It runs.
    Running,
    /// It has its outcome.
    Ended(Outcome),
}
