//! Where the logs of runs are kept when memory is not enough: on disk, by whoever implements [`Archive`].
//!
//! The log pushes nothing: it says once that it has something ([`Archive::wake`]), and the archive takes what there is
//! when it comes to it ([`Source::take`]). So there is never more under way than each log holds, and the queue in
//! between is as long as there are runs.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use rookery_core::{AgentId, Event, Generation, Prompt, RunId, RunState, Spent, StateName};

/// What is to be written down of a run.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The run itself; in the first batch, and only there.
    pub accepted: Option<Accepted>,
    /// That its turn came.
    pub started: Option<(SystemTime, Generation)>,
    /// Its next events, in order and without a gap. If the outcome is among them it is the last.
    pub events: Vec<Arc<Event>>,
    /// When the outcome among the events was decided.
    pub ended: Option<SystemTime>,
    /// What the run asked of models in all; in the batch with the outcome, and only there.
    pub spent: Spent,
}

/// A run as it was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Whose run.
    pub agent: AgentId,
    /// What it was given.
    pub prompt: Prompt,
    /// When.
    pub at: SystemTime,
    /// The client's name for it: the same key for the same agent is the same run.
    pub key: Option<String>,
}

/// A run's log, from the archive's side.
pub trait Source: Send + Sync {
    /// Which run.
    fn run(&self) -> RunId;

    /// Hands over everything that was not handed over before, which may be nothing, and is nothing once the log was
    /// lost. After this the log will call [`Archive::wake`] again when it has more.
    fn take(&self) -> Batch;

    /// What was handed over up to the event of this number is committed, the acceptance included.
    fn committed(&self, up_to: u64);

    /// What was handed over could not be written. Nothing more of this run will be.
    fn lost(&self, error: &ArchiveError);
}

/// Keeps the logs of runs.
pub trait Archive: Send + Sync {
    /// This log has something to hand over. Never blocks; a log is in the queue at most once.
    fn wake(&self, source: Arc<dyn Source>);

    /// Somebody waits for what a log has just handed in: it shall be written without gathering more. Never blocks.
    fn hurry(&self) {}

    /// Committed events of a run that come after the event `after`, in order, until they count `bytes` or more (see
    /// [`rookery_core::Chunk::size`]) or there are no more. Empty where there are none.
    fn read(
        &self,
        run: RunId,
        after: u64,
        bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Event>, ArchiveError>>;

    /// What is known of a run. None where it is unknown, or was removed.
    fn state(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunState>, ArchiveError>>;

    /// The run that this key names for this agent, and the prompt it was given.
    fn by_key(
        &self,
        agent: AgentId,
        key: String,
    ) -> BoxFuture<'static, Result<Option<(RunId, Prompt)>, ArchiveError>>;

    /// The runs that match, newest first, with their prompts cut as [`RunState::listed`] says.
    fn list(&self, query: Query) -> BoxFuture<'static, Result<Vec<RunState>, ArchiveError>>;

    /// How many runs of this agent there are.
    fn count(&self, agent: AgentId) -> BoxFuture<'static, Result<u64, ArchiveError>>;

    /// Removes all runs of this agent of which nothing more will be written, and says how many there were. Goes on where
    /// nobody waits for it any more.
    fn forget(&self, agent: AgentId) -> BoxFuture<'static, Result<u64, ArchiveError>>;
}

/// Which runs to list.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of this agent only.
    pub agent: Option<AgentId>,
    /// In this state only.
    pub state: Option<StateName>,
    /// Older than this run only: where the page before ended.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

impl Query {
    /// Whether it asks for a run that stands so. Says nothing of the limit.
    pub fn matches(&self, state: &RunState) -> bool {
        self.agent.as_ref().is_none_or(|agent| *agent == state.agent)
            && self.before.is_none_or(|before| state.run < before)
            && self.state.is_none_or(|name| name == StateName::from(&state.standing))
    }
}

/// The archive did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveError(pub String);
