//! Turns: how guests that compute for long share the host's threads.
//!
//! Promise: a guest that does not come to an await gives up its thread within two ticks, and goes on only when it is
//! its turn. There are fewer turns than threads, so one thread is always free for those who need it for a moment.
//! Bounded by: two ticks of [`TICK`] a turn; turns are given in the order in which they were asked for.
//! Costs: nothing for a guest whose call takes less than a tick.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Engine, EngineWeak, Store, UpdateDeadline};

/// How long a guest may compute without giving up its thread. The work of switching is some microseconds, so a tick of
/// this length costs well under one per cent of a computing guest's time, and nobody waits longer than a tick for
/// a thread.
const TICK: Duration = Duration::from_millis(5);

/// Turns the epoch of an engine, tick by tick, for as long as it lives. On a thread of its own: were it a task, guests
/// that hold all threads would keep it from ever telling them.
pub(crate) struct Ticker {
    ticks: Arc<AtomicU64>,
    _stop: mpsc::Sender<()>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let ticks = Arc::<AtomicU64>::default();
        let (engine, counted) = (engine.weak(), ticks.clone());
        thread::Builder::new().name("epoch".into()).spawn(move || tick(&engine, &counted, &stopped))?;
        Ok(Self { ticks, _stop: stop })
    }
}

fn tick(engine: &EngineWeak, ticks: &AtomicU64, stopped: &mpsc::Receiver<()>) {
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
        let Some(engine) = engine.upgrade() else { return };
        ticks.fetch_add(1, Ordering::Relaxed);
        engine.increment_epoch();
    }
}

/// The turns of one host.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    ticks: Arc<AtomicU64>,
    free: Arc<Semaphore>,
}

impl Turns {
    /// One turn fewer than there are threads, and at least one.
    pub(crate) fn new(ticker: &Ticker, threads: usize) -> Self {
        let free = Arc::new(Semaphore::new(threads.saturating_sub(1).max(1)));
        Self { ticks: ticker.ticks.clone(), free }
    }

    /// Makes the store's guest take turns. What runs the guest must be wrapped in the returned [`Turn::polls`].
    pub(crate) fn apply<T: 'static>(&self, store: &mut Store<T>) -> Turn {
        let turn = Turn { ticks: self.ticks.clone(), state: Arc::default() };
        let (free, taking) = (self.free.clone(), turn.clone());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            // The deadline also passes while the guest waits; only a guest that used up a tick must leave.
            if taking.used_up() {
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(next(free.clone(), taking.clone()))))
            } else {
                Ok(UpdateDeadline::Continue(1))
            }
        });
        turn
    }
}

async fn next(free: Arc<Semaphore>, turn: Turn) {
    // Leaving the thread ends the turn it had (see `Polls`), so nobody takes two in a row while others wait.
    tokio::task::yield_now().await;
    if let Ok(permit) = free.acquire_owned().await {
        turn.state().held = Some(permit);
    }
}

/// What one instance has of turns.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    ticks: Arc<AtomicU64>,
    state: Arc<Mutex<TurnState>>,
}

#[derive(Debug, Default)]
struct TurnState {
    /// The tick at which the guest came to its thread.
    came: u64,
    held: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Polls `inner`, noting when the guest comes to a thread and ending its turn when it leaves.
    pub(crate) fn polls<F: Future>(self, inner: F) -> Polls<F> {
        Polls { inner: Box::pin(inner), turn: self }
    }

    /// Whether the guest has had its thread for a whole tick.
    fn used_up(&self) -> bool {
        self.ticks.load(Ordering::Relaxed).saturating_sub(self.state().came) >= 2
    }

    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Turn::polls`].
pub(crate) struct Polls<F> {
    inner: Pin<Box<F>>,
    turn: Turn,
}

impl<F: Future> Future for Polls<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.turn.state().came = self.turn.ticks.load(Ordering::Relaxed);
        let polled = self.inner.as_mut().poll(cx);
        self.turn.state().held = None;
        polled
    }
}
