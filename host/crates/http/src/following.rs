//! The body of an answer that follows a run.
//!
//! Promises: every event that is there goes out at once; a stream ends with `done` or `error`; a text or a document that
//! lacks its end is a broken transfer, as is a stream whose reader was cut off. Dropping it detaches; the run goes on.
//! Bounded by: [`FRAME`] and one event.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use rookery_agents::{Cut, Reader};
use rookery_core::{Chunk, Event, Item, Outcome, RunId};

use crate::document::Document;
use crate::last_event::Ids;
use crate::problem::Problem;
use crate::silence::Silence;
use crate::sse;

/// How much goes into one frame: enough that a flood costs few system calls, little enough that a
/// slow client holds little memory.
const FRAME: usize = 64 * 1024;

/// What a stream holds while nothing happens; some ten short events go into it before the next is allocated.
const BUFFER: usize = 1024;

/// Follows a run.
#[derive(Debug)]
pub(crate) struct Following {
    run: RunId,
    events: Reader,
    shape: Shape,
    state: State,
    unsent: Vec<Arc<Event>>,
    buffer: BytesMut,
}

#[derive(Debug)]
enum Shape {
    Stream(Silence, Ids),
    Text,
    Document(Document),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Ended,
    /// What was sent before shall still reach the client: an error takes unsent bytes with it.
    Breaking(Broken),
    Broken(Broken),
}

/// Why a body breaks off: the client shall see a transfer that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the host could not keep, or not read, what this client had not read")]
    CutOff,
    #[error("the run failed after its text had begun")]
    Failed,
}

impl Following {
    fn new(run: RunId, events: Reader, shape: Shape, buffer: BytesMut) -> Self {
        Self { run, events, shape, state: State::Open, unsent: Vec::new(), buffer }
    }

    /// Every event, as it comes.
    pub(crate) fn stream(run: RunId, events: Reader, ids: Ids, keep_alive: Duration) -> Self {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        if let Ids::RunAndNumber { seen } = ids {
            sse::mark(seen, run, ids, &mut buffer);
        }
        Self::new(run, events, Shape::Stream(Silence::new(keep_alive), ids), buffer)
    }

    /// The text chunks, as they come. Waits for the first one.
    pub(crate) async fn text(run: RunId, mut events: Reader) -> Result<Self, Problem> {
        let mut first = Vec::new();
        while let Some(event) = events.next().await? {
            match &event.item {
                Item::Chunk(Chunk::Text(_)) | Item::Outcome(Outcome::Done) => {
                    first.push(event);
                    break;
                }
                Item::Chunk(_) => {}
                Item::Outcome(outcome) => succeeded(outcome)?,
            }
        }
        let text = Self::new(run, events, Shape::Text, BytesMut::with_capacity(BUFFER));
        Ok(Self { unsent: first, ..text })
    }

    /// Everything at once. Waits for the end. The events stay in the log until the client takes them.
    pub(crate) async fn document(run: RunId, mut events: Reader) -> Result<Self, Problem> {
        let chunks = events.again();
        events.ended().await?;
        succeeded(&outcome(events.again()).await?)?;
        let mut buffer = BytesMut::with_capacity(BUFFER);
        let document = Document::begin(run, chunks, &mut buffer);
        Ok(Self::new(run, events, Shape::Document(document), buffer))
    }

    fn encode(&mut self) {
        let mut over = false;
        for event in self.unsent.drain(..) {
            if let Item::Chunk(chunk) = &event.item {
                // Counts some bytes more than an event of the stream has around its text.
                self.buffer.reserve(chunk.size());
            }
            over |= matches!(event.item, Item::Outcome(_));
            match (&mut self.shape, &event.item) {
                (Shape::Stream(_, ids), _) => sse::encode(&event, self.run, *ids, &mut self.buffer),
                (Shape::Text, Item::Chunk(Chunk::Text(text))) => self.buffer.put_slice(text.as_bytes()),
                (Shape::Text, Item::Chunk(_) | Item::Outcome(Outcome::Done)) => {}
                (Shape::Text, Item::Outcome(Outcome::Failed(_) | Outcome::Cancelled(_))) => {
                    self.state = State::Breaking(Broken::Failed);
                }
                (Shape::Document(document), item) => document.encode(item, &mut self.buffer),
            }
        }
        if let (true, State::Open) = (over, self.state) {
            self.state = self.over();
        }
    }

    /// What comes when the outcome has been read.
    fn over(&mut self) -> State {
        if let Shape::Document(document) = &mut self.shape
            && let Some(events) = document.next_part(&mut self.buffer)
        {
            self.events = events;
            return State::Open;
        }
        State::Ended
    }

    /// What is encoded, where there is anything. A large event goes in pieces, so that it is held here, where it counts,
    /// rather than by a connection that cannot send it yet.
    fn frame(&mut self) -> Option<Frame<Bytes>> {
        if self.buffer.is_empty() {
            return None;
        }
        if let Shape::Stream(silence, _) = &mut self.shape {
            silence.broken();
        }
        let size = self.buffer.len().min(FRAME);
        Some(Frame::data(self.buffer.split_to(size).freeze()))
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        match &mut self.shape {
            Shape::Stream(silence, _) => {
                silence.poll_too_long(cx).map(|()| Frame::data(Bytes::from_static(sse::KEEP_ALIVE)))
            }
            Shape::Text | Shape::Document(_) => Poll::Pending,
        }
    }
}

impl http_body::Body for Following {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        loop {
            this.encode();
            if let Some(frame) = this.frame() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match this.state {
                State::Open => {}
                State::Ended => return Poll::Ready(None),
                State::Breaking(broken) => {
                    this.state = State::Broken(broken);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Broken(broken) => return Poll::Ready(Some(Err(broken))),
            }
            match this.events.poll_read(cx, &mut this.unsent, FRAME) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => this.state = this.over(),
                Poll::Ready(Err(Cut)) => this.state = State::Breaking(Broken::CutOff),
                Poll::Pending => return this.poll_keep_alive(cx).map(|frame| Some(Ok(frame))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) && self.unsent.is_empty() && self.buffer.is_empty()
    }
}

/// The outcome of a run that has ended: its last event.
async fn outcome(mut events: Reader) -> Result<Outcome, Cut> {
    let (mut read, mut last) = (Vec::new(), None);
    while poll_fn(|cx| events.poll_read(cx, &mut read, FRAME)).await? {
        last = read.drain(..).next_back();
    }
    match last.map(|event| event.item.clone()) {
        Some(Item::Outcome(outcome)) => Ok(outcome),
        // A log that ends otherwise lacks its end.
        Some(Item::Chunk(_)) | None => Err(Cut),
    }
}

fn succeeded(outcome: &Outcome) -> Result<(), Problem> {
    Problem::of_outcome(outcome).map_or(Ok(()), Err)
}
