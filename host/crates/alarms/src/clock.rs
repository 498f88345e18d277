//! One task for all alarms of a host: it sleeps until the first of them is due, and has it rung.
//!
//! Promises: an alarm rings not before it is due, at least once for each of its times, and exactly once where its run is done
//! and nothing crashes; it never rings twice at once. One that fails, or an agent that cannot be rung, holds up no other.
//! An alarm is late only by those before it in line, by [`LOOK_AGAIN`] after the wall clock was set or the machine has slept,
//! and, where its agent could not be rung, by a pause about as long as that lasted.
//! Bounded by: [`Limits`]. What only waits is an entry in the book: it has no task and is not looked at.
//! Ends when: [`Clock::stop`], or the last handle is dropped. What rings then goes on to its outcome, which is written; what
//! is cut off rings again when the host is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rookery_core::AgentId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::book::{Book, LOOK_AGAIN, Limits};
use crate::kept::Kept;
use crate::pause::pause;
use crate::ringer::Ringer;
use crate::turn::Turn;

/// What time it is, in milliseconds since 1970-01-01T00:00:00Z. It may jump.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's wall clock. What is before 1970 is 1970.
pub fn system_clock() -> WallClock {
    let since = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Arc::new(move || u64::try_from(since().as_millis()).unwrap_or(u64::MAX))
}

/// The clock. A handle; all of them are the same.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
    _running: Arc<DropGuard>,
}

/// The clock's works, to be [started](Works::start). Apart from the clock, as what keeps alarms tells it of them.
pub struct Works(Arc<Shared>);

pub(crate) struct Shared {
    book: Mutex<Book>,
    /// Fires when there may be something to do earlier than it seemed.
    changed: Notify,
    wall: WallClock,
    pub(crate) stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Agents that are read at once at the start: some 100 KB.
const PAGE: usize = 1_000;

impl Clock {
    /// A clock that stands still.
    pub fn new(limits: Limits, wall: WallClock) -> (Self, Works) {
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(limits)),
            changed: Notify::new(),
            wall,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let running = Arc::new(shared.stopping.clone().drop_guard());
        (Self { shared: shared.clone(), _running: running }, Works(shared))
    }

    /// An alarm of this agent rings at this time, as it is on disk. Never waits.
    ///
    /// To be told after every commit that set one. Too early a time costs one look; that an alarm was cancelled or put off need
    /// not be told.
    pub fn due(&self, agent: &AgentId, at: u64) {
        let first = self.shared.book().due(agent, at);
        if first {
            self.shared.changed.notify_one();
        }
    }

    /// Begins no more rings.
    pub fn stop(&self) {
        self.shared.stopping.cancel();
    }

    /// Waits until the clock was stopped and every ring is settled. Their runs have to end for that: stop the clock, then
    /// drain the agents, then wait here.
    pub async fn settled(&self) {
        self.shared.stopping.cancelled().await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// How many agents are in the book.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.shared.book().known()
    }
}

impl Works {
    /// Reads when each agent's first alarm rings, and has them rung from now on. To be called within a runtime.
    pub fn start(self, kept: Arc<dyn Kept>, ringer: Arc<dyn Ringer>) {
        let Self(shared) = self;
        shared.tasks.spawn(shared.clone().read_all(kept.clone()));
        shared.tasks.spawn(shared.clone().run(kept, ringer));
    }
}

impl Shared {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> u64 {
        (self.wall)()
    }

    /// There may be something to do.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    async fn run(self: Arc<Self>, kept: Arc<dyn Kept>, ringer: Arc<dyn Ringer>) {
        let up_since = self.now();
        while !self.stopping.is_cancelled() {
            let step = self.book().step(self.now(), Instant::now());
            for (agent, ringing) in step.turns {
                let turn = Turn::new(self.clone(), agent, up_since);
                self.tasks.spawn(turn.take(kept.clone(), ringer.clone(), ringing));
            }
            let over = async {
                match step.wait {
                    Some(wait) => sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => {}
                () = self.changed.notified() => {}
                () = over => {}
            }
        }
    }

    async fn read_all(self: Arc<Self>, kept: Arc<dyn Kept>) {
        let (mut after, mut in_vain) = (None, 0);
        while !self.stopping.is_cancelled() {
            match kept.page(after.clone(), PAGE).await {
                Ok(page) => {
                    let mut book = self.book();
                    for (agent, due) in &page {
                        book.due(agent, *due);
                    }
                    drop(book);
                    self.changed();
                    if page.len() < PAGE {
                        return;
                    }
                    after = page.into_iter().last().map(|(agent, _)| agent);
                }
                Err(error) => {
                    in_vain += 1;
                    let wait = pause(in_vain).min(LOOK_AGAIN);
                    tracing::error!(
                        "the host's alarms cannot be read, so some do not ring; again in {wait:?}: {error}"
                    );
                    self.stopping.run_until_cancelled(sleep(wait)).await;
                }
            }
        }
    }
}
