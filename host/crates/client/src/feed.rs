//! A response's body as the numbered events of a run.
//!
//! Bounded by: the longest silence, counted in bytes below the parser, where comments are seen too.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{EventStream, EventStreamError};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use crate::error::Broken;
use crate::update::Update;

type Parsed = Result<eventsource_stream::Event, EventStreamError<Broken>>;

/// One link to a run.
pub(crate) struct Feed {
    events: Pin<Box<dyn Stream<Item = Parsed> + Send>>,
    opened: Instant,
    silence: Duration,
}

impl Feed {
    pub(crate) fn new(body: Incoming, silence: Duration) -> Self {
        let events = Box::pin(EventStream::new(Box::pin(pieces(body, silence))));
        Self { events, opened: Instant::now(), silence }
    }

    /// The next event and its number. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<(u64, Update), Broken> {
        let event = match self.events.next().await {
            None => return Err(Broken::Ended),
            Some(Ok(event)) => event,
            Some(Err(EventStreamError::Transport(broken))) => return Err(broken),
            Some(Err(EventStreamError::Utf8(_))) => return Err(Broken::Garbled("a part that is not UTF-8")),
            Some(Err(EventStreamError::Parser(_))) => return Err(Broken::Garbled("a line of no known kind")),
        };
        let id = event.id.parse().map_err(|_| Broken::Garbled("an event without a number"))?;
        Ok((id, Update::read(event.event, event.data)?))
    }

    /// Whether the host gave signs of life on this link, apart from opening it; known once it broke. One that stood
    /// for half the longest silence and was not given up for its silence had some.
    pub(crate) fn lived(&self, end: &Broken) -> bool {
        !matches!(end, Broken::Silent(_)) && self.opened.elapsed() >= self.silence / 2
    }
}

/// The parser moves what it has not read yet with every line, so large frames of small lines would cost the square of
/// their size; but it looks at an unfinished line again with every piece, so the pieces must not be small either.
const PIECE: usize = 16 * 1024;

fn pieces(body: Incoming, silence: Duration) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    stream::try_unfold((body, Bytes::new(), true), move |(mut body, mut rest, mut first)| async move {
        while rest.is_empty() {
            match timeout(silence, body.frame()).await {
                Err(_) => return Err(Broken::Silent(silence)),
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => rest = frame?.into_data().unwrap_or_default(),
            }
        }
        // No host writes a byte order mark, and the parser panics on one.
        if first && rest[0] == 0xEF {
            return Err(Broken::Garbled("a byte order mark"));
        }
        first = false;
        let piece = rest.split_to(rest.len().min(PIECE));
        Ok(Some((piece, (body, rest, first))))
    })
}
