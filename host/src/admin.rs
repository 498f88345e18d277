//! Agents as things that are kept, of a host that serves them: what the admin face asks.
//!
//! Promises: an agent is removed, filled or forked into only while it is held and its file reserved, so never
//! beside its instance, nor beside the clock that looks for its alarms or has one ring; what was begun
//! is brought to its end, whoever leaves; an agent is copied while it lives.
//! Bounded by: [`COPIES`] at a time.
//! Costs: removing waits until no agent is being copied. A copy lets go of its file last if the agent went meanwhile, and
//! then tidies up beside it, where the next file of that name could be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rookery_agents::{Directory, Held};
use rookery_core::{AgentId, Code, Failure, PluginName};
use rookery_engine::{Engine, Reserved};
use rookery_http::{AgentState, Answer, Keeper, KeeperError, Removed, Scratch};
use rookery_storage::{Databases, FileError, Kept};
use tokio::sync::{RwLock, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Each takes the disk's whole attention, and as much room on it as an agent may keep.
const COPIES: usize = 8;

/// How long an agent's file may take to be closed. It is milliseconds but on a disk that stalls.
const CLOSING: Duration = Duration::from_secs(30);

/// What an agent may keep whose plugin is not served: what one may whose sidecar says nothing.
const STORAGE: u64 = 1 << 30;

/// The agents of a host. Costs nothing to clone.
#[derive(Clone)]
pub(crate) struct Agents(Arc<Inner>);

struct Inner {
    databases: Databases,
    directory: Directory,
    engine: Arc<Engine>,
    /// How many bytes an agent of each plugin may keep.
    limits: BTreeMap<PluginName, u64>,
    copies: Copies,
    /// Who copies has it for reading, who removes for writing.
    copying: Arc<RwLock<()>>,
}

/// An agent that is out of service, and whose file is nobody's for now. The file is let go first.
struct Alone {
    _reserved: Reserved,
    held: Held,
}

/// Where copies are while they are on their way.
pub(crate) struct Copies {
    folder: PathBuf,
    next: AtomicU64,
    places: Arc<Semaphore>,
}

impl Copies {
    /// A folder for copies within that of all agents. What an earlier host left in it is removed.
    pub(crate) fn open(agents: &Path) -> Result<Self, FileError> {
        // No plugin is called that, so it is no agent's.
        let folder = agents.join(".copies");
        let cleared = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&folder),
        };
        cleared.map_err(|error| FileError::Io { path: folder.clone(), error })?;
        Ok(Self { folder, next: AtomicU64::new(0), places: Arc::new(Semaphore::new(COPIES)) })
    }

    fn scratch(&self) -> Result<Scratch, KeeperError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{COPIES} agents are being copied already; ask again when some are done");
            KeeperError::Failed(Failure::new(Code::Overloaded, message))
        })?;
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        Ok(Scratch::new(self.folder.join(name), place))
    }
}

impl Agents {
    pub(crate) fn new(
        databases: Databases,
        directory: Directory,
        engine: Arc<Engine>,
        limits: BTreeMap<PluginName, u64>,
        copies: Copies,
    ) -> Self {
        let copying = Arc::default();
        Self(Arc::new(Inner { databases, directory, engine, limits, copies, copying }))
    }

    /// Does what must come to its end, also where nobody waits for it any more.
    fn detached<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, KeeperError>> + Send + 'static,
    {
        let work = tokio::spawn(work(self.0.clone()));
        Box::pin(async move { work.await.unwrap_or_else(|error| Err(broken(&error))) })
    }
}

impl Keeper for Agents {
    fn list(
        &self,
        plugin: Option<PluginName>,
        after: Option<AgentId>,
        limit: usize,
    ) -> Answer<Vec<AgentState>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let kept = inner
                .blocking(move |databases| databases.list(plugin.as_ref(), after.as_ref(), limit))
                .await?;
            Ok(kept
                .into_iter()
                .map(|Kept { agent, bytes, modified }| AgentState {
                    bytes,
                    last_used: Some(modified),
                    ..inner.blank(agent)
                })
                .collect())
        })
    }

    fn state(&self, agent: AgentId) -> Answer<AgentState> {
        let inner = self.0.clone();
        Box::pin(async move { inner.state(agent).await })
    }

    fn remove(&self, agent: AgentId) -> Answer<Removed> {
        self.detached(|inner| async move { inner.remove(agent).await })
    }

    fn export(&self, agent: AgentId) -> Answer<Scratch> {
        let inner = self.0.clone();
        Box::pin(async move {
            let scratch = inner.copies.scratch()?;
            let copying = inner.copying.clone().read_owned().await;
            inner
                .blocking(move |databases| {
                    let _copying = copying;
                    databases.export(&agent, scratch.path())?;
                    Ok(scratch)
                })
                .await
        })
    }

    fn room(&self, agent: AgentId) -> Answer<(Scratch, u64)> {
        let inner = self.0.clone();
        Box::pin(async move {
            inner.untaken(&agent).await?;
            let limit = inner.limits.get(&agent.plugin).copied().unwrap_or(STORAGE);
            Ok((inner.copies.scratch()?, limit))
        })
    }

    fn import(&self, agent: AgentId, from: Scratch) -> Answer<()> {
        self.detached(|inner| async move {
            let _alone = inner.hold_untaken(&agent).await?;
            let imported = spawn_blocking({
                let databases = inner.databases.clone();
                move || databases.import(&agent, from.path())
            });
            match imported.await.map_err(|error| broken(&error))? {
                Err(FileError::NotOurs { reason, .. }) => Err(KeeperError::NotAnAgent(reason)),
                Err(FileError::Newer { found, known, .. }) => Err(KeeperError::NotAnAgent(format!(
                    "a newer rookery wrote it (its format is {found}, this one knows up to {known})"
                ))),
                imported => imported.map_err(refused),
            }
        })
    }

    fn fork(&self, from: AgentId, to: AgentId) -> Answer<()> {
        self.detached(|inner| async move {
            // It counts like a copy, though it needs no file of its own.
            let _place = inner.copies.scratch()?;
            let source = from.clone();
            if !inner.blocking(move |databases| Ok(databases.exists(&source))).await? {
                return Err(KeeperError::Missing(from));
            }
            let _alone = inner.hold_untaken(&to).await?;
            let _copying = inner.copying.clone().read_owned().await;
            inner.blocking(move |databases| databases.fork(&from, &to)).await
        })
    }
}

