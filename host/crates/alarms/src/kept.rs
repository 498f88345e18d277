//! Where alarms are kept.

use futures_util::future::BoxFuture;
use rookery_core::AgentId;

use crate::ringer::{Ringing, Rung};

/// Why alarms could not be read or written. It is tried again after a while.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeptError(pub String);

/// What whoever keeps alarms needs to know of the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub now: u64,
    /// When this host began to ring, by the same clock: what was due before that, and never tried, was missed.
    pub up_since: u64,
    /// The agent's alarms that ring already, by their names: they are to be left alone, whichever version they are.
    pub ringing: Vec<String>,
}

/// What an agent has to ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The alarm that rings now.
    pub ringing: Option<Ringing>,
    /// When the first of its others rings that does not yet; none where there is none.
    pub next: Option<u64>,
}

/// An agent that is neither removed, nor its file taken for another agent's of its name, until this is dropped.
pub type Stays = Box<dyn Send + Sync>;

/// What keeps alarms. [`Progress`](crate::Progress) says what to do with each of them.
///
/// **Who tells whom.** After an agent's transaction that set alarms is committed, [`Clock::due`](crate::Clock::due) is told
/// the earliest time among them. Cancelling and putting off need not be told: being asked for nothing is harmless.
///
/// **What may overlap.** Everything, except two [`begin`](Self::begin)s for the same agent.
///
/// **Errors** are of one agent where only its file is damaged, and must not keep others waiting. An agent's own limit
/// does not count here: settling must work when the agent has used up its storage.
pub trait Kept: Send + Sync {
    /// Agents that have alarms that ring some day, in the order of their ids, after this one and at most so many; fewer only
    /// at the end. With each a time that is not later than when its first alarm rings: too early costs one look, too late
    /// is a broken promise, also after a crash between two writes.
    fn page(
        &self,
        after: Option<AgentId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(AgentId, u64)>, KeptError>>;

    /// Has the agent stay. The clock has it from before it begins a ring until that is settled, so that neither the run nor
    /// how it ended reaches another agent: one of the same name that is made when this one was removed. Waits while it is
    /// being removed; who removes it has its runs cancelled first, so that no ring keeps them waiting.
    fn stays<'a>(&'a self, agent: &'a AgentId) -> BoxFuture<'a, Stays>;

    /// Begins the ring that has waited longest, of those of this agent that are not ringing: their `rings` is not after
    /// `now`. It is on disk with its attempt counted when this resolves. `version` says which setting of the name it was; no
    /// two of an agent have the same.
    ///
    /// Alarms that [pass](crate::Verdict::Passes) are written too and do not end the search. An agent that was deleted has
    /// nothing to ring.
    fn begin<'a>(&'a self, agent: &'a AgentId, moment: Moment) -> BoxFuture<'a, Result<Begun, KeptError>>;

    /// Writes how a ring ended, if the alarm is still of this version: otherwise it was cancelled or set again meanwhile,
    /// and stays as it is. Says when the first alarm rings that is not ringing; this one is not any more. Settling again what was
    /// settled changes nothing.
    fn settle<'a>(
        &'a self,
        agent: &'a AgentId,
        ringing: &'a Ringing,
        rung: &'a Rung,
        moment: Moment,
    ) -> BoxFuture<'a, Result<Option<u64>, KeptError>>;
}
