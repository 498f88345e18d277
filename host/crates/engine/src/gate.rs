//! What an agent keeps, and the gate before everything that leaves it.
//!
//! Promise: nothing leaves an agent before what it wrote until then is committed, and what a guest wrote that trapped is
//! undone. Where a commit fails the instance ends, since the guest was told that its writes had worked.
//! Ends when: the instance is dropped; the file is closed after that, away from the threads that poll guests.

use std::sync::{Arc, Mutex, PoisonError};

use rookery_core::AgentId;
use rookery_storage::{SqlError, Storage};
use tokio::runtime::Handle;

use crate::closing::Closing;

/// One agent's storage. The guest's calls and what polls the guest share it, and are never at it at once.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<Storage>>);

/// Why an instance ends whose writes could not be committed.
#[derive(Debug, thiserror::Error)]
#[error("what it wrote could not be kept: {0}")]
pub(crate) struct NotKept(SqlError);

impl Gate {
    pub(crate) fn new(storage: Storage) -> Self {
        Self(Arc::new(Mutex::new(storage)))
    }

    /// Reads or writes.
    pub(crate) fn storage<T>(&self, with: impl FnOnce(&mut Storage) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets something leave: commits what was written until now.
    pub(crate) fn pass(&self) -> Result<(), NotKept> {
        self.storage(Storage::commit).map_err(NotKept)
    }

    /// Closes the file when the instance goes.
    pub(crate) fn closes(&self, agent: &AgentId, closing: &Closing) -> Closes {
        Closes { gate: self.clone(), agent: agent.clone(), closing: closing.clone() }
    }
}

/// See [`Gate::closes`].
pub(crate) struct Closes {
    gate: Gate,
    agent: AgentId,
    closing: Closing,
}

impl Drop for Closes {
    fn drop(&mut self) {
        if !self.gate.storage(|storage| storage.is_open()) {
            return;
        }
        let (gate, file) = (self.gate.clone(), self.closing.begin(&self.agent));
        let close = move || {
            if let Err(error) = gate.storage(Storage::close) {
                let agent = file.agent();
                tracing::warn!(%agent, "its file was not closed well: {error}; nothing that was committed is lost");
            }
            drop(file);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(close)),
            Err(_) => close(),
        }
    }
}
