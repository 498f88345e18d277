//! What the writer has to do next, and who waits for it.
//!
//! Promises: whoever enters a source never waits for the disk; after the end, sources are told so instead of being
//! forgotten.
//! Bounded by: the number of runs, because a log is in here at most once (see [`Archive::wake`]).
//!
//! [`Archive::wake`]: rookery_agents::archive::Archive::wake

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rookery_agents::archive::{ArchiveError, Source};
use rookery_core::AgentId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::closed;

/// Between the handles and the writer.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes who waits for the writer.
    progress: Condvar,
}

/// What the writer shall do.
pub(crate) enum Next {
    /// Write what these have.
    Write(Vec<Arc<dyn Source>>),
    /// Remove a few runs of this agent; somebody waits, until [`Forget::done`].
    Forget(Forget),
    /// Remove a little of what is not kept any more.
    Sweep,
    /// Remove all of it; somebody waits, until [`Queue::swept`].
    SweepAll,
    /// Stop: everything is written.
    Stop,
}

/// An agent whose runs are being removed. Whoever waits is told that the runs are closed where it is dropped.
pub(crate) struct Forget {
    pub(crate) agent: AgentId,
    /// So many are gone.
    pub(crate) removed: u64,
    done: oneshot::Sender<Result<u64, ArchiveError>>,
}

impl Forget {
    pub(crate) fn done(self, result: Result<(), ArchiveError>) {
        // Nobody has to wait for it.
        let _ = self.done.send(result.map(|()| self.removed));
    }
}

/// A step of sweeping that is due for so long is taken though there is something to write: else a host that never
/// rests would never remove anything.
const OVERDUE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    sources: Vec<Arc<dyn Source>>,
    /// Somebody waits for one of them.
    hurried: bool,
    phase: Phase,
    /// No handle is left, so nobody will enter a source any more.
    abandoned: bool,
    forgets: VecDeque<Forget>,
    /// How the writer sleeps, if it does.
    sleep: Option<Sleep>,
    /// What was written since the last step of forgetting: who forgets and who writes take turns.
    wrote: bool,
    sweeps_asked: u64,
    sweeps_done: u64,
}

/// When to write.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// What nobody waits for is not written before this.
    pub(crate) gathered: Instant,
    /// Nor what somebody waits for before this, unless so many have come.
    pub(crate) together: Instant,
    pub(crate) crowd: usize,
}

/// How the writer sleeps.
struct Sleep {
    until: Instant,
    pace: Pace,
}

impl State {
    /// When what is here may be written; none where that is so whatever the clock says.
    fn due(&self, pace: Pace) -> Option<Instant> {
        match self.hurried {
            true if self.sources.len() >= pace.crowd => None,
            true => Some(pace.gathered.min(pace.together)),
            false => Some(pace.gathered),
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What is queued is still written.
    Closing,
    Closed,
}

impl Queue {
    pub(crate) fn enter(&self, source: Arc<dyn Source>) {
        let mut state = self.lock();
        state.sources.push(source);
        self.wake(&mut state);
    }

    /// Somebody waits for what was entered.
    pub(crate) fn hurry(&self) {
        let mut state = self.lock();
        // Where it is not here any more it is being written.
        if !state.sources.is_empty() && !std::mem::replace(&mut state.hurried, true) {
            self.wake(&mut state);
        }
    }

    /// Wakes the writer, once, if it would sleep past what there is to write. One that is at work looks by itself, and waking
    /// costs a system call.
    fn wake(&self, state: &mut State) {
        let oversleeps = |sleep: &Sleep| state.due(sleep.pace).is_none_or(|due| sleep.until > due);
        if state.phase == Phase::Closed || state.sleep.as_ref().is_some_and(oversleeps) {
            state.sleep = None;
            self.work.notify_one();
        }
    }

    /// Waits until everything that was entered is written and the writer has let go of the database.
    pub(crate) fn close(&self) {
        let mut state = self.begin_closing();
        while state.phase != Phase::Closed {
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// There will be no more sources. Does not wait.
    pub(crate) fn abandon(&self) {
        self.begin_closing().abandoned = true;
    }

    /// Has the runs of an agent removed. Does not wait; the answer comes when all of it is done, and none at the end.
    pub(crate) fn forget(&self, agent: AgentId) -> oneshot::Receiver<Result<u64, ArchiveError>> {
        let (done, answer) = oneshot::channel();
        self.forget_on(Forget { agent, removed: 0, done });
        answer
    }

    /// There is more to remove.
    pub(crate) fn forget_on(&self, forget: Forget) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.forgets.push_back(forget);
            self.work.notify_one();
        }
    }

    /// Waits until everything is removed that is not kept any more.
    pub(crate) fn sweep(&self) {
        let mut state = self.lock();
        state.sweeps_asked += 1;
        let mine = state.sweeps_asked;
        self.work.notify_one();
        while state.sweeps_done < mine && state.phase != Phase::Closed {
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The writer waits for what to do. It keeps to this pace unless the end is near, and does not sweep before `sweep`.
    pub(crate) fn next(&self, pace: Pace, sweep: Instant) -> Next {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if now >= sweep + OVERDUE {
                return Next::Sweep;
            }
            let wait = state.due(pace).filter(|due| *due > now && state.phase == Phase::Open);
            if (state.wrote || wait.is_some() || state.sources.is_empty())
                && let Some(forget) = state.forgets.pop_front()
            {
                state.wrote = false;
                return Next::Forget(forget);
            }
            let until = if state.sources.is_empty() {
                if state.phase != Phase::Open {
                    return Next::Stop;
                }
                if state.sweeps_done < state.sweeps_asked {
                    return Next::SweepAll;
                }
                if now >= sweep {
                    return Next::Sweep;
                }
                // Who comes before the next moment at which something may be written need not wake the writer for it.
                [pace.together, pace.gathered]
                    .into_iter()
                    .filter(|moment| *moment > now)
                    .fold(sweep, Instant::min)
            } else {
                let Some(until) = wait else {
                    state.hurried = false;
                    state.wrote = true;
                    return Next::Write(std::mem::take(&mut state.sources));
                };
                until
            };
            state.sleep = Some(Sleep { until, pace });
            let sleep = until.saturating_duration_since(now);
            state = self.work.wait_timeout(state, sleep).unwrap_or_else(PoisonError::into_inner).0;
            state.sleep = None;
        }
    }

    /// Whether the writer sleeps.
    #[cfg(test)]
    pub(crate) fn sleeps(&self) -> bool {
        self.lock().sleep.is_some()
    }

    /// Everything is removed that there was to remove when this was asked for.
    pub(crate) fn swept(&self) {
        let mut state = self.lock();
        state.sweeps_done = state.sweeps_asked;
        self.progress.notify_all();
    }

    /// The writer has let go of the database.
    pub(crate) fn closed(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        state.forgets.clear();
        self.progress.notify_all();
    }

    /// Tells every source that comes too late, until none can come any more. Not done where they come in: there a log may
    /// be in the middle of something.
    pub(crate) fn refuse(&self) {
        loop {
            let mut state = self.lock();
            while state.sources.is_empty() {
                if state.abandoned {
                    return;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let late = std::mem::take(&mut state.sources);
            drop(state);
            late.iter().for_each(|source| source.lost(&closed()));
        }
    }

    fn begin_closing(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        self.work.notify_one();
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
