//! What an agent keeps, and the gate before everything that leaves it.
//!
//! Promise: nothing leaves an agent before what it wrote until then is committed, and what a guest wrote that trapped is
//! undone. Where a commit fails the instance ends, since the guest was told that its writes had worked.
//! Ends when: nobody uses it any more; the file is closed after that, away from the threads that poll guests.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_core::AgentId;
use rookery_storage::{SqlError, Storage};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::gates::Gates;

/// One agent's storage. Who uses it shares it: the guest's calls, what polls the guest, and the clock that rings its alarms.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Kept>);

pub(crate) struct Kept {
    agent: AgentId,
    storage: Shared,
    /// Wakes who waits until nothing is written that is not committed.
    passed: Notify,
    gates: Gates,
}

/// An agent's storage, and who else looks at it without using it: what closes it where nothing does.
pub(crate) type Shared = Arc<Mutex<Storage>>;

/// Why an instance ends whose writes could not be committed.
#[derive(Debug, thiserror::Error)]
#[error("what it wrote could not be kept: {0}")]
pub(crate) struct NotKept(SqlError);

impl Gate {
    pub(crate) fn new(agent: &AgentId, storage: Shared, gates: Gates) -> Self {
        Self(Arc::new(Kept { agent: agent.clone(), storage, passed: Notify::new(), gates }))
    }

    pub(crate) fn shared(&self) -> &Arc<Kept> {
        &self.0
    }

    pub(crate) fn again(kept: Arc<Kept>) -> Self {
        Self(kept)
    }

    /// Reads or writes.
    pub(crate) fn storage<T>(&self, with: impl FnOnce(&mut Storage) -> T) -> T {
        with(&mut self.0.lock())
    }

    /// Lets something leave: commits what was written until now.
    pub(crate) fn pass(&self) -> Result<(), NotKept> {
        self.end(Storage::commit).map_err(NotKept)
    }

    /// What the instance wrote and did not commit is undone when it goes.
    pub(crate) fn undoes(&self) -> Undoes {
        Undoes(self.clone())
    }

    /// Does something that blocks with the storage when no transaction of the guest's is under way. That is so at its next
    /// await, or when its instance has gone.
    pub(crate) async fn between<T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Storage) -> T + Send + 'static,
    ) -> Option<T> {
        let mut work = Some(work);
        loop {
            let passed = self.0.passed.notified();
            tokio::pin!(passed);
            passed.as_mut().enable();
            let (gate, taken) = (self.clone(), work.take()?);
            let tried = spawn_blocking(move || {
                gate.storage(|storage| match storage.is_writing() {
                    true => Err(taken),
                    false => Ok(taken(storage)),
                })
            });
            match tried.await.ok()? {
                Ok(done) => return Some(done),
                Err(again) => work = Some(again),
            }
            passed.await;
        }
    }

    fn end<T>(&self, end: impl FnOnce(&mut Storage) -> T) -> T {
        let (ended, wrote) = self.storage(|storage| {
            let wrote = storage.is_writing();
            (end(storage), wrote)
        });
        if wrote {
            self.0.passed.notify_waiters();
        }
        ended
    }
}

/// See [`Gate::undoes`].
pub(crate) struct Undoes(Gate);

impl Drop for Undoes {
    fn drop(&mut self) {
        self.0.end(Storage::rollback);
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Storage> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let nothing = self.gates.unopened(&self.agent);
        let storage = mem::replace(&mut *self.lock(), nothing);
        if let Some(file) = self.gates.leave(&self.agent, storage.is_open()) {
            file.close(storage);
        }
    }
}
