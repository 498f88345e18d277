//! A response, read ahead of its guest: what has arrived is handed over together.
//!
//! A model sends every word as a frame of its own, hyper holds one frame, and each one handed over costs the guest a
//! turn of its event loop. So a task reads on while the guest is busy, and the frames that wait become one. A
//! frame that a guest waits for is there at once and as it came.
//!
//! Promises: trailers, an error and the end come after the data before them, and the end is never made up.
//! Bounded by: [`BYTES_AHEAD`] and one frame, which is some 400 KiB at the most on HTTP/1 and 16 KiB on HTTP/2. Then
//! the task stands still, and with it the server, until the guest reads.
//! Ends when: the run does, or the guest's side is dropped. Then the connection, what waits and the place among
//! the open requests are let go, whether or not anybody polls.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use http_body::{Body as HttpBody, Frame};
use tokio::task::coop::poll_proceed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::body::Place;
use crate::error::SendError;

/// Data is joined up to this: as much as a guest usually reads at once. What is larger goes by itself, so that
/// no large frame is copied for a small one's sake.
const ENOUGH: usize = 16 * 1024;

/// While so many bytes wait, no further frame is read. They are four reads of a guest's, or three seconds of a fast
/// model (a hundred words a second, each in 200 bytes of JSON); and 256 unread responses hold 16 MiB.
const BYTES_AHEAD: usize = 64 * 1024;

/// Nor while so many pieces wait. Data alone is never more than eight of them, because two neighbours that were not
/// joined are more than [`ENOUGH`]; this bounds what has no bytes.
const PIECES_AHEAD: usize = 16;

/// What a body yields: a frame, an error, or its end.
type Item = Option<Result<Frame<Bytes>, SendError>>;

/// The guest's side. Not to be polled again after an error or the end.
pub(crate) struct Ahead {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl Ahead {
    pub(crate) fn new<B>(body: B, ended: CancellationToken, place: Place) -> Ahead
    where
        B: HttpBody<Data = Bytes, Error = SendError> + Unpin + Send + 'static,
    {
        let waiting = Waiting { place: Some(place), ..Waiting::default() };
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), ..Shared::default() });
        let mut reading = Reading { body: Some(body), shared: shared.clone() };
        // A short answer has often come with its head; the task's first turn would add 4 µs to 19 on loopback.
        let _ = reading.poll(&mut Context::from_waker(Waker::noop()));
        let task = tokio::spawn(reading.run(ended));
        Ahead { shared, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Item> {
        let item = ready!(self.shared.poll(&self.shared.guest, cx, Waiting::take));
        self.shared.task.wake();
        Poll::Ready(item)
    }

    /// Whether everything was handed over, and the end is known to be all that is left.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.lock().is_over()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.let_go();
    }
}

/// The task's side.
struct Reading<B> {
    /// None after its end.
    body: Option<B>,
    shared: Arc<Shared>,
}

impl<B: HttpBody<Data = Bytes, Error = SendError> + Unpin> Reading<B> {
    async fn run(mut self, ended: CancellationToken) {
        ended.run_until_cancelled(poll_fn(|cx| self.poll(cx))).await;
        // A guest may keep a response that it never reads, and then nobody else sees the run end.
        ended.cancelled().await;
    }

    /// Reads to the end of the body, as far as there is room.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(body) = &mut self.body {
            // Empty frames take no room, and a server may send them without end.
            let turn = ready!(poll_proceed(cx));
            ready!(self.shared.poll(&self.shared.task, cx, Waiting::room));
            let item = ready!(Pin::new(&mut *body).poll_frame(cx));
            turn.made_progress();
            let is_last = !matches!(item, Some(Ok(_))) || body.is_end_stream();
            if is_last {
                self.body = None;
            }
            if self.shared.lock().put(item, is_last) {
                self.shared.guest.wake();
            }
        }
        Poll::Ready(())
    }
}

impl<B> Drop for Reading<B> {
    fn drop(&mut self) {
        self.shared.let_go();
        self.shared.guest.wake();
    }
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Waits for something to take.
    guest: AtomicWaker,
    /// Waits for room.
    task: AtomicWaker,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, and before it waits for `woken` looks again: what happened between would not wake it.
    fn poll<T>(
        &self,
        woken: &AtomicWaker,
        cx: &mut Context<'_>,
        look: fn(&mut Waiting) -> Option<T>,
    ) -> Poll<T> {
        if let Some(found) = look(&mut self.lock()) {
            return Poll::Ready(found);
        }
        woken.register(cx.waker());
        look(&mut self.lock()).map_or(Poll::Pending, Poll::Ready)
    }

