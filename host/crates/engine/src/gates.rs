//! Which agents' storage is in use, so that nobody opens a second one.
//!
//! Promise: at any time one storage writes an agent's file.
//! Bounded by: an entry for each agent that is live or whose alarm is looked at, and one for each plugin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rookery_core::{AgentId, PluginName};
use rookery_storage::{Databases, Storage};
use tokio::task::yield_now;

use crate::closing::{Closing, File};
use crate::gate::{Gate, Kept};

/// The storages of one host.
#[derive(Clone)]
pub(crate) struct Gates(Arc<Inner>);

struct Inner {
    databases: Databases,
    closing: Closing,
    open: Mutex<HashMap<AgentId, Weak<Kept>>>,
    /// What an agent of each plugin may keep, in bytes.
    limits: Mutex<HashMap<PluginName, u64>>,
}

/// What an agent may keep whose plugin is not served: nothing is written for it but how its alarms fared.
const LIMIT: u64 = 1 << 30;

impl Gates {
    pub(crate) fn new(databases: Databases) -> Self {
        let (closing, open, limits) = Default::default();
        Self(Arc::new(Inner { databases, closing, open, limits }))
    }

    pub(crate) fn databases(&self) -> &Databases {
        &self.0.databases
    }

    pub(crate) fn set_limit(&self, plugin: &PluginName, bytes: u64) {
        lock(&self.0.limits).insert(plugin.clone(), bytes);
    }

    /// The agent's storage: the one that is in use, or a new one.
    pub(crate) async fn of(&self, agent: &AgentId) -> Gate {
        loop {
            self.0.closing.wait(agent).await;
            if let Some(gate) = self.take(agent) {
                return gate;
            }
            // The last one who used it is just leaving.
            yield_now().await;
        }
    }

    /// Waits until the agent's file is closed, where nobody uses it any more.
    pub(crate) async fn closed(&self, agent: &AgentId) {
        while lock(&self.0.open).get(agent).is_some_and(|kept| kept.strong_count() == 0) {
            yield_now().await;
        }
        self.0.closing.wait(agent).await;
    }

    /// Waits until the files of all agents are closed that nobody uses any more.
    pub(crate) async fn all_closed(&self) {
        while lock(&self.0.open).values().any(|kept| kept.strong_count() == 0) {
            yield_now().await;
        }
        self.0.closing.wait_for_all().await;
    }

    fn take(&self, agent: &AgentId) -> Option<Gate> {
        let mut open = lock(&self.0.open);
        if let Some(kept) = open.get(agent) {
            return kept.upgrade().map(Gate::again);
        }
        let limit = lock(&self.0.limits).get(&agent.plugin).copied().unwrap_or(LIMIT);
        let gate = Gate::new(agent, self.0.databases.agent(agent, limit), self.clone());
        open.insert(agent.clone(), Arc::downgrade(gate.shared()));
        Some(gate)
    }

    /// A storage that has nothing open.
    pub(crate) fn unopened(&self, agent: &AgentId) -> Storage {
        self.0.databases.agent(agent, 0)
    }

    /// Nobody uses the agent's storage any more. Its file, where it has one that is to be closed, is being closed from now on.
    pub(crate) fn leave(&self, agent: &AgentId, closes: bool) -> Option<File> {
        let file = closes.then(|| self.0.closing.begin(agent));
        lock(&self.0.open).remove(agent);
        file
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
