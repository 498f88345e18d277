//! Taking an agent out of service, for what must not happen beside its instance.
//!
//! Promise: while an agent is held it has no instance and takes no runs. So nothing comes after what is forgotten of it.
//! Bounded by: [`LETTING_GO`], where its instance does not go.

use std::time::Duration;

use rookery_core::{AgentId, Code, Failure};
use tokio::time::timeout;

use crate::directory::{Directory, WRITING, held};

/// Dropping an instance takes less than a millisecond; this is for a machine under load.
const LETTING_GO: Duration = Duration::from_secs(5);

/// An agent that is out of service until this is dropped.
#[must_use]
pub struct Held {
    directory: Directory,
    agent: AgentId,
}

impl Directory {
    /// Cancels the agent's runs, drops its instance, and takes no runs for it until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Code::Busy`] where it is held already.
    pub async fn hold(&self, agent: &AgentId) -> Result<Held, Failure> {
        let (runs, stop) = {
            let mut agents = self.shared.agents();
            if !agents.held.insert(agent.clone()) {
                return Err(held(agent));
            }
            let known = agents.known.get(agent);
            known.map(|known| (known.unfinished.clone(), known.stop.clone())).unzip()
        };
        let guard = Held { directory: self.clone(), agent: agent.clone() };
        // First, so that they end as cancelled and not as interrupted.
        for run in runs.into_iter().flatten() {
            run.cancel();
        }
        if let Some(stop) = stop {
            stop.cancel();
        }
        if timeout(LETTING_GO, self.gone(agent)).await.is_err() {
            let message =
                format!("agent `{agent}` did not let go of its instance; this is a defect of the host");
            return Err(Failure::new(Code::Internal, message));
        }
        Ok(guard)
    }

    async fn gone(&self, agent: &AgentId) {
        loop {
            let left = self.shared.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if !self.shared.agents().known.contains_key(agent) {
                return;
            }
            left.await;
        }
    }
}

impl Held {
    /// Removes all runs that are kept of the agent, and says how many there were.
    ///
    /// # Errors
    ///
    /// [`Code::Internal`] where the archive does not write its last runs, or not remove them.
    pub async fn forget_runs(&self) -> Result<u64, Failure> {
        let (shared, agent) = (&self.directory.shared, &self.agent);
        if timeout(WRITING, shared.settled_of(agent)).await.is_err() {
            let message = format!("the runs of agent `{agent}` were not written in time; ask again");
            return Err(Failure::new(Code::Internal, message));
        }
        let Some(archiving) = &shared.archiving else { return Ok(0) };
        archiving.archive.forget(agent.clone()).await.map_err(|error| {
            tracing::error!(%agent, "the runs of an agent cannot be removed: {error}");
            let message = format!("the host cannot remove the runs of agent `{agent}`; its log says why");
            Failure::new(Code::Internal, message)
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.directory.shared.agents().held.remove(&self.agent);
    }
}
