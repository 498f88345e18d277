//! A response's body for a guest: what has arrived is handed over together.
//!
//! A model sends every word as a frame of its own, and handing one over costs the guest a turn of its event loop. When it
//! is behind, the frames that wait for it become one; when it is not, each is there as soon as it arrives.
//! Bounded by: [`ENOUGH`] bytes and one frame at a time.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// As much as a guest usually reads at once.
const ENOUGH: usize = 16 * 1024;

/// See the module.
pub(crate) struct Gathered<B: Body> {
    inner: B,
    /// What ended a gathering: trailers, an error, or the end.
    next: Option<Option<Result<Frame<Bytes>, B::Error>>>,
}

impl<B: Body> Gathered<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, next: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Gathered<B>
where
    B::Error: Unpin,
{
    /// Appends the frames that are there already.
    fn gather(&mut self, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        let mut together: Option<BytesMut> = None;
        let mut length = first.len();
        while length < ENOUGH && self.next.is_none() {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    let more = frame.into_data().unwrap_or_default();
                    length += more.len();
                    together.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&more);
                }
                Poll::Ready(other) => self.next = Some(other),
            }
        }
        together.map_or(first, BytesMut::freeze)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Gathered<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(next) = this.next.take() {
            return Poll::Ready(next);
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        polled.map(|frame| match frame {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(first) => Frame::data(this.gather(cx, first)),
                Err(trailers) => trailers,
            })),
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.next {
            Some(next) => next.is_none(),
            None => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt, StreamExt, stream};
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// A body of these frames; None is a moment in which nothing has arrived.
    fn body(
        frames: Vec<Option<Frame<Bytes>>>,
    ) -> Gathered<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
        let frames = stream::iter(frames).then(|frame| async {
            match frame {
                Some(frame) => Some(Ok(frame)),
                None => {
                    tokio::task::yield_now().await;
                    None
                }
            }
        });
        Gathered::new(StreamBody::new(Box::pin(frames.filter_map(|frame| async { frame }))))
    }

    fn data(text: &'static str) -> Option<Frame<Bytes>> {
        Some(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    async fn read(body: &mut (impl Body<Data = Bytes, Error = Infallible> + Unpin)) -> Option<Bytes> {
        body.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
    }

    #[tokio::test]
    async fn what_has_arrived_comes_together_and_what_has_not_is_not_waited_for() {
        let mut body = body(vec![data("a"), data("b"), None, data("c")]);
        assert_eq!(read(&mut body).now_or_never(), Some(Some("ab".into())));
        assert_eq!(read(&mut body).await, Some("c".into()));
        assert_eq!(read(&mut body).await, None);
    }

    #[tokio::test]
    async fn trailers_keep_their_place() {
        let mut body = body(vec![data("a"), data("b"), Some(Frame::trailers(HeaderMap::new())), data("c")]);
        assert_eq!(read(&mut body).await, Some("ab".into()));
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert_eq!(read(&mut body).await, Some("c".into()));
    }

    #[tokio::test]
    async fn no_more_is_gathered_than_is_read_at_once() {
        let large = Bytes::from(vec![b'x'; ENOUGH / 2]);
        let frames = (0..5).map(|_| Some(Frame::data(large.clone()))).collect();
        let mut body = body(frames);
        for expected in [ENOUGH, ENOUGH, ENOUGH / 2] {
            assert_eq!(read(&mut body).await.map(|bytes| bytes.len()), Some(expected));
        }
    }
}
