//! Which agents' storage is in use, so that nobody opens a second one.
//!
//! Promise: at any time one storage writes an agent's file, and none while the file is [reserved](Gates::reserve).
//! Bounded by: an entry for each agent that is live, whose alarm is looked at or whose file is being closed, and one for each
//! plugin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rookery_core::{AgentId, PluginName};
use rookery_storage::{Databases, Storage};
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::closing::{Closing, File};
use crate::gate::{Gate, Kept, Shared};
use crate::unused::close_unused;

/// The storages of one host.
#[derive(Clone)]
pub(crate) struct Gates(Arc<Inner>);

struct Inner {
    databases: Databases,
    closing: Closing,
    open: Mutex<HashMap<AgentId, Open>>,
    /// Wakes who waits until nobody uses a file.
    left: Notify,
    /// What an agent of each plugin may keep, in bytes.
    limits: Mutex<HashMap<PluginName, u64>>,
}

/// A storage that is in use.
struct Open {
    kept: Weak<Kept>,
    storage: Shared,
}

/// Somebody uses the file.
struct InUse;

/// What an agent may keep whose plugin is not served: nothing is written for it but how its alarms fared.
const LIMIT: u64 = 1 << 30;

impl Gates {
    /// The storages of these files, of which those are closed that nothing has used for `close_after`. On a runtime, which
    /// sees to that.
    pub(crate) fn new(databases: Databases, close_after: Duration) -> Self {
        let (closing, open, left, limits) = Default::default();
        let inner = Arc::new(Inner { databases, closing, open, left, limits });
        let gates = Arc::downgrade(&inner);
        tokio::spawn(close_unused(close_after, move || {
            let inner = gates.upgrade()?;
            let open = lock(&inner.open);
            Some(open.values().map(|open| open.storage.clone()).collect())
        }));
        Self(inner)
    }

    pub(crate) fn databases(&self) -> &Databases {
        &self.0.databases
    }

    pub(crate) fn set_limit(&self, plugin: &PluginName, bytes: u64) {
        lock(&self.0.limits).insert(plugin.clone(), bytes);
    }

    /// The agent's storage: the one that is in use, or a new one.
    pub(crate) async fn of(&self, agent: &AgentId) -> Gate {
        self.0.closing.room().await;
        loop {
            self.0.closing.wait(agent).await;
            if let Some(gate) = self.take(agent) {
                return gate;
            }
            // The last one who used it is just leaving.
            yield_now().await;
        }
    }

    /// Waits until nobody uses the agent's file and it is closed. Who wants it after that waits until this is dropped.
    pub(crate) async fn reserve(&self, agent: &AgentId) -> File {
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            self.0.closing.wait(agent).await;
            match self.try_reserve(agent) {
                Ok(Some(file)) => return file,
                // Somebody else was first, and is waited for as who closes it is.
                Ok(None) => {}
                Err(InUse) => left.await,
            }
        }
    }

    /// None where the file is being closed or is reserved.
    fn try_reserve(&self, agent: &AgentId) -> Result<Option<File>, InUse> {
        let open = lock(&self.0.open);
        if open.contains_key(agent) {
            return Err(InUse);
        }
        Ok((!self.0.closing.has(agent)).then(|| self.0.closing.begin(agent)))
    }

    /// Waits until the files of all agents are closed that nobody uses any more.
    pub(crate) async fn all_closed(&self) {
        while lock(&self.0.open).values().any(|open| open.kept.strong_count() == 0) {
            yield_now().await;
        }
        self.0.closing.wait_for_all().await;
    }

    fn take(&self, agent: &AgentId) -> Option<Gate> {
        let mut open = lock(&self.0.open);
        // Somebody may have reserved it since it was waited for.
        if self.0.closing.has(agent) {
            return None;
        }
        if let Some(open) = open.get(agent) {
            return open.kept.upgrade().map(Gate::again);
        }
        let limit = lock(&self.0.limits).get(&agent.plugin).copied().unwrap_or(LIMIT);
        let storage = Arc::new(Mutex::new(self.0.databases.agent(agent, limit)));
        let gate = Gate::new(agent, storage.clone(), self.clone());
        open.insert(agent.clone(), Open { kept: Arc::downgrade(gate.shared()), storage });
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
        self.0.left.notify_waiters();
        file
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rookery_core::Durability;

    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId { plugin: "p".parse().unwrap(), name: name.parse().unwrap() }
    }

    #[tokio::test]
    async fn who_reserves_a_file_waits_for_its_users_and_later_users_wait_for_him() {
        let folder = tempfile::tempdir().unwrap();
        let databases = Databases::open(folder.path().join("agents"), Durability::Normal).unwrap();
        let gates = Gates::new(databases, Duration::from_secs(10));
        let alice = agent("alice");
        let first = gates.of(&alice).await;
        first.storage(|storage| storage.set("a", b"1").map(|()| storage.commit())).unwrap().unwrap();
        let second = gates.of(&alice).await;
        let reserving = tokio::spawn({
            let (gates, alice) = (gates.clone(), alice.clone());
            async move { gates.reserve(&alice).await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!reserving.is_finished(), "the second one has it");
        drop(second);
        let reserved = reserving.await.unwrap();
        assert!(!folder.path().join("agents/p/alice.db-wal").exists(), "it is closed");

        assert!(gates.of(&alice).now_or_never().is_none());
        assert!(gates.reserve(&alice).now_or_never().is_none());
        let _bob = gates.of(&agent("bob")).now_or_never().expect("another file is another matter");
        let waiting = tokio::spawn(async move { gates.of(&alice).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(reserved);
        let found = waiting.await.unwrap().storage(|storage| storage.get("a"));
        assert_eq!(found, Ok(Some(b"1".into())));
    }

    #[tokio::test]
    async fn who_has_much_to_give_back_to_the_disk_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let databases = Databases::open(folder.path().join("agents"), Durability::Normal).unwrap();
        let gates = Gates::new(databases, Duration::from_secs(10));
        // More of them than are closed at once, and each gives back 24 MiB, four at a time.
        let large: Vec<_> = (0..8).map(|n| agent(&format!("large-{n}"))).collect();
        let mut open = Vec::new();
        for agent in &large {
            let gate = gates.of(agent).await;
            gate.storage(|storage| {
                for n in 0..24 {
                    storage.set(&format!("k{n}"), &[1; 1 << 20]).unwrap();
                }
                storage.commit().unwrap();
                for n in 0..24 {
                    storage.delete(&format!("k{n}")).unwrap();
                }
                storage.commit().unwrap();
            });
            open.push(gate);
        }
        let small = agent("small");
        let gate = gates.of(&small).await;
        gate.storage(|storage| storage.set("a", b"1").map(|()| storage.commit())).unwrap().unwrap();
        drop(open);
        drop(gate);
        gates.0.closing.wait(&small).await;
        assert!(large.iter().all(|large| gates.0.closing.has(large)), "it did not wait for any of them");
        gates.all_closed().await;
        for agent in &large {
            let size = folder.path().join(format!("agents/p/{}.db", agent.name)).metadata().unwrap().len();
            assert!(size < 4 << 20, "{agent}: {size}");
        }
    }
}
