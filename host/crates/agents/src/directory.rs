//! The directory: which plugins are served, which agents have a task, and which runs have no end yet.
//!
//! Promises: a name leads to exactly one agent, however many ask for it at once; a run is accepted for good or
//! refused at once; after [`Directory::drain`] every accepted run has its outcome.
//! Bounded by: [`Limits`]. An agent without an instance and without a run costs nothing, nor does a run that has ended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use rookery_core::{AgentId, Alarm, Code, Failure, Generation, Origin, Overlap, PluginName, Prompt, RunId};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::archive::{Accepted, Archive};
use crate::budget::Budget;
use crate::guest::{Plugin, Policy};
use crate::keyed::Keyed;
use crate::live::Live;
use crate::log::{Keeping, Log};
use crate::mailbox::Mailbox;
use crate::reader::Reader;
use crate::run::Run;
use crate::unsettled::Unsettled;

/// What one host may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Runs that are queued or running, or that the archive has not written yet, over all agents. One more is refused as
    /// overloaded.
    pub runs: usize,
    /// Instances that are live. For one more, the longest idle makes room.
    pub live: usize,
    /// Bytes of prompts of runs that are queued or running. One more is refused as overloaded.
    pub prompts: usize,
    /// Bytes of events that no reader has read yet, over all runs, where there is no archive to read them from. Past
    /// this, readers that are behind are cut off.
    pub unread: usize,
}

/// Whether and how runs are kept beyond memory.
#[derive(Clone)]
pub struct Archiving {
    /// Where.
    pub archive: Arc<dyn Archive>,
    /// Whether readers see nothing that is not committed. Otherwise only the outcome waits for that.
    pub strict: bool,
}

/// How long agents may take to let go of their instances once they were told to stop. Guests have five seconds of it to go
/// to sleep, and dropping one takes less than a millisecond; the rest is for a machine under load.
const LETTING_GO: Duration = Duration::from_secs(10);

/// How long the archive may take to write the outcomes of the last runs. A commit takes milliseconds; this is for a disk
/// that stalls.
pub(crate) const WRITING: Duration = Duration::from_secs(5);

/// The way in: everything that is served, by name.
#[derive(Clone)]
pub struct Directory {
    pub(crate) shared: Arc<Shared>,
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
    /// The client's name for the run; see [`Directory::submit_once`].
    pub key: Option<String>,
    /// How long the run may take, where that is less than its plugin's deadline.
    pub deadline: Option<Duration>,
    /// Whether the run goes on without a reader, whatever its plugin prefers.
    pub background: bool,
    /// What makes it the ring of an alarm, where it is one.
    pub alarm: Option<Alarm>,
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

/// What an agent is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// It is in memory: it has an instance, or a run that is about to get one.
    pub live: bool,
    /// Its runs that have begun.
    pub running: usize,
    /// Its runs that wait for their turn.
    pub queued: usize,
}

/// What the agents of one plugin are at, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Agents that are in memory; see [`Activity::live`].
    pub live: usize,
    /// Runs that have begun.
    pub running: usize,
    /// Runs that wait for their turn.
    pub queued: usize,
}

/// What the agents' tasks share with the directory.
pub(crate) struct Shared {
    pub(crate) live: Arc<Live>,
    /// Fires when whatever still runs shall end now.
    pub(crate) stopping: CancellationToken,
    pub(crate) archiving: Option<Archiving>,
    pub(crate) keyed: Keyed,
    agents: Mutex<Agents>,
    plugins: BTreeMap<PluginName, Arc<dyn Plugin>>,
    limits: Limits,
    /// Counts the runs that are queued or running. One more is let in under the lock of `agents` only.
    runs: TaskTracker,
    prompts: Arc<Budget>,
    unread: Arc<Budget>,
    generations: AtomicU64,
    tasks: TaskTracker,
    /// Wakes who waits until runs are settled.
    settled: Notify,
    /// Wakes who waits until an agent has no task.
    pub(crate) left: Notify,
}

