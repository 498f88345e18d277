//! What rings an agent.

use futures_util::future::BoxFuture;
use rookery_core::AgentId;

/// A ring of an alarm, to be made a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ringing {
    /// The alarm's name.
    pub name: String,
    /// Which setting of that name; see [`Kept::begin`](crate::Kept::begin).
    pub version: u64,
    /// As it was set.
    pub payload: String,
    /// When it was due.
    pub due: u64,
    /// Which attempt this is for that time: 1, 2, 3 …
    pub attempt: u32,
    /// When this ring began.
    pub began: u64,
}

/// How a ring ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Its run is done: the alarm is settled.
    Done,
    /// Its run failed, for this reason: it is tried again.
    Failed(String),
    /// There was no run, for this reason: the host or the mailbox is full, the host is stopping, or the plugin is not
    /// served. It rings again after a while, and this attempt does not count.
    Refused(String),
}

/// What rings an agent: submits a run and waits for its outcome.
pub trait Ringer: Send + Sync {
    /// Rings. Resolves when the run has its outcome, or at once where it was refused.
    ///
    /// The clock's places are limited, so this must end: with the run's own deadline, at the latest.
    fn ring<'a>(&'a self, agent: &'a AgentId, ringing: Ringing) -> BoxFuture<'a, Rung>;
}
