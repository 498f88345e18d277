//! Agents in a data folder, without a host. Everything here blocks.
//!
//! Promises: what changes something is refused while a host uses the folder; looking changes nothing, and makes no folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rookery_agents::archive::Archive;
use rookery_archive::Runs;
use rookery_client::Agent;
use rookery_core::{AgentId, Durability, PluginName, rfc3339};
use rookery_storage::{Databases, FileError, Kept};
use tokio::runtime::Handle;

use crate::command::Hint;
use crate::lock::{Lock, LockError};

/// The agents of a data folder.
pub(crate) struct Files {
    data: PathBuf,
}

/// Agents that are listed at a time.
const PAGE: usize = 1000;

impl Files {
    pub(crate) fn new(data: PathBuf) -> Self {
        Self { data }
    }

    /// Agents that keep something, ordered.
    pub(crate) fn list(&self, plugin: Option<&PluginName>) -> anyhow::Result<Vec<Agent>> {
        let Some(databases) = self.looking()? else { return Ok(Vec::new()) };
        let mut agents: Vec<Kept> = Vec::new();
        loop {
            let after = agents.last().map(|kept| kept.agent.clone());
            let page = databases.list(plugin, after.as_ref(), PAGE).map_err(refused)?;
            let full = page.len() == PAGE;
            agents.extend(page);
            if !full {
                return agents.into_iter().map(|kept| described(&kept.agent, Some(&kept), None)).collect();
            }
        }
    }

    /// All that is known of an agent.
    pub(crate) fn state(&self, agent: &AgentId) -> anyhow::Result<Agent> {
        let kept = match self.looking()? {
            Some(databases) => databases.kept(agent).map_err(refused)?,
            None => None,
        };
        let runs = rookery_archive::count(&self.data, agent).map_err(closed)?;
        if kept.is_none() && runs == 0 {
            return Err(self.nothing_of(agent));
        }
        described(agent, kept.as_ref(), Some(runs))
    }

    /// Removes an agent and its runs, and says what went.
    pub(crate) fn remove(&self, agent: &AgentId) -> anyhow::Result<Agent> {
        self.looking()?;
        let (databases, _lock) = self.changing()?;
        // First, so that nothing is removed where they cannot be.
        let runs = self.runs()?;
        let kept = databases.kept(agent).map_err(refused)?;
        let removed = databases.remove(agent).map_err(refused)?;
        let forgotten = match runs {
            Some(runs) => {
                let forgotten = Handle::current().block_on(runs.forget(agent.clone()));
                runs.close();
                forgotten.context("its runs are still there")?
            }
            None => 0,
        };
        if !removed && forgotten == 0 {
            return Err(self.nothing_of(agent));
        }
        described(agent, kept.as_ref(), Some(forgotten))
    }

    /// Writes what an agent keeps into a file, and says how many bytes that are.
    pub(crate) fn export(&self, agent: &AgentId, to: &Path) -> anyhow::Result<u64> {
        let Some(databases) = self.looking()? else { return Err(self.nothing_of(agent)) };
        let to = std::path::absolute(to)?;
        databases.export(agent, &to).map_err(refused)?;
        Ok(fs::metadata(&to)?.len())
    }

    /// Makes a file an agent's.
    pub(crate) fn import(&self, agent: &AgentId, from: &Path) -> anyhow::Result<Agent> {
        let from = std::path::absolute(from)?;
        let (databases, _lock) = self.changing()?;
        databases.import(agent, &from).map_err(refused)?;
        described(agent, databases.kept(agent).map_err(refused)?.as_ref(), None)
    }

    /// Begins an agent with what another one keeps.
    pub(crate) fn fork(&self, from: &AgentId, to: &AgentId) -> anyhow::Result<Agent> {
        self.looking()?;
        let (databases, _lock) = self.changing()?;
        databases.fork(from, to).map_err(refused)?;
        described(to, databases.kept(to).map_err(refused)?.as_ref(), None)
    }

    fn folder(&self) -> PathBuf {
        self.data.join("agents")
    }

    /// For looking; none where no agent has kept anything yet.
    fn looking(&self) -> anyhow::Result<Option<Databases>> {
        if !self.data.is_dir() {
            let error = anyhow::anyhow!("there is no data folder `{}`", self.data.display());
            return Err(error.context(Hint::new("name it with --data, or a running host with --admin")));
        }
        let folder = self.folder();
        folder.is_dir().then(|| Databases::open(folder, Durability::Full).map_err(refused)).transpose()
    }

    /// For changing something, while no host does.
    fn changing(&self) -> anyhow::Result<(Databases, Lock)> {
        let databases = Databases::open(self.folder(), Durability::Full).map_err(refused)?;
        let lock = Lock::take(&self.folder()).map_err(locked)?;
        Ok((databases, lock))
    }

    /// The runs, where there are any.
    fn runs(&self) -> anyhow::Result<Option<Runs>> {
        if !self.data.join("runs.db").exists() {
            return Ok(None);
        }
        // For how long they are kept is the host's affair.
        let ever = Duration::from_secs(u64::from(u32::MAX));
        let defaults = rookery_archive::Settings::new(&self.data);
        let settings = rookery_archive::Settings { keep_for: ever, keep: usize::MAX, ..defaults };
        Runs::open(&settings).map(Some).map_err(closed)
    }

    fn nothing_of(&self, agent: &AgentId) -> anyhow::Error {
        let error = anyhow::anyhow!("there is nothing of agent `{agent}` in `{}`", self.data.display());
        error.context(Hint::new("`rookery agents ls` lists the agents that keep something"))
    }
}

/// As a host would describe it, but for what only a host knows.
fn described(agent: &AgentId, kept: Option<&Kept>, runs: Option<u64>) -> anyhow::Result<Agent> {
    let used = |modified: SystemTime| format!(r#","last_used":"{}""#, rfc3339(modified));
    let used = kept.map(|kept| used(kept.modified)).unwrap_or_default();
    let runs = runs.map(|runs| format!(r#","runs":{runs}"#)).unwrap_or_default();
    let bytes = kept.map_or(0, |kept| kept.bytes);
    format!(r#"{{"agent":"{agent}","bytes":{bytes}{used}{runs}}}"#).parse().map_err(anyhow::Error::msg)
}

fn refused(error: FileError) -> anyhow::Error {
    let hint = Hint::new(error.hint());
    anyhow::Error::new(error).context(hint)
}

fn locked(error: LockError) -> anyhow::Error {
    let hint = Hint::new(error.hint());
    anyhow::Error::new(error).context(hint)
}

fn closed(error: rookery_database::OpenError) -> anyhow::Error {
    let hint = Hint::new(error.hint());
    anyhow::Error::new(error).context(hint)
}
