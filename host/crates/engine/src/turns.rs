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

use futures_util::future::BoxFuture;
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
    /// A guest for which `waits_for` has something to wait for does that first.
    pub(crate) fn apply<T: 'static>(
        &self,
        store: &mut Store<T>,
        waits_for: impl Fn(&mut T) -> Option<BoxFuture<'static, ()>> + Send + Sync + 'static,
    ) -> Turn {
        let turn = Turn { ticks: self.ticks.clone(), state: Arc::default() };
        let (free, taking) = (self.free.clone(), turn.clone());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut store| {
            if let Some(wait) = waits_for(store.data_mut()) {
                return Ok(UpdateDeadline::YieldCustom(1, Box::pin(taking.clone().midway(wait))));
            }
            // The deadline also passes while the guest waits; only a guest that used up a tick must leave.
            if taking.used_up() {
                let next = next(free.clone(), taking.clone());
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(taking.clone().midway(next))))
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
    /// The guest has been stopped on its way from one await to the next.
    midway: bool,
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

    /// Whether the guest has been stopped on its way from one await to the next.
    pub(crate) fn is_midway(&self) -> bool {
        self.state().midway
    }

    /// Waits, while the guest is stopped.
    async fn midway(self, wait: impl Future<Output = ()>) {
        self.state().midway = true;
        wait.await;
        self.state().midway = false;
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use wasmtime::{Config, Linker, Module};

    use super::*;

    /// `(module (func (export "spin") (loop br 0)))`
    const SPIN: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x08\x01\x04spin\0\0\
                          \x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";

    fn turns(free: usize) -> Turns {
        Turns { ticks: Arc::default(), free: Arc::new(Semaphore::new(free)) }
    }

    #[test]
    fn a_turn_is_used_up_after_a_whole_tick_and_not_by_waiting() {
        let turns = turns(1);
        let turn = Turn { ticks: turns.ticks.clone(), state: Arc::default() };
        turns.ticks.store(100, Ordering::Relaxed);
        turn.state().came = 99;
        assert!(!turn.used_up(), "the tick may have been half over when the guest came");
        turn.state().came = 98;
        assert!(turn.used_up());
    }

    /// Polls a guest that spins, turning the clock from another thread until it leaves.
    fn spin(engine: &Engine, turns: &Turns, polls: usize) -> Polls<impl Future<Output = ()> + use<>> {
        let mut store = Store::new(engine, ());
        let turn = turns.apply(&mut store, |()| None);
        let module = Module::new(engine, SPIN).unwrap();
        let linker = Linker::new(engine);
        let mut spinning = turn.polls(async move {
            let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
            let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
            spin.call_async(&mut store, ()).await.unwrap();
        });
        for _ in 0..polls {
            let polled = Mutex::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !*polled.lock().unwrap() {
                        turns.ticks.fetch_add(1, Ordering::Relaxed);
                        engine.increment_epoch();
                        thread::yield_now();
                    }
                });
                let left = Pin::new(&mut spinning).poll(&mut Context::from_waker(Waker::noop()));
                *polled.lock().unwrap() = true;
                assert!(left.is_pending());
            });
        }
        spinning
    }

    #[test]
    fn a_guest_that_spins_leaves_its_thread_and_ends_its_turn() {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let (engine, turns) = (Engine::new(&config).unwrap(), turns(1));
        // The first time it leaves to stand in line, the second time it had its turn and used it up.
        let _spinning = spin(&engine, &turns, 3);
        assert_eq!(turns.free.available_permits(), 1, "a guest that is not on a thread has no turn");
    }

    #[tokio::test]
    async fn turns_are_taken_one_after_another() {
        let turns = turns(1);
        let turn = || Turn { ticks: turns.ticks.clone(), state: Arc::default() };
        let (first, second) = (turn(), turn());
        next(turns.free.clone(), first.clone()).await;
        let waiting = tokio::spawn(next(turns.free.clone(), second.clone()));
        while turns.free.available_permits() > 0 || second.state().held.is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        first.state().held = None;
        waiting.await.unwrap();
        assert!(second.state().held.is_some());
    }
}
