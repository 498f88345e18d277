//! The two bodies of a request: what the guest sends and what it is sent, frame by frame, nothing gathered.
//!
//! Promises: the end of the run ends both, also when nobody polls them. A response that was cut short ends in
//! an error, so that it is never taken for a whole one. A plugin's place among its open requests is held until
//! both bodies have ended or were dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{BoxError, SendError};

/// A request's body: anything that yields frames.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A plugin's place among its open requests; shared by the two bodies of one request.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// A response's body. Dropping it ends the response, and its connection where it has one for itself.
pub struct ResponseBody(Streamed<Incoming>);

impl ResponseBody {
    pub(crate) fn new(
        body: Incoming,
        between: Duration,
        ended: CancellationToken,
        place: Place,
    ) -> ResponseBody {
        ResponseBody(Streamed::new(body, between, ended, place))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        self.0.poll(cx, SendError::from_body)
    }

    fn is_end_stream(&self) -> bool {
        self.0.with(true, HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.with(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// The response's side, apart from hyper's body so that tests need no connection.
enum Streamed<B> {
    Open(Open<B>),
    Ended,
}

struct Open<B> {
    body: Arc<Mutex<Option<B>>>,
    between: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _reaper: AbortOnDropHandle<()>,
    _place: Place,
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> Streamed<B> {
    fn new(body: B, between: Duration, ended: CancellationToken, place: Place) -> Streamed<B> {
        if body.is_end_stream() {
            return Streamed::Ended;
        }
        let body = Arc::new(Mutex::new(Some(body)));
        // A guest may keep a body it never reads, and then nobody polls it when the run ends.
        let reaper = tokio::spawn({
            let (body, ended) = (body.clone(), ended.clone());
            async move {
                ended.cancelled().await;
                let taken = lock(&body).take();
                drop(taken);
            }
        });
        Streamed::Open(Open {
            body,
            between,
            waiting: None,
            ended: Box::pin(ended.cancelled_owned()),
            _reaper: AbortOnDropHandle::new(reaper),
            _place: place,
        })
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        explain: impl FnOnce(B::Error) -> SendError,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let Streamed::Open(open) = self else { return Poll::Ready(None) };
        let item = ready!(open.poll(cx, explain));
        let is_last = !matches!(item, Some(Ok(_))) || self.with(true, HttpBody::is_end_stream);
        if is_last {
            *self = Streamed::Ended; // Frees the place and the connection without waiting for the drop.
        }
        Poll::Ready(item)
    }

    fn with<T>(&self, otherwise: T, look: impl FnOnce(&B) -> T) -> T {
        match self {
            Streamed::Open(open) => lock(&open.body).as_ref().map_or(otherwise, look),
            Streamed::Ended => otherwise,
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> Open<B> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        explain: impl FnOnce(B::Error) -> SendError,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(SendError::Cancelled)));
        }
        let polled = match lock(&self.body).as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => return Poll::Ready(Some(Err(SendError::Cancelled))),
        };
        if let Poll::Ready(item) = polled {
            self.waiting = None;
            return Poll::Ready(item.map(|frame| frame.map_err(explain)));
        }
        // Counted from here and not from the last frame: the time a guest does not read is its own.
        let between = self.between;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(between)));
        waiting.as_mut().poll(cx).map(|()| Some(Err(SendError::BetweenBytesTimeout(between))))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request's body on its way out: ends with the run, and holds the place as long as it goes on.
pub(crate) struct Upload {
    body: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl Upload {
    pub(crate) fn new(body: Body, ended: CancellationToken, place: Place) -> Upload {
        Upload { body, ended: Box::pin(ended.cancelled_owned()), _place: place }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(SendError::Cancelled.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, timeout};

    use super::*;

    const BETWEEN: Duration = Duration::from_secs(30);

    /// A body that yields a frame after each pause, and then nothing, never ending.
    fn paced(pauses: &'static [u64]) -> impl HttpBody<Data = Bytes, Error = Infallible> + Unpin + Send {
        let frames = stream::iter(pauses).then(|&pause| async move {
            sleep(Duration::from_secs(pause)).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        StreamBody::new(Box::pin(frames.chain(stream::pending())))
    }

    async fn next<B: HttpBody<Data = Bytes, Error = Infallible> + Unpin + Send + 'static>(
        body: &mut Streamed<B>,
    ) -> Option<Result<Frame<Bytes>, SendError>> {
        std::future::poll_fn(|cx| body.poll(cx, |never| match never {})).await
    }

    fn place(places: &Arc<Semaphore>) -> Place {
        Arc::new(places.clone().try_acquire_owned().expect("a free place"))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_bytes_ends_in_its_time_and_frees_the_place() {
        let places = Arc::new(Semaphore::new(1));
        let mut body = Streamed::new(paced(&[29, 29]), BETWEEN, CancellationToken::new(), place(&places));
        for _ in 0..2 {
            assert!(matches!(next(&mut body).await, Some(Ok(_))), "each frame has its own time");
        }
        let silent = Instant::now();
        assert!(matches!(next(&mut body).await, Some(Err(SendError::BetweenBytesTimeout(BETWEEN)))));
        assert_eq!(silent.elapsed(), BETWEEN, "neither early nor late");
        assert_eq!(places.available_permits(), 1);
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_a_guest_does_not_read_is_not_the_servers() {
        let places = Arc::new(Semaphore::new(1));
        let mut body = Streamed::new(paced(&[0, 20]), BETWEEN, CancellationToken::new(), place(&places));
        assert!(matches!(next(&mut body).await, Some(Ok(_))));
        sleep(BETWEEN * 10).await;
        assert!(matches!(next(&mut body).await, Some(Ok(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_is_an_error_to_whoever_reads() {
        let places = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        let mut body = Streamed::new(paced(&[]), BETWEEN, ended.clone(), place(&places));
        let end = async {
            sleep(Duration::from_secs(1)).await;
            ended.cancel();
        };
        let (read, ()) = tokio::join!(next(&mut body), end);
        assert!(matches!(read, Some(Err(SendError::Cancelled))));
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_drops_a_body_that_nobody_reads() {
        let places = Arc::new(Semaphore::new(1));
        let (dropped, is_dropped) = tokio::sync::oneshot::channel::<()>();
        let frames = stream::pending().map(move |never: Result<Frame<Bytes>, Infallible>| {
            let _held = &dropped;
            never
        });
        let ended = CancellationToken::new();
        let body = Streamed::new(StreamBody::new(frames), BETWEEN, ended.clone(), place(&places));
        ended.cancel();
        let dropped = timeout(BETWEEN, is_dropped).await.expect("dropped without being polled");
        assert!(dropped.is_err(), "the sender went with the body");
        drop(body);
    }

    #[tokio::test]
    async fn the_place_is_free_when_both_bodies_are_gone() {
        let places = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        let held = place(&places);
        let body = Streamed::new(paced(&[]), BETWEEN, ended.clone(), held.clone());
        let upload = Upload::new(Body::default(), ended, held);
        drop(body);
        assert_eq!(places.available_permits(), 0, "the upload goes on");
        drop(upload);
        assert_eq!(places.available_permits(), 1);
    }
}
