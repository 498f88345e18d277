//! A response on its way to whoever reads it: the guest, or another request that the guest hands it to.
//!
//! Promises: what has come is handed over at once, and copied once, into the guest; how it ended is told, and one that broke
//! is never told as whole. What was read and not yet handed over stays here, so that a response can be handed on in the middle.
//! Bounded by: what the host reads ahead of its guest, and one piece of it.
//! Ends when: the response or the run does, or nobody reads any more; and the request with it, unless it came to its end.

use std::any::{Any, TypeId};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use rookery_outgoing::{BoxError, ResponseBody, SendError};
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult};

use crate::contract::fetch;
use crate::http::Waiting;
use crate::state::State;

/// See the module.
pub(super) struct Download {
    body: ResponseBody,
    /// What has come and was not handed over.
    rest: Bytes,
    waiting: Waiting,
    /// Where its end is told, and what ends the request before that.
    open: Option<(oneshot::Sender<Result<(), fetch::Error>>, DropGuard)>,
}

impl Download {
    /// And what comes when it has ended: whether that was all of it.
    pub(super) fn new(
        body: ResponseBody,
        waiting: Waiting,
        ended: DropGuard,
    ) -> (Self, impl Future<Output = Result<(), fetch::Error>> + Send + use<>) {
        let (tell, told) = oneshot::channel();
        let token = ended.token().clone();
        let mut download = Self { body, rest: Bytes::new(), waiting, open: Some((tell, ended)) };
        if download.body.is_end_stream() {
            download.whole();
        }
        let told = async move {
            tokio::select! {
                biased;
                told = told => told.unwrap_or(Err(fetch::Error::Cancelled)),
                // Where nobody reads, it is not told.
                () = token.cancelled() => Err(fetch::Error::Cancelled),
            }
        };
        (download, told)
    }

    /// The next piece; none after the last.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SendError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(mem::take(&mut self.rest))));
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => {}
                },
                Some(Err(error)) => {
                    self.broken(&error);
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.whole();
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Whether there is nothing more to hand over.
    fn is_over(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    /// What is still being sent goes on: the server may want all of it.
    fn whole(&mut self) {
        if let Some((tell, ended)) = self.open.take() {
            let _ = tell.send(Ok(()));
            ended.disarm();
        }
    }

    fn broken(&mut self, error: &SendError) {
        self.waiting.note(error);
        if let Some((tell, _ended)) = self.open.take() {
            let _ = tell.send(Err(error.into()));
        }
    }
}

impl StreamProducer<State> for Download {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut piece = match self.poll(cx) {
            Poll::Ready(Some(Ok(piece))) => piece,
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        match destination.remaining(&mut store) {
            // A guest may ask for nothing, to hear when there is something; that stays here.
            Some(room) => {
                self.rest = piece.split_off(room.min(piece.len()));
                let mut direct = destination.as_direct(store, piece.len());
                direct.remaining()[..piece.len()].copy_from_slice(&piece);
                direct.mark_written(piece.len());
            }
            None => destination.set_buffer(piece),
        }
        if !self.is_over() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        self.whole();
        Poll::Ready(Ok(StreamResult::Dropped))
    }

    fn try_into(me: Pin<Box<Self>>, ty: TypeId) -> Result<Box<dyn Any>, Pin<Box<Self>>> {
        if ty == TypeId::of::<Self>() { Ok(Pin::into_inner(me) as Box<dyn Any>) } else { Err(me) }
    }
}

/// As the body of another request.
impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.poll(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece?))))
    }
}