#[derive(Default)]
pub(crate) struct Agents {
    draining: bool,
    pub(crate) known: HashMap<AgentId, Known>,
    /// Agents that take no runs for now.
    pub(crate) held: HashSet<AgentId>,
    /// Runs whose logs are not settled: they have no outcome, or it is not committed.
    pub(crate) runs: Unsettled,
}

/// An agent that has a task.
pub(crate) struct Known {
    mailbox: Arc<Mailbox>,
    /// Ends it, whatever it does.
    pub(crate) stop: CancellationToken,
    /// Its runs that may have no outcome.
    pub(crate) unfinished: Vec<Arc<Log>>,
}

impl Directory {
    /// A directory that serves these plugins.
    pub fn new(
        plugins: BTreeMap<PluginName, Arc<dyn Plugin>>,
        limits: Limits,
        archiving: Option<Archiving>,
    ) -> Self {
        let limits = Limits { live: limits.live.min(Semaphore::MAX_PERMITS), ..limits };
        Self {
            shared: Arc::new(Shared {
                live: Arc::new(Live::new(limits.live)),
                stopping: CancellationToken::new(),
                archiving,
                keyed: Keyed::default(),
                agents: Mutex::default(),
                plugins,
                limits,
                runs: TaskTracker::new(),
                prompts: Arc::new(Budget::new(limits.prompts)),
                unread: Arc::new(Budget::new(limits.unread)),
                generations: AtomicU64::new(0),
                tasks: TaskTracker::new(),
                settled: Notify::new(),
                left: Notify::new(),
            }),
        }
    }

    /// Submits a run to the agent of this name, which need not have existed before.
    ///
    /// # Errors
    ///
    /// When the plugin is unknown, the agent busy and its plugin wants no more then, its mailbox full, the host full, or
    /// stopping. The run was not accepted then, and nothing of it happens.
    pub fn submit(&self, agent: &AgentId, asked: Asked) -> Result<Submitted, Failure> {
        let shared = &self.shared;
        let plugin = shared.plugins.get(&agent.plugin).ok_or_else(|| unknown(&agent.plugin))?;
        let policy = plugin.policy();
        let memory = shared.prompts.share(asked.size()).ok_or_else(overloaded)?;
        let run = RunId::new();

        let mut agents = shared.agents();
        if agents.draining {
            return Err(Failure::new(Code::Draining, "the host is stopping and takes no new runs"));
        }
        if agents.held.contains(agent) {
            return Err(held(agent));
        }
        // Those that have ended and are not written yet count too: an archive that stalls must not fill the memory.
        if shared.runs.len().max(agents.runs.len()) >= shared.limits.runs {
            return Err(overloaded());
        }
        let Agents { known, runs, .. } = &mut *agents;
        let known = known.entry(agent.clone()).or_insert_with(|| shared.start(agent, plugin, policy.queue));
        let gone = known.make_way(agent, policy)?;
        let wishes = (asked.alarm, asked.deadline);
        let cancel_on_detach = policy.cancel_on_detach && !asked.background;
        let prompt = Prompt { run, text: asked.text, body: asked.body, origin: asked.origin };
        let accepted = Accepted { agent: agent.clone(), prompt, at: SystemTime::now(), key: asked.key };
        let log = shared.open(accepted, policy, known.mailbox.clone());
        known.unfinished.push(log.clone());
        runs.insert(log.clone());
        let events = Reader::live(log.clone(), 0);
        log.lock().cancel_on_detach = cancel_on_detach;
        known.mailbox.put(Box::new(Run::new(log.clone(), wishes, (shared.runs.token(), memory))));
        drop(agents);
        // Not under the lock, which an archive needs that loses a log at once.
        log.wake_archive();
        for log in &gone.interrupted {
            log.cancel();
        }
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

    /// Takes no new runs, gives those it has `grace` to end, ends the rest as interrupted, drops all instances, and waits
    /// until the archive has written it all. Returns how many runs were interrupted.
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
        if timeout(WRITING, shared.all_settled()).await.is_err() {
            tracing::error!("the archive did not write the outcomes of all runs within {WRITING:?}");
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

    /// What this agent is at now.
    pub fn activity(&self, agent: &AgentId) -> Activity {
        self.shared.agents().known.get(agent).map_or_else(Activity::default, Known::activity)
    }

    /// What the agents of each plugin that is served are at now. Looks at every agent and run in memory; runs are neither
    /// accepted nor forgotten meanwhile.
    pub fn counts(&self) -> BTreeMap<PluginName, Counts> {
        let mut counts: BTreeMap<_, _> =
            self.shared.plugins.keys().map(|plugin| (plugin.clone(), Counts::default())).collect();
        for (agent, known) in &self.shared.agents().known {
            let Some(counts) = counts.get_mut(&agent.plugin) else { continue };
            let Activity { live, running, queued } = known.activity();
            counts.live += usize::from(live);
            counts.running += running;
            counts.queued += queued;
        }
        counts
    }

    /// How many runs are not settled.
    #[cfg(test)]
    pub(crate) fn unsettled_count(&self) -> usize {
        self.shared.agents().runs.len()
    }

    /// How many bytes of this unsettled run are in memory, and how many of them are not committed.
    #[cfg(test)]
    pub(crate) fn kept(&self, run: RunId) -> Option<(usize, usize)> {
        self.shared.agents().runs.get(&run).map(|log| log.kept())
    }

    /// How many keys somebody submits a run with.
    #[cfg(test)]
    pub(crate) fn keys_in_use(&self) -> usize {
        self.shared.keyed.len()
    }

    /// How many agents have a task.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.shared.agents().known.len()
    }
}

/// What another run does to those before it.
#[derive(Default)]
struct Gone {
    /// They are to be cancelled.
    interrupted: Vec<Arc<Log>>,
    /// Those of them that waited, to be dropped when they are.
    _waiting: VecDeque<Box<Run>>,
}

impl Known {
    fn activity(&self) -> Activity {
        let mut activity = Activity { live: true, ..Activity::default() };
        for log in &self.unfinished {
            let log = log.lock();
            match (log.ended, log.started) {
                (Some(_), _) => {}
                (None, Some(_)) => activity.running += 1,
                (None, None) => activity.queued += 1,
            }
        }
        activity
    }

