//! What the admin face needs of a host: agents as things that are kept, whoever keeps them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rookery_agents::Activity;
use rookery_core::{AgentId, Failure, PluginName};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::problem::{Kind, Problem};

/// What a [`Keeper`] answers, sooner or later.
pub type Answer<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, KeeperError>> + Send>>;

/// Has agents, and what they keep. What was begun is brought to its end, also where nobody waits for the answer any more.
pub trait Keeper: Send + Sync + 'static {
    /// Agents that keep something, ordered: at most `limit` after `after`, and fewer only at the end.
    fn list(
        &self,
        plugin: Option<PluginName>,
        after: Option<AgentId>,
        limit: usize,
    ) -> Answer<Vec<AgentState>>;

    /// All about one agent; [`KeeperError::Missing`] where there is nothing of it.
    fn state(&self, agent: AgentId) -> Answer<AgentState>;

    /// Removes an agent and all that is its own; [`KeeperError::Missing`] where there is nothing of it.
    fn remove(&self, agent: AgentId) -> Answer<Removed>;

    /// Writes what the agent has committed into a file, whatever the agent does meanwhile.
    fn export(&self, agent: AgentId) -> Answer<Scratch>;

    /// A name for a file that shall become this agent's, and how large it may be; [`KeeperError::Taken`] where the agent
    /// keeps something.
    fn room(&self, agent: AgentId) -> Answer<(Scratch, u64)>;

    /// Makes an exported file what this agent keeps; [`KeeperError::Taken`] where it keeps something.
    fn import(&self, agent: AgentId, from: Scratch) -> Answer<()>;

    /// Makes what one agent has committed the beginning of another; [`KeeperError::Taken`] where that one keeps something.
    fn fork(&self, from: AgentId, to: AgentId) -> Answer<()>;
}

/// What is known of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentState {
    /// Who.
    pub agent: AgentId,
    /// How much it keeps, in bytes on the disk.
    pub bytes: u64,
    /// When it wrote something last; none where it keeps nothing.
    pub last_used: Option<SystemTime>,
    /// What it is at.
    pub activity: Activity,
    /// Whether its plugin is served.
    pub served: bool,
    /// How many of its runs are kept, where that was looked at.
    pub runs: Option<u64>,
}

/// What went with an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// So much it kept, in bytes on the disk.
    pub bytes: u64,
    /// So many runs of it were kept.
    pub runs: u64,
}

/// Why something was not done. Nothing has changed then, unless it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeeperError {
    /// There is nothing of this agent.
    Missing(AgentId),
    /// This agent keeps something already.
    Taken(AgentId),
    /// What was sent is nothing that an agent keeps; the text says why.
    NotAnAgent(String),
    /// The disk is full.
    DiskFull,
    /// Anything else.
    Failed(Failure),
}

/// The name of a file that is there for one request: it is gone when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _place: OwnedSemaphorePermit,
}

impl Scratch {
    /// A file of this name, which need not exist yet. It takes one of the places for such files.
    pub fn new(path: PathBuf, place: OwnedSemaphorePermit) -> Self {
        Self { path, _place: place }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // A GiB takes the disk a moment. What is left where this fails is removed when the host starts again.
        let remove = move || drop(fs::remove_file(path));
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl From<KeeperError> for Problem {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Missing(agent) => {
                let hint = "`GET /admin/agents` lists those that keep something";
                Self::new(Kind::UnknownAgent, format!("there is nothing of agent `{agent}`; {hint}"))
            }
            KeeperError::Taken(agent) => {
                let hint = "delete it first, or use another name";
                Self::new(Kind::Taken, format!("agent `{agent}` keeps something already; {hint}"))
            }
            KeeperError::NotAnAgent(why) => Self::new(
                Kind::NotAnAgent,
                format!("what was sent is not what an agent keeps: {why}; send what an export gave"),
            ),
            KeeperError::DiskFull => {
                Self::new(Kind::DiskFull, "the host's disk is full; make room there, and ask again")
            }
            KeeperError::Failed(failure) => failure.into(),
        }
    }
}
