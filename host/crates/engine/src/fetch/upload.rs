//! The body of a request, as the guest writes it.
//!
//! Promises: a writer waits for the server. The body ends where the guest lets go of its writer; where the guest itself is gone
//! it breaks, and never looks whole.
//! Bounded by: two pieces of at most [`PIECE`], one that waits and one that is being sent.
//! Ends when: the request does; the writer is then told that nobody reads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use rookery_outgoing::{Body, BoxError, SendError};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, PollSender};
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamReader, StreamResult};

use crate::fetch::download::Download;
use crate::state::State;

/// How much is taken of a guest at once: as much as the transport itself holds of an upload, so that the connection has something
/// to send while the guest has its turn.
const PIECE: usize = 64 * 1024;

/// What is written to this stream, as a body.
pub(super) fn body(
    mut store: StoreContextMut<'_, State>,
    stream: StreamReader<u8>,
    ended: CancellationToken,
) -> wasmtime::Result<Body> {
    match stream.try_into::<Download>(&mut store) {
        Ok(response) => Ok(Body::new(response)),
        Err(stream) => {
            let (sender, pieces) = mpsc::channel(1);
            stream.pipe(store, Writer(PollSender::new(sender)))?;
            Ok(Body::new(Written { pieces, ended }))
        }
    }
}

/// Where the guest's end leads.
struct Writer(PollSender<Bytes>);

impl StreamConsumer<State> for Writer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, State>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.0.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        store.data().gate.pass()?;
        let mut source = source.as_direct(store);
        let written = source.remaining();
        let piece = Bytes::copy_from_slice(&written[..written.len().min(PIECE)]);
        source.mark_read(piece.len());
        // A guest may write nothing, to hear when there is room.
        let taken = piece.is_empty() || self.0.send_item(piece).is_ok();
        Poll::Ready(Ok(if taken { StreamResult::Completed } else { StreamResult::Dropped }))
    }
}

/// What the transport reads.
struct Written {
    pieces: mpsc::Receiver<Bytes>,
    ended: CancellationToken,
}

impl HttpBody for Written {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            Some(piece) => Some(Ok(Frame::data(piece))),
            // The writer went with the instance (see `Tasks::end_all`), and not because the guest was through with it.
            None if self.ended.is_cancelled() => Some(Err(SendError::Cancelled.into())),
            None => None,
        })
    }
}
