//! The directory: which plugins are served, and which agents have a task.
//!
//! Promises: a name leads to exactly one agent, however many ask for it at once; a run is accepted for good or
//! refused at once; after [`Directory::drain`] every accepted run has its outcome.
//! Bounded by: [`Limits`]. An agent without an instance and without a run costs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rookery_core::{AgentId, Code, Failure, Generation, Origin, PluginName, Prompt, RunId};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::budget::Budget;
use crate::guest::Plugin;
use crate::live::Live;
use crate::log::{self, Reader};
use crate::run::Run;

/// What one host may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Runs that are queued or running, over all agents. One more is refused as overloaded.
    pub runs: usize,
    /// Instances that are live. For one more, the longest idle makes room.
    pub live: usize,
    /// Bytes of prompts of runs that are queued or running. One more is refused as overloaded.
    pub prompts: usize,
    /// Bytes of events that no reader has read yet, over all runs. Past this, readers that are behind are cut off.
    pub unread: usize,
}

/// How long agents may take to let go of their instances once they were told to stop. Dropping one takes less than a
/// millisecond; this is for a machine under load.
const LETTING_GO: Duration = Duration::from_secs(5);

/// The way in: everything that is served, by name.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The prompt.
    pub text: String,
    /// The client's whole JSON body.
    pub body: Option<String>,
    /// Who asks.
    pub origin: Origin,
}

impl Asked {
    /// What it counts: its texts, twice, as the guest's memory is given a copy when its turn has come.
    fn size(&self) -> usize {
        2 * (self.text.len() + self.body.as_ref().map_or(0, String::len))
    }
}

/// An accepted run.
#[derive(Debug)]
pub struct Submitted {
    /// The run's id.
    pub run: RunId,
    /// Its events, from the first.
    pub events: Reader,
}

