//! A request's body, as the guest gives it and as it is sent.
//!
//! Promises: it is sent frame by frame, because a guest may wait for the answer to what it wrote before it writes
//! more. The end of the run ends it. A plugin's place among its open requests is held as long as it goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use rookery_cassettes::Take;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::{BoxError, SendError};

/// A request's body: anything that yields frames.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A plugin's place among its open requests; held until both bodies of one request have ended or were dropped.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// A request's body on its way out: ends with the run, and holds the place as long as it goes on.
pub(crate) struct Upload {
    body: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    take: Option<Take>,
    _place: Place,
}

impl Upload {
    pub(crate) fn new(body: Body, ended: CancellationToken, place: Place) -> Upload {
        Upload { body, ended: Box::pin(ended.cancelled_owned()), take: None, _place: place }
    }

    /// The same body, which is noted as it is sent.
    pub(crate) fn noted(self, take: Option<Take>) -> Upload {
        Upload { take, ..self }
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
        let item = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(take), Some(Ok(frame))) = (&self.take, &item) {
            frame.data_ref().iter().for_each(|data| take.sent(data));
        }
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
