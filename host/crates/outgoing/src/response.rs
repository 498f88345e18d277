//! A response's body, as the guest reads it.
//!
//! Promises: the end of the run is an error to whoever reads, at once, even where data waits. A response that was
//! cut short ends in an error, so that it is never taken for a whole one. A plugin's place among its open requests
//! is held until the last of the response was handed over and the request's body has ended, or both were dropped.
//! Bounded by: what [`ahead`](crate::ahead) lets wait, and the time between bytes while the guest waits for them.
//! Ends when: the run does, or it is dropped; and with it its connection, where it has one for itself.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use rookery_cassettes::{Take, WeakTake};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::ahead::Ahead;
use crate::body::Place;
use crate::error::SendError;
use crate::record;

/// A response's body. Dropping it ends the response, and its connection where it has one for itself.
pub struct ResponseBody(State);

enum State {
    Open(Open),
    Ended,
}

struct Open {
    ahead: Ahead,
    /// What was promised and not yet handed over.
    left: SizeHint,
    between: Duration,
    silent: Option<Pin<Box<Sleep>>>,
    /// Where the silence is noted, which nobody below sees. Weak, because a guest may keep a response that has ended.
    take: Option<WeakTake>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl ResponseBody {
    /// Anything that yields frames, so that tests need no connection.
    pub(crate) fn new<B>(body: B, between: Duration, ended: CancellationToken, place: Place) -> ResponseBody
    where
        B: HttpBody<Data = Bytes, Error = SendError> + Unpin + Send + 'static,
    {
        if body.is_end_stream() {
            return ResponseBody(State::Ended);
        }
        ResponseBody(State::Open(Open {
            left: body.size_hint(),
            ahead: Ahead::new(body, ended.clone(), place),
            between,
            silent: None,
            take: None,
            ended: Box::pin(ended.cancelled_owned()),
        }))
    }

    /// The same body, whose silence is noted too.
    pub(crate) fn noted(mut self, take: Option<&Take>) -> ResponseBody {
        if let State::Open(open) = &mut self.0 {
            open.take = take.map(Take::downgrade);
        }
        self
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let State::Open(open) = &mut self.0 else { return Poll::Ready(None) };
        let item = ready!(open.poll(cx));
        let is_last = !matches!(item, Some(Ok(_))) || open.ahead.is_over();
        if is_last {
            self.0 = State::Ended; // Frees the place and the connection without waiting for the drop.
        }
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Open(open) => open.ahead.is_over(),
            State::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Open(open) => open.left,
            State::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(SendError::Cancelled)));
        }
        if let Poll::Ready(item) = self.ahead.poll(cx) {
            self.silent = None;
            if let Some(Ok(frame)) = &item {
                self.left = less(self.left, frame);
            }
            return Poll::Ready(item);
        }
        // Counted from here and not from the last frame: the time a guest does not read is its own.
        let between = self.between;
        let silent = self.silent.get_or_insert_with(|| Box::pin(sleep(between)));
        ready!(silent.as_mut().poll(cx));
        let error = SendError::BetweenBytesTimeout(between);
        record::note_failure(self.take.as_ref().and_then(WeakTake::upgrade).as_ref(), &error);
        Poll::Ready(Some(Err(error)))
    }
}

fn less(hint: SizeHint, frame: &Frame<Bytes>) -> SizeHint {
    let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
    let mut left = SizeHint::new();
    left.set_lower(hint.lower().saturating_sub(bytes));
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(bytes));
    }
    left
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, Full, StreamBody};
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::body::{Body, Upload};

    const BETWEEN: Duration = Duration::from_secs(30);

    /// A body that yields a frame after each pause, and then nothing, never ending.
    fn paced(pauses: &'static [u64]) -> impl HttpBody<Data = Bytes, Error = SendError> + Unpin + Send {
        let frames = stream::iter(pauses).then(|&pause| async move {
            sleep(Duration::from_secs(pause)).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        StreamBody::new(Box::pin(frames.chain(stream::pending())))
    }

    fn place(places: &Arc<Semaphore>) -> Place {
        Arc::new(places.clone().try_acquire_owned().expect("a free place"))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_bytes_ends_in_its_time_and_frees_the_place() {
        let places = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        let mut body = ResponseBody::new(paced(&[29, 29]), BETWEEN, ended, place(&places));
        for _ in 0..2 {
            assert!(matches!(body.frame().await, Some(Ok(_))), "each frame has its own time");
        }
        let silent = Instant::now();
        let outcome = timeout(BETWEEN * 2, body.frame()).await.expect("an end");
        assert!(matches!(outcome, Some(Err(SendError::BetweenBytesTimeout(BETWEEN)))));
        assert_eq!(silent.elapsed(), BETWEEN, "neither early nor late");
        assert_eq!(places.available_permits(), 1);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_a_guest_does_not_read_is_not_the_servers() {
        let places = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        let mut body = ResponseBody::new(paced(&[0, 20, 609]), BETWEEN, ended, place(&places));
        assert!(matches!(body.frame().await, Some(Ok(_))));
        assert!(body.frame().now_or_never().is_none(), "it looks once and goes");
        sleep(BETWEEN * 10).await;
        assert!(matches!(body.frame().now_or_never(), Some(Some(Ok(_)))), "it waits for the guest");
        sleep(BETWEEN * 10).await;
        let waiting = Instant::now();
        assert!(matches!(body.frame().await, Some(Ok(_))));
        assert_eq!(waiting.elapsed(), Duration::from_secs(29), "and is waited for from here");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_is_an_error_to_whoever_reads() {
        let places = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        let mut body = ResponseBody::new(paced(&[]), BETWEEN, ended.clone(), place(&places));
        let end = async {
            sleep(Duration::from_secs(1)).await;
            ended.cancel();
        };
        let (read, ()) = tokio::join!(body.frame(), end);
        assert!(matches!(read, Some(Err(SendError::Cancelled))));
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn the_end_of_the_run_comes_before_what_waits() {
        let places = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        let whole = Full::from("hello").map_err(|never| match never {});
        let mut body = ResponseBody::new(whole, BETWEEN, ended.clone(), place(&places));
        ended.cancel();
        assert!(matches!(body.frame().now_or_never(), Some(Some(Err(SendError::Cancelled)))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_drops_a_body_that_nobody_reads() {
        let places = Arc::new(Semaphore::new(1));
        let (dropped, is_dropped) = tokio::sync::oneshot::channel::<()>();
        let frames = stream::pending().map(move |never: Result<Frame<Bytes>, SendError>| {
            let _held = &dropped;
            never
        });
        let ended = CancellationToken::new();
        let body = ResponseBody::new(StreamBody::new(frames), BETWEEN, ended.clone(), place(&places));
        ended.cancel();
        let dropped = timeout(BETWEEN, is_dropped).await.expect("dropped without being polled");
        assert!(dropped.is_err(), "the sender went with the body");
        assert_eq!(places.available_permits(), 1);
        drop(body);
    }

    #[tokio::test]
    async fn the_place_is_free_when_both_bodies_are_gone() {
        let places = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        let held = place(&places);
        let body = ResponseBody::new(paced(&[]), BETWEEN, ended.clone(), held.clone());
        let upload = Upload::new(Body::default(), ended, held);
        drop(body);
        assert_eq!(places.available_permits(), 0, "the upload goes on");
        drop(upload);
        assert_eq!(places.available_permits(), 1);
    }
}