    /// Sees to it that there is room for another run, or says why it cannot be taken.
    fn make_way(&mut self, agent: &AgentId, policy: Policy) -> Result<Gone, Failure> {
        self.unfinished.retain(|log| !log.has_ended());
        let gone = match policy.overlap {
            Overlap::Reject if !self.unfinished.is_empty() => return Err(busy(agent)),
            Overlap::Interrupt => {
                Gone { interrupted: self.unfinished.clone(), _waiting: self.mailbox.empty() }
            }
            Overlap::Queue | Overlap::Reject | Overlap::Concurrent(_) => Gone::default(),
        };
        if self.mailbox.has_room() { Ok(gone) } else { Err(mailbox_full(agent, policy.queue)) }
    }
}

impl Shared {
    pub(crate) fn agents(&self) -> MutexGuard<'_, Agents> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an agent's task.
    fn start(self: &Arc<Self>, id: &AgentId, plugin: &Arc<dyn Plugin>, queue: usize) -> Known {
        let mailbox = Arc::new(Mailbox::new(queue));
        let stop = self.stopping.child_token();
        let task = Agent {
            id: id.clone(),
            plugin: plugin.clone(),
            mailbox: mailbox.clone(),
            shared: self.clone(),
            stop: stop.clone(),
        };
        self.tasks.spawn(task.live());
        Known { mailbox, stop, unfinished: Vec::new() }
    }

