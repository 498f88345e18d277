//! Tells when nothing has been sent for a while.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Measures the time since something was last sent.
#[derive(Debug)]
pub(crate) struct Silence {
    longest: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { longest, last: Instant::now(), timer: Box::pin(sleep(longest)) }
    }

    /// Something is being sent. Only takes the time: this happens for every chunk, and moving the timer costs more
    /// than letting it fire once too early.
    pub(crate) fn broken(&mut self) {
        self.last = Instant::now();
    }

    /// Ready when nothing was sent for the longest time allowed; what is sent then counts.
    pub(crate) fn poll_too_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let too_long = now >= self.last + self.longest;
            if too_long {
                self.last = now;
            }
            self.timer.as_mut().reset(self.last + self.longest);
            if too_long {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn it_is_counted_from_what_was_sent_last() {
        let began = Instant::now();
        let mut silence = Silence::new(LONGEST);
        poll_fn(|cx| silence.poll_too_long(cx)).await;
        assert_eq!(began.elapsed(), LONGEST);
        sleep(Duration::from_secs(10)).await;
        silence.broken();
        poll_fn(|cx| silence.poll_too_long(cx)).await;
        assert_eq!(began.elapsed(), LONGEST + Duration::from_secs(10) + LONGEST);
        poll_fn(|cx| silence.poll_too_long(cx)).await;
        assert_eq!(began.elapsed(), LONGEST + Duration::from_secs(10) + 2 * LONGEST);
    }
}
