//! Agents whose file is being closed after their instance has gone.
//!
//! Promise: an agent's next instance, and who wants its file, find it closed. Nothing is ever written by two. What has much
//! to give back to the disk holds up nobody else's.
//! Bounded by: [`CLOSERS`] at once; while [`MOST`] files wait for it no other is opened.
//! Ends when: the disk has done its part, which nobody can hurry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_core::AgentId;
use rookery_storage::Storage;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;

/// How many files are closed at once. What closing takes is mostly the processor's time; each thread that does it has memory
/// of its own that the program's allocator keeps, and sixty of them kept 200 MiB.
const CLOSERS: usize = 4;

/// While so many files are to be closed, launches wait until there are fewer: a disk that is slower than the load is felt by
/// the load, and not by memory. A file that is open takes 52 KiB and more.
const MOST: usize = 256;

/// The files of one host that are being closed.
#[derive(Clone, Debug)]
pub(crate) struct Closing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Mutex<HashMap<AgentId, usize>>,
    closed: Notify,
    /// Wakes one of those who wait for room, who wakes the next.
    room: Notify,
    closers: Arc<Semaphore>,
}

/// A file that is being closed, until this is dropped.
pub(crate) struct File {
    closing: Closing,
    agent: AgentId,
}

impl Default for Closing {
    fn default() -> Self {
        let closers = Arc::new(Semaphore::new(CLOSERS));
        Self(Arc::new(Inner { files: Mutex::default(), closed: Notify::new(), room: Notify::new(), closers }))
    }
}

impl Closing {
    /// Waits until another file may be opened.
    pub(crate) async fn room(&self) {
        while self.files().len() >= MOST {
            self.0.room.notified().await;
        }
        // Who else waits may have room too, whether or not another file is closed after this.
        self.0.room.notify_one();
    }

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
    /// Closes it, which this storage had open, away from the threads that poll guests. Where there is no runtime any more it
    /// blocks.
    pub(crate) fn close(self, mut storage: Storage) {
        let Ok(runtime) = Handle::try_current() else {
            while self.step(&mut storage) {}
            return;
        };
        runtime.spawn(async move {
            let mut open = Some((storage, self));
            while let Some((mut storage, file)) = open {
                // Who waits longest has the next step, so a file with many goes behind the others after each.
                let turn = file.closing.0.closers.clone().acquire_owned().await;
                let step = spawn_blocking(move || {
                    let more = file.step(&mut storage);
                    drop(turn);
                    more.then_some((storage, file))
                });
                open = step.await.ok().flatten();
            }
        });
    }

    fn step(&self, storage: &mut Storage) -> bool {
        storage.close_step().unwrap_or_else(|error| {
            let agent = &self.agent;
            tracing::warn!(%agent, "its file was not closed well: {error}; nothing that was committed is lost");
            false
        })
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
        self.closing.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn while_too_many_are_being_closed_no_other_is_opened_and_then_all_who_waited_are() {
        let agent =
            |n: usize| AgentId { plugin: "p".parse().unwrap(), name: format!("n{n}").parse().unwrap() };
        let closing = Closing::default();
        let mut files: Vec<_> = (1..MOST).map(|n| closing.begin(&agent(n))).collect();
        assert!(closing.room().now_or_never().is_some());
        files.extend([closing.begin(&agent(0)), closing.begin(&agent(MOST))]);
        assert!(closing.room().now_or_never().is_none());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let closing = closing.clone();
            waiting.spawn(async move { closing.room().await });
        }
        tokio::task::yield_now().await;
        files.pop();
        tokio::task::yield_now().await;
        assert!(waiting.try_join_next().is_none(), "there are as many as may be");
        // One that is closed is enough for all of them.
        files.pop();
        tokio::time::timeout(std::time::Duration::from_secs(60), waiting.join_all()).await.unwrap();
    }

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
