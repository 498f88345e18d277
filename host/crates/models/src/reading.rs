//! An answer whose head is there: its body, read as somebody asks for it.
//!
//! Promises: one poll hands over all that has arrived, up to [`TURN`]. The time that nobody asks is not the provider's.
//! Bounded by: the provider's time of silence, which pings and comments do not interrupt.
//! Ends when: the answer does; a response that has more to say then has [`TAIL`] to end, so that its connection can be
//! used again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::task::coop::poll_proceed;
use tokio::time::{Sleep, sleep, timeout};

use crate::delta::{Delta, Error};
use crate::failure::{Failure, Then};
use crate::parser::{Brought, Parser};
use crate::provider::Provider;
use crate::route::{ResponseBytes, mask};

/// After so many bytes a poll hands over what it has: as many as wait in a response, so a fast provider cannot keep a
/// task for itself.
const TURN: usize = 64 * 1024;

/// The last chunk of a response comes with its last event or a moment after.
const TAIL: Duration = Duration::from_secs(1);

pub(crate) struct Reading {
    body: ResponseBytes,
    parser: Parser,
    silence: Duration,
    /// Until the first delta another time is counted, by whoever waits for it.
    begun: bool,
    silent: Option<Pin<Box<Sleep>>>,
    secrets: Vec<String>,
}

impl Reading {
    pub(crate) fn new(
        provider: &Provider,
        headers: &HeaderMap,
        body: ResponseBytes,
        sent: usize,
        secrets: Vec<String>,
    ) -> Result<Reading, Failure> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let parser = match kind.as_str() {
            "application/json" => Parser::document(provider.dialect, &provider.model, sent),
            "text/html" => {
                let text = "the provider answered with a web page; look at its `url`".to_owned();
                return Err(Failure::new(Error::Unavailable(text), Then::Next));
            }
            _ => Parser::new(provider.dialect, &provider.model, sent),
        };
        Ok(Reading { body, parser, silence: provider.timeouts.silence, begun: false, silent: None, secrets })
    }

    /// The first delta was there: from now on silence is counted.
    pub(crate) fn has_begun(&mut self) {
        self.begun = true;
    }

    /// Appends all deltas that have arrived. Ready with true after the last one; an error is not among them.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<Delta>,
    ) -> Poll<Result<bool, Failure>> {
        let (before, mut read) = (into.len(), 0);
        loop {
            // A body that is always ready does not end a task's turn by itself.
            let turn = match poll_proceed(cx) {
                Poll::Ready(turn) => turn,
                Poll::Pending if into.len() > before => return Poll::Ready(Ok(false)),
                Poll::Pending => return Poll::Pending,
            };
            let item = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(item) => item,
                Poll::Pending if into.len() > before => return Poll::Ready(Ok(false)),
                Poll::Pending => {
                    ready!(self.poll_silence(cx));
                    return Poll::Ready(
                        self.lost(into, Failure::silent("the provider said nothing", self.silence)),
                    );
                }
            };
            turn.made_progress();
            let frame = match item {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(self.lost(into, Failure::cut(&error))),
                None => return Poll::Ready(self.parser.close(into).map(|()| true)),
            };
            let Some(data) = frame.data_ref() else { continue };
            read += data.len();
            match self.parser.read(data, into) {
                Ok(Brought::Nothing) => {}
                Ok(Brought::Some) => self.silent = None,
                Ok(Brought::End) => {
                    self.let_go();
                    return Poll::Ready(Ok(true));
                }
                Err(failure) => return Poll::Ready(Err(failure)),
            }
            if read >= TURN && into.len() > before {
                return Poll::Ready(Ok(false));
            }
        }
    }

    /// Counted from here and not from the last event: the time that nobody asks is the guest's.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let silence = self.silence;
        if !self.begun {
            return Poll::Pending;
        }
        self.silent.get_or_insert_with(|| Box::pin(sleep(silence))).as_mut().poll(cx)
    }

    /// The rest is lost; if all was said before, there is none.
    fn lost(&mut self, into: &mut Vec<Delta>, failure: Failure) -> Result<bool, Failure> {
        if !self.parser.has_ended() || failure.error == Error::Cancelled {
            return Err(failure);
        }
        self.parser.close(into).map(|()| true)
    }

    /// A response that is dropped before its end takes its connection with it.
    fn let_go(&mut self) {
        if self.body.is_end_stream() {
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        tokio::spawn(async move {
            let end = async {
                let mut read = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    read += frame.data_ref().map_or(0, bytes::Bytes::len);
                    if read > TURN {
                        break;
                    }
                }
            };
            let _ = timeout(TAIL, end).await;
        });
    }

    /// Appends the failure, after what was spent.
    pub(crate) fn fail(&mut self, error: Error, into: &mut Vec<Delta>) {
        self.parser.fail(mask(error, &self.secrets), into);
    }
}