    fn open(self: &Arc<Self>, accepted: Accepted, policy: Policy, mailbox: Arc<Mailbox>) -> Arc<Log> {
        let archiving = self.archiving.as_ref();
        let keeping = Keeping {
            output: policy.output,
            unread: self.unread.clone(),
            archive: archiving.map(|archiving| archiving.archive.clone()),
            strict: archiving.is_some_and(|archiving| archiving.strict),
        };
        let (shared, agent): (Weak<Self>, _) = (Arc::downgrade(self), accepted.agent.clone());
        Log::open(accepted, keeping, mailbox, move |run| {
            if let Some(shared) = shared.upgrade() {
                shared.settled(&agent, run);
            }
        })
    }

    /// Forgets a run that has ended and been written.
    fn settled(&self, agent: &AgentId, run: RunId) {
        let mut agents = self.agents();
        let log = agents.runs.remove(&run);
        if let Some(known) = agents.known.get_mut(agent) {
            known.unfinished.retain(|log| !log.has_ended());
        }
        drop(agents);
        drop(log);
        self.settled.notify_waiters();
    }

    async fn all_settled(&self) {
        self.settle(Unsettled::is_empty).await;
    }

    /// Waits until all runs of this agent are settled.
    pub(crate) async fn settled_of(&self, agent: &AgentId) {
        self.settle(|runs| runs.values().all(|log| log.accepted.agent != *agent)).await;
    }

    async fn settle(&self, enough: impl Fn(&Unsettled) -> bool) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if enough(&self.agents().runs) {
                return;
            }
            settled.await;
        }
    }

    pub(crate) fn next_generation(&self) -> Generation {
        Generation(self.generations.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The agent's next run, or none and then the agent is forgotten. Runs are accepted under the same lock, so none
    /// falls in between.
    pub(crate) fn take_or_forget(&self, id: &AgentId, mailbox: &Mailbox) -> Option<Box<Run>> {
        let mut agents = self.agents();
        let run = mailbox.take();
        if run.is_none() {
            agents.known.remove(id);
            self.left.notify_waiters();
        }
        run
    }

    /// Forgets an agent whose mailbox is closed. One that has come to be under the same name since then stays.
    pub(crate) fn forget_gone(&self, id: &AgentId) {
        let mut agents = self.agents();
        if agents.known.get(id).is_some_and(|known| known.mailbox.is_closed()) {
            agents.known.remove(id);
            self.left.notify_waiters();
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

pub(crate) fn held(agent: &AgentId) -> Failure {
    let message = format!("agent `{agent}` is being deleted or filled; ask again in a moment");
    Failure::new(Code::Busy, message)
}

fn busy(agent: &AgentId) -> Failure {
    let message = format!("agent `{agent}` is busy and takes one run at a time; ask again when it has ended");
    Failure::new(Code::Busy, message)
}

fn mailbox_full(agent: &AgentId, queue: usize) -> Failure {
    let message = format!("agent `{agent}` has {queue} runs waiting already; ask again when some have ended");
    Failure::new(Code::MailboxFull, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Arc<Shared> {
        Directory::new(BTreeMap::new(), Limits { runs: 1, live: 1, prompts: 1, unread: 1 }, None).shared
    }

    fn known(shared: &Shared) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(1));
        shared.agents().known.insert(
            agent(),
            Known { mailbox: mailbox.clone(), stop: CancellationToken::new(), unfinished: Vec::new() },
        );
        mailbox
    }

    fn agent() -> AgentId {
        AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() }
    }

    #[test]
    fn an_agent_is_forgotten_at_the_very_moment_when_it_finds_no_run() {
        let shared = shared();
        let mailbox = known(&shared);
        assert!(shared.take_or_forget(&agent(), &mailbox).is_none());
        assert!(shared.agents().known.is_empty(), "a later run would be lost in its mailbox");
    }

    #[test]
    fn of_two_agents_of_one_name_only_the_one_that_is_gone_is_forgotten() {
        let shared = shared();
        let mailbox = known(&shared);
        shared.forget_gone(&agent());
        assert_eq!(shared.agents().known.len(), 1);
        mailbox.close();
        shared.forget_gone(&agent());
        assert_eq!(shared.agents().known.len(), 0);
    }
}
