//! Agents whose file is being closed after their instance has gone.
//!
//! Promise: an agent's next instance, and who wants its file, find it closed. Nothing is ever written by two.
//! Bounded by: one entry for each file that is being closed.
//! Ends when: the disk has done its part, which nobody can hurry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_core::AgentId;
use tokio::sync::Notify;

/// The files of one host that are being closed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    files: Mutex<HashMap<AgentId, usize>>,
    closed: Notify,
}

/// A file that is being closed, until this is dropped.
pub(crate) struct File {
    closing: Closing,
    agent: AgentId,
}

impl Closing {
    pub(crate) fn begin(&self, agent: &AgentId) -> File {
        *self.files().entry(agent.clone()).or_default() += 1;
        File { closing: self.clone(), agent: agent.clone() }
    }

    /// Waits until the agent's file is closed.
    pub(crate) async fn wait(&self, agent: &AgentId) {
        self.until(|files| !files.contains_key(agent)).await;
    }

    /// Whether the agent's file is being closed.
    pub(crate) fn has(&self, agent: &AgentId) -> bool {
        self.files().contains_key(agent)
    }

    /// Waits until no file is being closed.
    pub(crate) async fn wait_for_all(&self) {
        self.until(HashMap::is_empty).await;
    }

    async fn until(&self, done: impl Fn(&HashMap<AgentId, usize>) -> bool) {
        loop {
            let closed = self.0.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if done(&self.files()) {
                return;
            }
            closed.await;
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<AgentId, usize>> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    pub(crate) fn agent(&self) -> &AgentId {
        &self.agent
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let mut files = self.closing.files();
        if let Some(count) = files.get_mut(&self.agent) {
            *count -= 1;
            if *count == 0 {
                files.remove(&self.agent);
            }
        }
        drop(files);
        self.closing.0.closed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_wants_a_file_waits_for_all_who_close_it_and_for_nobody_else() {
        let agent = |name: &str| AgentId { plugin: "p".parse().unwrap(), name: name.parse().unwrap() };
        let closing = Closing::default();
        let (first, second) = (closing.begin(&agent("a")), closing.begin(&agent("a")));
        assert!(closing.wait(&agent("b")).now_or_never().is_some());
        assert!(closing.wait_for_all().now_or_never().is_none());
        let waiting = tokio::spawn({
            let closing = closing.clone();
            async move { closing.wait(&agent("a")).await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        assert!(closing.wait_for_all().now_or_never().is_some());
    }
}