    /// All that is still told is the run's end. A task that broke looks like one, and not like a whole response.
    fn let_go(&self) {
        *self.lock() = Waiting { end: Some(Err(SendError::Cancelled)), ..Waiting::default() };
    }
}

/// What was read and not yet handed over.
#[derive(Default)]
struct Waiting {
    pieces: VecDeque<Frame<Bytes>>,
    bytes: usize,
    /// What comes after the pieces, once it is known.
    end: Option<Result<(), SendError>>,
    place: Option<Place>,
}

impl Waiting {
    fn room(&mut self) -> Option<()> {
        (self.bytes < BYTES_AHEAD && self.pieces.len() < PIECES_AHEAD).then_some(())
    }

    /// Whether there is something to hand over now.
    fn put(&mut self, item: Item, is_last: bool) -> bool {
        self.end = match item {
            Some(Ok(frame)) => {
                self.append(frame);
                is_last.then_some(Ok(()))
            }
            Some(Err(error)) => Some(Err(error)),
            None => Some(Ok(())),
        };
        if self.is_over() {
            self.place = None; // The guest has all of it and may never ask for more.
        }
        !self.pieces.is_empty() || self.end.is_some()
    }

    fn append(&mut self, frame: Frame<Bytes>) {
        let Some(data) = frame.data_ref() else { return self.pieces.push_back(frame) };
        self.bytes += data.len();
        match self.pieces.back_mut().and_then(Frame::data_mut) {
            _ if data.is_empty() => {}
            Some(last) if last.len() + data.len() <= ENOUGH => join(last, data),
            _ => self.pieces.push_back(frame),
        }
    }

    fn take(&mut self) -> Option<Item> {
        match self.pieces.pop_front() {
            Some(piece) => {
                self.bytes -= piece.data_ref().map_or(0, Bytes::len);
                Some(Some(Ok(piece)))
            }
            None => self.end.take().map(|end| end.err().map(Err)),
        }
    }

    fn is_over(&self) -> bool {
        self.pieces.is_empty() && matches!(self.end, Some(Ok(())))
    }
}

/// The first time copies both; what was joined before is nobody else's, and grows where it is.
fn join(last: &mut Bytes, data: &Bytes) {
    let mut joined = std::mem::take(last).try_into_mut().unwrap_or_else(|shared| {
        let mut joined = BytesMut::with_capacity(shared.len() + data.len());
        joined.extend_from_slice(&shared);
        joined
    });
    joined.extend_from_slice(data);
    *last = joined.freeze();
}

#[cfg(test)]
mod tests {
    use std::panic;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::{FutureExt, Stream, StreamExt, stream};
    use http::HeaderMap;
    use http_body_util::StreamBody;
    use tokio::sync::{Semaphore, mpsc, oneshot};
    use tokio::task::yield_now;
    use tokio::time::{sleep, timeout};

    use super::*;

    type Yielded = Result<Frame<Bytes>, SendError>;

    /// A response of what the stream yields, its run, and the one place there is.
    fn response(
        frames: impl Stream<Item = Yielded> + Send + 'static,
    ) -> (Ahead, CancellationToken, Arc<Semaphore>) {
        read_ahead(StreamBody::new(Box::pin(frames)))
    }

    fn read_ahead(
        body: impl HttpBody<Data = Bytes, Error = SendError> + Unpin + Send + 'static,
    ) -> (Ahead, CancellationToken, Arc<Semaphore>) {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::new(places.clone().try_acquire_owned().expect("a free place"));
        let run = CancellationToken::new();
        (Ahead::new(body, run.clone(), place), run, places)
    }

    /// A response of frames that are sent by hand.
    fn by_hand() -> (mpsc::Sender<Yielded>, Ahead, CancellationToken, Arc<Semaphore>) {
        let (sender, mut sent) = mpsc::channel(8);
        let (ahead, run, places) = response(stream::poll_fn(move |cx| sent.poll_recv(cx)));
        (sender, ahead, run, places)
    }

