//! The three answers to a run: its stream, its text, or one document at its end.
//!
//! Promises: an answer whose end is missing never looks whole. A stream ends with `done` or `error`; a text that
//! lacks its end is a broken transfer, as is a stream whose reader was cut off; a document is there or is a problem.
//! Costs: a text waits for its first chunk before its head is sent, so that a run that fails at once has its status.

use std::io::{Result as IoResult, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderName, HeaderValue, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{Either, Full};
use rookery_agents::{Cut, Reader, Submitted};
use rookery_core::{Chunk, Event, Item, Outcome, RunId};

use crate::accept::Format;
use crate::payload::{self, infallible};
use crate::problem::Problem;
use crate::silence::Silence;
use crate::sse;

/// What every response carries: bytes that are there already, or a run that is followed.
pub(crate) type Body = Either<Full<Bytes>, Following>;

pub(crate) const RUN_ID: HeaderName = HeaderName::from_static("run-id");

/// How much goes into one frame: enough that a flood costs few system calls, little enough that a
/// slow client holds little memory.
const FRAME: usize = 64 * 1024;

/// What a stream holds while nothing happens; some ten short events go into it before the next is allocated.
const BUFFER: usize = 1024;

/// The answer to an accepted run.
pub(crate) async fn answer(
    format: Format,
    submitted: Submitted,
    keep_alive: Duration,
) -> Result<Response<Body>, Problem> {
    let Submitted { run, events } = submitted;
    let body = match format {
        Format::Stream => Either::Right(Following::stream(run, events, keep_alive)),
        Format::Text => Either::Right(text(run, events).await.map_err(|problem| problem.of(run))?),
        Format::Document => Either::Right(document(run, events).await.map_err(|problem| problem.of(run))?),
    };
    let mut response = head(format, body);
    response.headers_mut().insert(RUN_ID, run_id(run));
    Ok(response)
}

/// The head of an answer, as far as it does not depend on the run.
pub(crate) fn head(format: Format, body: Body) -> Response<Body> {
    let content_type = match format {
        Format::Stream => "text/event-stream",
        Format::Text => "text/plain; charset=utf-8",
        Format::Document => "application/json",
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    // Asks nginx not to collect what shall arrive at once.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// A run's id as the value of a header.
pub(crate) fn run_id(run: RunId) -> HeaderValue {
    // A UUID is made of characters that a header may hold.
    HeaderValue::try_from(run.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Why a body breaks off: the client shall see a transfer that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the host had no memory left for what this client had not read")]
    CutOff,
    #[error("the run failed after its text had begun")]
    Failed,
}

/// Follows a run: every event that is there goes out at once. Dropping it detaches; the run goes on.
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
    Stream(Silence),
    Text,
    /// It is in the buffer, complete.
    Document,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Ended,
    /// What was sent before shall still reach the client: an error takes unsent bytes with it.
    Breaking(Broken),
    Broken(Broken),
}

impl Following {
    fn new(run: RunId, events: Reader, shape: Shape) -> Self {
        Self {
            run,
            events,
            shape,
            state: State::Open,
            unsent: Vec::new(),
            buffer: BytesMut::with_capacity(BUFFER),
        }
    }

    fn stream(run: RunId, events: Reader, keep_alive: Duration) -> Self {
        Self::new(run, events, Shape::Stream(Silence::new(keep_alive)))
    }

    fn encode(&mut self) {
        for event in self.unsent.drain(..) {
            match &event.item {
                // Counts some bytes more than an event of the stream has around its text.
                Item::Chunk(chunk) => self.buffer.reserve(chunk.size()),
                Item::Outcome(_) => self.state = State::Ended,
            }
            match (&self.shape, &event.item) {
                (Shape::Stream(_), _) => sse::encode(&event, self.run, &mut self.buffer),
                (Shape::Text, Item::Chunk(Chunk::Text(text))) => self.buffer.put_slice(text.as_bytes()),
                (Shape::Text, Item::Chunk(_) | Item::Outcome(Outcome::Done)) | (Shape::Document, _) => {}
                (Shape::Text, Item::Outcome(Outcome::Failed(_) | Outcome::Cancelled(_))) => {
                    self.state = State::Breaking(Broken::Failed);
                }
            }
        }
    }

    /// What is encoded, where there is anything. A large event or document goes in pieces, so that it is held here,
    /// where it counts, rather than by a connection that cannot send it yet.
    fn frame(&mut self) -> Option<Frame<Bytes>> {
        if self.buffer.is_empty() {
            return None;
        }
        if let Shape::Stream(silence) = &mut self.shape {
            silence.broken();
        }
        let size = self.buffer.len().min(FRAME);
        Some(Frame::data(self.buffer.split_to(size).freeze()))
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        match &mut self.shape {
            Shape::Stream(silence) => {
                silence.poll_too_long(cx).map(|()| Frame::data(Bytes::from_static(sse::KEEP_ALIVE)))
            }
            Shape::Text | Shape::Document => Poll::Pending,
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
                Poll::Ready(Ok(false)) => this.state = State::Ended,
                Poll::Ready(Err(Cut)) => this.state = State::Breaking(Broken::CutOff),
                Poll::Pending => return this.poll_keep_alive(cx).map(|frame| Some(Ok(frame))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) && self.unsent.is_empty() && self.buffer.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.shape {
            Shape::Document => SizeHint::with_exact(self.buffer.len() as u64),
            Shape::Stream(_) | Shape::Text => SizeHint::default(),
        }
    }
}

/// Waits for the first text, and follows from there.
async fn text(run: RunId, mut events: Reader) -> Result<Following, Problem> {
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
    Ok(Following { unsent: first, ..Following::new(run, events, Shape::Text) })
}

/// Waits for the end, and says everything at once. The events stay in the log, and count there, until the client has
/// taken the document: it is about as large as they are.
async fn document(run: RunId, mut events: Reader) -> Result<Following, Problem> {
    events.ended().await?;
    let (mut text, mut chunks) = (String::new(), Vec::new());
    for event in events.peek() {
        match &event.item {
            Item::Chunk(Chunk::Text(more)) => text.push_str(more),
            Item::Chunk(chunk) => infallible(entry(chunk, &mut chunks)),
            Item::Outcome(outcome) => succeeded(outcome)?,
        }
    }
    let mut document = BytesMut::with_capacity(text.len() + chunks.len() + 80).writer();
    infallible(write!(document, "{{\"run\":\"{run}\",\"text\":"));
    infallible(payload::string(&text, &mut document));
    infallible(document.write_all(b",\"chunks\":["));
    infallible(document.write_all(&chunks));
    infallible(document.write_all(b"]}"));
    let following = Following::new(run, events, Shape::Document);
    Ok(Following { state: State::Ended, buffer: document.into_inner(), ..following })
}

fn entry(chunk: &Chunk, chunks: &mut Vec<u8>) -> IoResult<()> {
    let comma = if chunks.is_empty() { "" } else { "," };
    write!(chunks, "{comma}{{\"event\":\"{}\",\"data\":", payload::name(chunk))?;
    payload::write(chunk, chunks)?;
    chunks.write_all(b"}")
}

fn succeeded(outcome: &Outcome) -> Result<(), Problem> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Failed(failure) => Err(failure.clone().into()),
        Outcome::Cancelled(stop) => Err(Problem::cancelled(*stop)),
    }
}
