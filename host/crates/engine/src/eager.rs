//! Guests that only yield go on at once.
//!
//! What wit-bindgen makes of a Rust guest yields after every step that it takes while something is still under way, and the
//! engine gives its task back for each. A loop over a model's deltas would so take a turn of the scheduler for every one of
//! them, and every one would leave by a write of its own.
//!
//! Promise: whoever is woken while it is polled is polled again, without a turn of the scheduler's between.
//! Bounded by: [`LONGEST`] and [`MOST`]; then everybody else has a turn.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How long it may go on. A chunk that a guest writes leaves at most so much later, which is less than a client's network
/// takes for one packet; and it is some ten to fifty steps of a guest that passes chunks on.
const LONGEST: Duration = Duration::from_micros(100);

/// How often it may go on: more often than it can in that time, unless the clock stands still.
const MOST: usize = 1_000;

/// See the module.
pub(crate) struct Eager<F> {
    inner: F,
    woken: Arc<Woken>,
    waker: Waker,
}

impl<F> Eager<F> {
    pub(crate) fn new(inner: F) -> Self {
        let woken = Arc::<Woken>::default();
        Self { inner, waker: woken.clone().into(), woken }
    }
}

/// Whether it was woken while it was polled.
#[derive(Default)]
struct Woken {
    state: AtomicU8,
    task: AtomicWaker,
}

const IDLE: u8 = 0;
const POLLED: u8 = 1;
const AGAIN: u8 = 2;

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let change = self.state.compare_exchange(POLLED, AGAIN, Ordering::AcqRel, Ordering::Acquire);
        if change == Err(IDLE) {
            self.task.wake();
        }
    }
}

impl<F: Future + Unpin> Future for Eager<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { inner, woken, waker } = &mut *self;
        // First of all: who wakes it after this poll has to find the task.
        woken.task.register(cx.waker());
        let began = Instant::now();
        for _ in 0..MOST {
            woken.state.store(POLLED, Ordering::Release);
            let polled = Pin::new(&mut *inner).poll(&mut Context::from_waker(waker));
            let again = woken.state.swap(IDLE, Ordering::AcqRel) == AGAIN;
            if polled.is_ready() || !again {
                return polled;
            }
            if began.elapsed() >= LONGEST {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls once; what came of it, and how often the task was woken meanwhile.
    fn polled(future: impl Future<Output = ()> + Unpin) -> (Poll<()>, usize) {
        let count = Arc::<Count>::default();
        let polled = Pin::new(&mut Eager::new(future)).poll(&mut Context::from_waker(&count.clone().into()));
        (polled, count.0.load(Ordering::SeqCst))
    }

    #[test]
    fn what_yields_a_few_times_is_done_in_one_turn() {
        let mut left = 3;
        let yields = poll_fn(|cx| {
            left -= 1;
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        assert_eq!(polled(yields), (Poll::Ready(()), 0));
    }

    #[test]
    fn what_yields_for_ever_has_its_turn_ended_and_gets_another() {
        let yields = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!(polled(yields), (Poll::Pending, 1));
    }

    #[test]
    fn what_waits_is_left_alone_until_it_is_woken() {
        let mut polls = 0;
        assert_eq!(
            polled(poll_fn(|_| {
                polls += 1;
                Poll::Pending
            })),
            (Poll::Pending, 0)
        );
        assert_eq!(polls, 1);
    }

    #[test]
    fn no_wake_up_is_lost_whenever_it_comes() {
        for _ in 0..200 {
            let (woken, count) = (Arc::new(AtomicU8::new(0)), Arc::<Count>::default());
            let seen = woken.clone();
            let mut eager = Eager::new(poll_fn(move |cx| {
                if seen.load(Ordering::SeqCst) > 0 {
                    return Poll::Ready(());
                }
                let (woken, waker) = (seen.clone(), cx.waker().clone());
                thread::spawn(move || {
                    woken.store(1, Ordering::SeqCst);
                    waker.wake();
                });
                Poll::Pending
            }));
            let waker = count.clone().into();
            let mut cx = Context::from_waker(&waker);
            while Pin::new(&mut eager).poll(&mut cx).is_pending() {
                // It was woken within that poll, or it will be.
                while count.0.swap(0, Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
            }
        }
    }
}
