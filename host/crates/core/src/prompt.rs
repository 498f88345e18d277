//! What a run is given, by whom, and how it gets on with others.

use std::num::NonZeroUsize;

use crate::{AgentId, RunId};

/// What a run is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The run's id.
    pub run: RunId,
    /// What was asked.
    pub text: String,
    /// The client's whole JSON body, as it was sent.
    pub body: Option<String>,
    /// Who asked.
    pub origin: Origin,
}

/// Who asked for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client over HTTP, with the address it came from where that is known.
    Client(Option<String>),
    /// Another agent of this host.
    Agent(AgentId),
    /// A schedule of the agent's own, by its name.
    Schedule(String),
}

/// What makes a run of an alarm that rings one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// When it was due, in milliseconds since 1970-01-01T00:00:00Z.
    pub due: u64,
    /// Which attempt this is for that time: 1, 2, 3 …
    pub attempt: u32,
}

/// What happens to a run that comes while another one of its agent is queued or running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// It waits for its turn.
    Queue,
    /// It is refused.
    Reject,
    /// The others are cancelled, and it comes next.
    Interrupt,
    /// Up to so many are served at once, in the one instance. Beyond that it waits for its turn.
    Concurrent(NonZeroUsize),
}

impl Overlap {
    /// How many runs of one agent are served at once.
    pub fn at_once(self) -> usize {
        match self {
            Overlap::Concurrent(runs) => runs.get(),
            Overlap::Queue | Overlap::Reject | Overlap::Interrupt => 1,
        }
    }
}