impl Inner {
    /// What is known of an agent that keeps nothing.
    fn blank(&self, agent: AgentId) -> AgentState {
        let activity = self.directory.activity(&agent);
        let served = self.directory.version(&agent.plugin).is_some();
        AgentState { agent, bytes: 0, last_used: None, activity, served, runs: None }
    }

    async fn state(&self, agent: AgentId) -> Result<AgentState, KeeperError> {
        let whose = agent.clone();
        let kept = self.blocking(move |databases| databases.kept(&whose)).await?;
        let runs = self.directory.count_runs(&agent).await.map_err(KeeperError::Failed)?;
        let state = AgentState {
            bytes: kept.as_ref().map_or(0, |kept| kept.bytes),
            last_used: kept.as_ref().map(|kept| kept.modified),
            runs,
            ..self.blank(agent)
        };
        let is_there = kept.is_some() || state.activity.live || runs.is_some_and(|runs| runs > 0);
        if is_there { Ok(state) } else { Err(KeeperError::Missing(state.agent)) }
    }

    async fn remove(&self, agent: AgentId) -> Result<Removed, KeeperError> {
        let whose = agent.clone();
        let (exists, kept) =
            self.blocking(move |databases| Ok((databases.exists(&whose), databases.kept(&whose)?))).await?;
        // Its file may be damaged beyond being known for one.
        if !exists {
            self.state(agent.clone()).await?;
        }
        let alone = self.hold(&agent).await?;
        let copying = self.copying.write().await;
        self.blocking(move |databases| databases.remove(&agent)).await?;
        drop(copying);
        let runs = alone.held.forget_runs().await.map_err(KeeperError::Failed)?;
        Ok(Removed { bytes: kept.map_or(0, |kept| kept.bytes), runs })
    }

    /// Takes an agent out of service and waits until nobody is at its file.
    async fn hold(&self, agent: &AgentId) -> Result<Alone, KeeperError> {
        let held = self.directory.hold(agent).await.map_err(KeeperError::Failed)?;
        let reserved = timeout(CLOSING, self.engine.reserve(agent)).await.map_err(|_| {
            let message = format!("the file of agent `{agent}` was not closed in time; ask again");
            KeeperError::Failed(Failure::new(Code::Internal, message))
        })?;
        Ok(Alone { _reserved: reserved, held })
    }

    /// The same for an agent that keeps nothing and is at nothing: holding it would end its runs.
    async fn hold_untaken(&self, agent: &AgentId) -> Result<Alone, KeeperError> {
        self.untaken(agent).await?;
        self.hold(agent).await
    }

    async fn untaken(&self, agent: &AgentId) -> Result<(), KeeperError> {
        let (whose, activity) = (agent.clone(), self.directory.activity(agent));
        let exists = self.blocking(move |databases| Ok(databases.exists(&whose))).await?;
        if exists {
            return Err(KeeperError::Taken(agent.clone()));
        }
        if activity.running + activity.queued > 0 {
            let message = format!("agent `{agent}` has runs that have not ended; ask again when they have");
            return Err(KeeperError::Failed(Failure::new(Code::Busy, message)));
        }
        Ok(())
    }

    /// Asks the disk, which may take its time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Databases) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, KeeperError> {
        let databases = self.databases.clone();
        let done = spawn_blocking(move || work(&databases)).await;
        done.map_err(|error| broken(&error))?.map_err(refused)
    }
}

fn refused(error: FileError) -> KeeperError {
    match error {
        FileError::Missing(agent) => KeeperError::Missing(agent),
        FileError::Taken(agent) => KeeperError::Taken(agent),
        error if error.is_full() => KeeperError::DiskFull,
        error => {
            tracing::error!("an agent's file could not be used: {error}");
            let message = "the host cannot use the agent's file; its log says why";
            KeeperError::Failed(Failure::new(Code::Internal, message))
        }
    }
}

fn broken(error: &tokio::task::JoinError) -> KeeperError {
    tracing::error!("looking after an agent broke off: {error}");
    KeeperError::Failed(Failure::new(Code::Internal, "this is a defect of the host; its log says more"))
}