/// What the agents' tasks share with the directory.
pub(crate) struct Shared {
    pub(crate) live: Arc<Live>,
    /// Fires when whatever still runs shall end now.
    pub(crate) stopping: CancellationToken,
    agents: Mutex<Agents>,
    plugins: BTreeMap<PluginName, Arc<dyn Plugin>>,
    limits: Limits,
    /// Counts the runs that are queued or running. One more is let in under the lock of `agents` only.
    runs: TaskTracker,
    prompts: Arc<Budget>,
    unread: Arc<Budget>,
    generations: AtomicU64,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Agents {
    draining: bool,
    mailboxes: HashMap<AgentId, mpsc::Sender<Box<Run>>>,
}

impl Directory {
    /// A directory that serves these plugins.
    pub fn new(plugins: BTreeMap<PluginName, Arc<dyn Plugin>>, limits: Limits) -> Self {
        let limits = Limits { live: limits.live.min(Semaphore::MAX_PERMITS), ..limits };
        Self {
            shared: Arc::new(Shared {
                live: Arc::new(Live::new(limits.live)),
                stopping: CancellationToken::new(),
                agents: Mutex::default(),
                plugins,
                limits,
                runs: TaskTracker::new(),
                prompts: Arc::new(Budget::new(limits.prompts)),
                unread: Arc::new(Budget::new(limits.unread)),
                generations: AtomicU64::new(0),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Submits a run to the agent of this name, which need not have existed before.
    ///
    /// # Errors
    ///
    /// When the plugin is unknown, the agent's mailbox full, the host full, or stopping. The run was not accepted
    /// then, and nothing of it happens.
    pub fn submit(&self, agent: &AgentId, asked: Asked) -> Result<Submitted, Failure> {
        let shared = &self.shared;
        let plugin = shared.plugins.get(&agent.plugin).ok_or_else(|| unknown(&agent.plugin))?;
        let policy = plugin.policy();
        let memory = shared.prompts.share(asked.size()).ok_or_else(overloaded)?;
        let (reply, events) = log::new(policy.output, shared.unread.clone());
        let run = RunId::new();
        let prompt = Prompt { run, text: asked.text, body: asked.body, origin: asked.origin };

        let mut agents = shared.agents();
        if agents.draining {
            return Err(Failure::new(Code::Draining, "the host is stopping and takes no new runs"));
        }
        if shared.runs.len() >= shared.limits.runs {
            return Err(overloaded());
        }
        let mailbox = agents.mailboxes.entry(agent.clone()).or_insert_with(|| {
            let (mailbox, incoming) = mpsc::channel(policy.queue);
            let task = Agent {
                id: agent.clone(),
                plugin: plugin.clone(),
                mailbox: incoming,
                shared: shared.clone(),
            };
            shared.tasks.spawn(task.live());
            mailbox
        });
        // Reserved before the run is made: a run that exists has been accepted.
        let permit = mailbox.try_reserve().map_err(|_| mailbox_full(agent, policy.queue))?;
        permit.send(Box::new(Run::new(prompt, reply, (shared.runs.token(), memory))));
        Ok(Submitted { run, events })
    }

    /// The plugins that are served, with the digest of each.
    pub fn plugins(&self) -> impl Iterator<Item = (&PluginName, &str)> {
        self.shared.plugins.iter().map(|(name, plugin)| (name, plugin.version()))
    }

    /// The digest of this plugin; none where it is not served.
    pub fn version(&self, plugin: &PluginName) -> Option<&str> {
        self.shared.plugins.get(plugin).map(|plugin| plugin.version())
    }

    /// How many instances are live.
    pub fn live(&self) -> usize {
        self.shared.live.count(self.shared.limits.live)
    }

    /// Whether new runs are refused because the host stops.
    pub fn draining(&self) -> bool {
        self.shared.agents().draining
    }

    /// Takes no new runs, gives those it has `grace` to end, ends the rest as interrupted, and drops all instances.
    /// Returns how many runs were interrupted.
    pub async fn drain(&self, grace: Duration) -> usize {
        let shared = &self.shared;
        shared.agents().draining = true;
        shared.runs.close();
        let left = if timeout(grace, shared.runs.wait()).await.is_ok() { 0 } else { self.running() };
        shared.stopping.cancel();
        shared.tasks.close();
        if timeout(LETTING_GO, shared.tasks.wait()).await.is_err() {
            tracing::error!("agents were still busy {LETTING_GO:?} after they were told to stop");
        }
        left
    }

    /// Fires when it is dropped: whatever still runs then ends as interrupted, and all instances are dropped.
    pub fn stop_guard(&self) -> DropGuard {
        self.shared.stopping.clone().drop_guard()
    }

    /// How many runs are queued or running.
    pub fn running(&self) -> usize {
        self.shared.runs.len()
    }

    /// How many agents have a task.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.shared.agents().mailboxes.len()
    }
}

impl Shared {
    fn agents(&self) -> MutexGuard<'_, Agents> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_generation(&self) -> Generation {
        Generation(self.generations.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The agent's next run, or none and then the agent is forgotten. Runs are accepted under the same lock, so none
    /// falls in between.
    pub(crate) fn take_or_forget(
        &self,
        id: &AgentId,
        mailbox: &mut mpsc::Receiver<Box<Run>>,
    ) -> Option<Box<Run>> {
        let mut agents = self.agents();
        let run = mailbox.try_recv().ok();
        if run.is_none() {
            agents.mailboxes.remove(id);
        }
        run
    }

    /// Forgets an agent whose mailbox is closed. One that has come to be under the same name since then stays.
    pub(crate) fn forget_gone(&self, id: &AgentId) {
        let mut agents = self.agents();
        if agents.mailboxes.get(id).is_some_and(mpsc::Sender::is_closed) {
            agents.mailboxes.remove(id);
        }
    }
}

fn unknown(plugin: &PluginName) -> Failure {
    let hint = "`GET /agents` lists those that are";
    Failure::new(Code::UnknownPlugin, format!("no plugin `{plugin}` is served here; {hint}"))
}

fn overloaded() -> Failure {
    Failure::new(Code::Overloaded, "this host has as many runs as it can hold; ask again later")
}

fn mailbox_full(agent: &AgentId, queue: usize) -> Failure {
    let message = format!("agent `{agent}` has {queue} runs waiting already; ask again when some have ended");
    Failure::new(Code::MailboxFull, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Arc<Shared> {
        Directory::new(BTreeMap::new(), Limits { runs: 1, live: 1, prompts: 1, unread: 1 }).shared
    }

    fn agent() -> AgentId {
        AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() }
    }

    #[test]
    fn an_agent_is_forgotten_at_the_very_moment_when_it_finds_no_run() {
        let shared = shared();
        let (mailbox, mut incoming) = mpsc::channel(1);
        shared.agents().mailboxes.insert(agent(), mailbox);
        assert!(shared.take_or_forget(&agent(), &mut incoming).is_none());
        assert!(shared.agents().mailboxes.is_empty(), "a later run would be lost in its mailbox");
    }

    #[test]
    fn of_two_agents_of_one_name_only_the_one_that_is_gone_is_forgotten() {
        let shared = shared();
        let (mailbox, incoming) = mpsc::channel(1);
        shared.agents().mailboxes.insert(agent(), mailbox);
        shared.forget_gone(&agent());
        assert_eq!(shared.agents().mailboxes.len(), 1);
        drop(incoming);
        shared.forget_gone(&agent());
        assert_eq!(shared.agents().mailboxes.len(), 0);
    }
}
