//! Turns for those who submit a run with a key, so that two with the same key cannot both be the first.
//!
//! Promises: one turn at a time for a key of an agent; those with other keys never wait for it.
//! Bounded by: those who hold or await a turn. A key that nobody needs is forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_core::AgentId;
use tokio::sync::OwnedMutexGuard;

/// The keys that somebody submits a run with.
#[derive(Default)]
pub(crate) struct Keyed(Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>);

type Name = (AgentId, String);

/// Held while a run with a key is submitted, and while waiting to.
pub(crate) struct Turn<'a> {
    keyed: &'a Keyed,
    name: Name,
    turn: Arc<tokio::sync::Mutex<()>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Keyed {
    /// Waits until nobody else submits a run with this key to this agent. How long that takes is up to them: whoever has the
    /// turn asks the archive once, and gives it back also where its client goes away.
    pub(crate) async fn turn(&self, agent: &AgentId, key: &str) -> Turn<'_> {
        let name = (agent.clone(), key.to_owned());
        let turn = self.keys().entry(name.clone()).or_default().clone();
        // Made before it waits: who stops waiting is forgotten too.
        let mut turn = Turn { keyed: self, name, turn, held: None };
        turn.held = Some(turn.turn.clone().lock_owned().await);
        turn
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Name, Arc<tokio::sync::Mutex<()>>>> {
        // Nothing panics with the lock held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys().len()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut keys = self.keyed.keys();
        // The map's and this one's: nobody else has or awaits it, and nobody can come in between.
        if Arc::strong_count(&self.turn) == 2 {
            keys.remove(&self.name);
        }
    }
}
