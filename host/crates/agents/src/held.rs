//! Taking an agent out of service, for what must not happen beside its instance.
//!
//! Promise: while an agent is held it has no instance and takes no runs.
//! Bounded by: [`LETTING_GO`], where its instance does not go.

use std::time::Duration;

use rookery_core::{AgentId, Code, Failure};
use tokio::time::timeout;

use crate::directory::{Directory, held};

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

impl Drop for Held {
    fn drop(&mut self) {
        self.directory.shared.agents().held.remove(&self.agent);
    }
}
