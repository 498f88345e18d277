//! Which instances are live, and which of them goes when another needs the room.
//!
//! Promises: at most `limit` instances are live; one that runs a run is never asked to go; of those that are idle
//! the longest idle goes first.
//! Every wait has an end: who finds no room within [`PATIENCE`] is told so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a launch waits for room when every live instance is busy. Long enough for a typical run to end, short
/// enough that a client hears "overloaded" before it gives up by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The host's room for live instances.
#[derive(Debug)]
pub(crate) struct Live {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    next: u64,
    /// Longest idle first.
    by_age: BTreeMap<u64, Arc<Notify>>,
}

/// One instance's place among the live ones; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place {
    live: Arc<Live>,
    leave: Arc<Notify>,
    idle_since: Option<u64>,
    _permit: OwnedSemaphorePermit,
}

impl Live {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
        }
    }

    /// A place, if need be by sending the longest idle instance away. None where all stayed busy.
    pub(crate) async fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = match self.places.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait_for_room().await?,
        };
        Some(Place { live: self.clone(), leave: Arc::default(), idle_since: None, _permit: permit })
    }

    async fn wait_for_room(self: &Arc<Self>) -> Option<OwnedSemaphorePermit> {
        let _waiting = Waiting::new(&self.waiting);
        if let Some((_, leave)) = self.idle().by_age.pop_first() {
            leave.notify_one();
        }
        timeout(PATIENCE, self.places.clone().acquire_owned()).await.ok()?.ok()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many instances are live.
    pub(crate) fn count(&self, limit: usize) -> usize {
        limit.saturating_sub(self.places.available_permits())
    }
}

impl Place {
    /// The instance has nothing to do. False where it shall go at once, since somebody waits for room.
    #[must_use]
    pub(crate) fn idle(&mut self) -> bool {
        let mut idle = self.live.idle();
        // Looked at under the lock: who comes to wait after this finds the instance in the list.
        if self.live.waiting.load(Ordering::SeqCst) > 0 {
            return false;
        }
        let since = idle.next;
        idle.next += 1;
        idle.by_age.insert(since, self.leave.clone());
        self.idle_since = Some(since);
        true
    }

    /// The instance has something to do again. False where it was asked to go in the meantime.
    #[must_use]
    pub(crate) fn busy(&mut self) -> bool {
        match self.idle_since.take() {
            Some(since) => self.live.idle().by_age.remove(&since).is_some(),
            None => true,
        }
    }

    /// Ready when the instance, being idle, shall go.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.busy();
    }
}

/// Counts one who waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test]
    async fn the_longest_idle_instance_makes_room() {
        let live = Arc::new(Live::new(2));
        let mut older = live.place().await.unwrap();
        let mut newer = live.place().await.unwrap();
        assert!(older.idle());
        assert!(newer.idle());
        let waiting = tokio::spawn({
            let live = live.clone();
            async move { live.place().await.is_some() }
        });
        older.asked_to_leave().await;
        drop(older);
        assert!(waiting.await.unwrap());
        assert!(newer.busy(), "the newer one was left alone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_instance_is_never_asked_and_the_wait_has_an_end() {
        let live = Arc::new(Live::new(1));
        let busy = live.place().await.unwrap();
        let started = Instant::now();
        assert!(live.place().await.is_none());
        assert_eq!(started.elapsed(), PATIENCE);
        drop(busy);
        assert!(live.place().await.is_some());
    }

    #[tokio::test]
    async fn an_instance_that_becomes_idle_while_somebody_waits_goes_at_once() {
        let live = Arc::new(Live::new(1));
        let mut place = live.place().await.unwrap();
        let waiting = tokio::spawn({
            let live = live.clone();
            async move { live.place().await.is_some() }
        });
        while live.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!place.idle());
        drop(place);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn one_that_was_asked_to_go_learns_it_even_when_a_run_arrives_first() {
        let live = Arc::new(Live::new(1));
        let mut place = live.place().await.unwrap();
        assert!(place.idle());
        let waiting = tokio::spawn({
            let live = live.clone();
            async move { live.place().await.is_some() }
        });
        while live.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!place.busy());
        drop(place);
        assert!(waiting.await.unwrap());
    }
}