    /// A response of one frame again and again, and how often it was asked for.
    fn endless(frame: impl Fn() -> Frame<Bytes> + Send + 'static) -> (Ahead, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let frames = stream::repeat_with({
            let asked = asked.clone();
            move || {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(frame())
            }
        });
        // A bound that is lost is to fail a test and not to hang it.
        (response(frames.take(4 * BYTES_AHEAD).chain(stream::pending())).0, asked)
    }

    fn data(bytes: impl Into<Bytes>) -> Frame<Bytes> {
        Frame::data(bytes.into())
    }

    fn failure() -> SendError {
        SendError::ConnectionClosed("cut".into())
    }

    /// Whoever is not woken is to fail a test and not to hang it.
    async fn next(ahead: &Ahead) -> Item {
        tokio::select! {
            biased;
            () = sleep(Duration::from_secs(30)) => panic!("nobody was woken"),
            item = poll_fn(|cx| ahead.poll(cx)) => item,
        }
    }

    async fn next_data(ahead: &Ahead) -> Bytes {
        next(ahead).await.expect("not the end").expect("no error").into_data().expect("data")
    }

    /// A paused clock goes on when everything else waits.
    async fn settled() {
        sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_arrived_comes_together_and_what_has_not_is_not_waited_for() {
        let (sender, ahead, ..) = by_hand();
        for word in ["one ", "two ", "three"] {
            sender.send(Ok(data(word))).await.expect("a reader");
            settled().await;
        }
        assert_eq!(next_data(&ahead).await, "one two three");
        assert!(next(&ahead).now_or_never().is_none(), "nothing waits");
        let (read, ()) = tokio::join!(next_data(&ahead), async {
            sender.send(Ok(data("four"))).await.expect("a reader");
        });
        assert_eq!(read, "four");
        drop(sender);
        assert!(next(&ahead).await.is_none());
    }

    #[tokio::test]
    async fn a_response_that_is_there_needs_no_turn_of_the_task() {
        let (ahead, ..) = response(stream::iter([Ok(data("hello"))]));
        assert_eq!(next_data(&ahead).now_or_never().expect("at once"), "hello");
        assert!(ahead.is_over());
    }

    #[tokio::test]
    async fn a_frame_that_waits_alone_is_handed_over_as_it_is() {
        let (small, large) = (Bytes::from(vec![b'x'; 3]), Bytes::from(vec![b'x'; ENOUGH]));
        let frames = [small.clone(), large.clone(), small.clone()];
        let (ahead, ..) = response(stream::iter(frames.clone().map(|bytes| Ok(data(bytes)))));
        for expected in frames {
            let read = next_data(&ahead).await;
            assert_eq!((read.as_ptr(), read.len()), (expected.as_ptr(), expected.len()));
        }
    }

    #[tokio::test]
    async fn no_more_is_joined_than_is_read_at_once() {
        let half = Bytes::from(vec![b'x'; ENOUGH / 2]);
        let (ahead, ..) = response(stream::iter(vec![half; 5]).map(|bytes| Ok(data(bytes))));
        for expected in [ENOUGH, ENOUGH, ENOUGH / 2] {
            assert_eq!(next_data(&ahead).await.len(), expected);
        }
        assert!(next(&ahead).await.is_none());
    }

    #[tokio::test]
    async fn trailers_and_errors_keep_their_place() {
        let trailers = Frame::trailers(HeaderMap::new());
        let frames = [Ok(data("a")), Ok(data("b")), Ok(trailers), Ok(data("c")), Err(failure())];
        let (ahead, ..) = response(stream::iter(frames));
        assert_eq!(next_data(&ahead).await, "ab");
        assert!(next(&ahead).await.expect("trailers").expect("trailers").is_trailers());
        assert_eq!(next_data(&ahead).await, "c");
        assert!(!ahead.is_over(), "it is not whole");
        assert!(matches!(next(&ahead).await, Some(Err(SendError::ConnectionClosed(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_does_not_read_stops_the_server_until_it_does() {
        for size in [1, 1000, ENOUGH, BYTES_AHEAD - 1, 400 * 1024] {
            let bytes = Bytes::from(vec![b'x'; size]);
            let (ahead, asked) = endless(move || data(bytes.clone()));
            let mut read = 0;
            for _ in 0..3 {
                settled().await;
                let waiting = asked.load(Ordering::Relaxed) * size - read;
                assert!((BYTES_AHEAD..BYTES_AHEAD + size).contains(&waiting), "{waiting} of {size}");
                read += next_data(&ahead).await.len();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_bytes_is_bounded_too() {
        let (ahead, asked) = endless(|| Frame::trailers(HeaderMap::new()));
        settled().await;
        assert_eq!(asked.load(Ordering::Relaxed), PIECES_AHEAD);
        drop(ahead);
    }

    #[tokio::test]
    async fn empty_frames_are_nothing_to_a_guest_and_leave_others_their_turn() {
        let (ahead, asked) = endless(|| data(""));
        for turn in 1..10 {
            assert!(next(&ahead).now_or_never().is_none());
            yield_now().await;
            assert!(asked.load(Ordering::Relaxed) < turn * 1000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_place_is_free_as_soon_as_the_last_was_handed_over() {
        let (sender, ahead, _run, places) = by_hand();
        sender.send(Ok(data("last"))).await.expect("a reader");
        settled().await;
        assert_eq!(next_data(&ahead).await, "last");
        assert!(!ahead.is_over() && places.available_permits() == 0, "more may come");
        drop(sender);
        settled().await;
        assert!(ahead.is_over() && places.available_permits() == 1, "though nobody asks for more");

        let (ahead, _run, places) = response(stream::iter([Ok(data("last"))]));
        settled().await;
        assert!(!ahead.is_over() && places.available_permits() == 0, "it has ended but waits");
    }

    /// A body of one frame that knows its length, as hyper's does.
    struct Known(Option<Bytes>);

    impl HttpBody for Known {
        type Data = Bytes;
        type Error = SendError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Yielded>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(data(bytes)))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_none()
        }
    }

    #[tokio::test]
    async fn an_end_that_is_known_is_not_waited_for() {
        let (ahead, ..) = read_ahead(Known(Some("all".into())));
        assert!(!ahead.is_over());
        assert_eq!(next_data(&ahead).await, "all");
        assert!(ahead.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_lets_go_of_what_nobody_reads() {
        for whole in [false, true] {
            let (held, mut is_held) = oneshot::channel::<()>();
            let waits = Bytes::from_owner(Owner(b"waits", held));
            let rest = if whole { stream::empty().boxed() } else { stream::pending().boxed() };
            let (ahead, run, places) = response(stream::iter([Ok(data(waits))]).chain(rest));
            settled().await;
            assert!(is_held.try_recv() == Err(oneshot::error::TryRecvError::Empty));
            assert_eq!(places.available_permits(), 0);
            run.cancel();
            timeout(Duration::from_secs(1), is_held).await.expect("let go").expect_err("without a word");
            assert_eq!(places.available_permits(), 1);
            assert!(!ahead.is_over(), "never a whole response");
            assert!(matches!(next(&ahead).await, Some(Err(SendError::Cancelled))));
        }
    }

    struct Owner(&'static [u8], #[expect(dead_code, reason = "dropped with it")] oneshot::Sender<()>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0
        }
    }

    #[test]
    fn what_happens_between_looking_and_waiting_is_not_missed() {
        let shared = Shared::default();
        // The first look plays the other side too: it sees nothing, and then there is something.
        let look = |waiting: &mut Waiting| {
            waiting.bytes += 1;
            (waiting.bytes > 1).then_some(())
        };
        assert!(shared.poll(&shared.guest, &mut Context::from_waker(Waker::noop()), look).is_ready());
    }

    #[tokio::test]
    async fn dropping_the_guests_side_ends_the_response() {
        let (sender, ahead, _run, places) = by_hand();
        drop(ahead);
        assert_eq!(places.available_permits(), 1, "at once");
        timeout(Duration::from_secs(30), sender.closed()).await.expect("the body is dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_breaks_is_an_error_and_no_end() {
        let frames = stream::iter([Ok(data("half"))]).chain(stream::once(async {
            yield_now().await;
            panic::resume_unwind(Box::new("a body that breaks"))
        }));
        let (ahead, ..) = response(frames);
        assert_eq!(next_data(&ahead).await, "half");
        assert!(matches!(next(&ahead).await, Some(Err(_))));
    }
}
