//! A response that was recorded, as if it came from its server.
//!
//! Promises: nothing is sent, nothing is looked up. A request's body is read to its end before there is an answer, since
//! it is what the answer is found by; a guest that waits for the one before it goes on with the other waits until its
//! time is over.
//! Bounded by: as much of a body as is recorded, and the times that hold for real responses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use rookery_cassettes::{BODY_LIMIT, Ended, Exchange, NotRecorded, Replaying, Speed};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::Body;
use crate::error::{BoxError, SendError};

/// What was recorded for this request, when it is time for it.
pub(crate) async fn answer(
    cassettes: &Replaying,
    agent: &str,
    request: Request<Body>,
) -> Result<Response<Replayed>, SendError> {
    let asked = Instant::now();
    let (head, mut body) = request.into_parts();
    let url = head.uri.to_string();
    let mut sent = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(SendError::Upload)?.into_data() else { continue };
        if data.len() > BODY_LIMIT - sent.len() {
            return Err(cassettes.too_large(agent, &head.method, &url).into());
        }
        sent.extend_from_slice(&data);
    }
    let exchange = cassettes.answer(agent, &head.method, &url, &sent)?;
    let clock = |from: Instant| (cassettes.speed() == Speed::Recorded).then_some(from);
    if let Some(asked) = clock(asked) {
        sleep_until(asked + millis(exchange.after)).await;
    }
    let Some(recorded) = &exchange.response else {
        return Err(failure(&exchange, &head.uri).unwrap_or_else(|| cassettes.cut(agent, &exchange).into()));
    };
    let mut response = Response::new(());
    *response.status_mut() = recorded.status;
    *response.headers_mut() = recorded.headers.clone();
    let pieces = recorded.pieces().map(|(at, data)| (at, Frame::data(data)));
    let trailers = recorded.trailers.clone().map(|trailers| (recorded.until, Frame::trailers(trailers)));
    let length =
        recorded.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let body = Replayed {
        frames: pieces.chain(trailers).collect::<Vec<_>>().into_iter(),
        length: length.unwrap_or(u64::MAX),
        // Of an empty body there was nothing to wait for.
        until: if recorded.frames.is_empty() && exchange.ended == Ended::Whole { 0 } else { recorded.until },
        cut: (exchange.ended == Ended::Cut).then(|| cassettes.cut(agent, &exchange)),
        agent: agent.to_owned(),
        uri: head.uri,
        exchange,
        head: clock(Instant::now()),
        waits: None,
    };
    Ok(response.map(|()| body))
}

/// Says of a request that was not recorded what was.
pub(crate) fn log(agent: &str, error: &SendError) {
    if let SendError::NotRecorded(missing) = error {
        tracing::warn!(agent, "{missing}");
    }
}

/// What a request failed with when it was recorded, if it did.
fn failure(exchange: &Exchange, uri: &Uri) -> Option<SendError> {
    let host = || uri.host().unwrap_or_default().to_owned();
    let source = || BoxError::from(format!("as it was recorded: {}", exchange.detail));
    Some(match exchange.ended {
        Ended::Whole | Ended::Cut | Ended::TooLarge => return None,
        Ended::DnsTimeout => SendError::DnsTimeout { host: host() },
        Ended::Dns => SendError::Dns { host: host(), source: io::Error::other(source()) },
        Ended::AddressDenied => match exchange.detail.parse() {
            Ok(address) => SendError::AddressDenied { host: host(), address },
            Err(_) => SendError::Unreachable(source()),
        },
        Ended::ConnectTimeout => SendError::ConnectTimeout,
        Ended::ConnectionRefused => SendError::ConnectionRefused,
        Ended::Unreachable => SendError::Unreachable(source()),
        Ended::TlsCertificate => SendError::TlsCertificate(source()),
        Ended::Tls => SendError::Tls(source()),
        Ended::FirstByteTimeout => SendError::FirstByteTimeout,
        Ended::BetweenBytesTimeout => {
            let last = exchange.response.as_ref().and_then(|response| {
                let last = response.frames.last().map_or(0, |frame| frame.at);
                response.until.checked_sub(last)
            });
            SendError::BetweenBytesTimeout(millis(last.unwrap_or_default()))
        }
        Ended::ConnectionClosed => SendError::ConnectionClosed(source()),
        Ended::Protocol => SendError::Protocol(source()),
    })
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

/// A recorded body: its frames at their times, and then its end.
pub(crate) struct Replayed {
    frames: std::vec::IntoIter<(u32, Frame<Bytes>)>,
    /// What the response says of its length.
    length: u64,
    until: u32,
    cut: Option<NotRecorded>,
    agent: String,
    uri: Uri,
    exchange: Arc<Exchange>,
    /// When the head came; `None` where nothing is waited for.
    head: Option<Instant>,
    waits: Option<Pin<Box<Sleep>>>,
}

impl Replayed {
    /// What it ends in after its last frame, if not in its end.
    fn failure(&mut self) -> Option<SendError> {
        match self.cut.take() {
            Some(cut) => Some(SendError::from(cut)).inspect(|cut| log(&self.agent, cut)),
            None => failure(&self.exchange, &self.uri),
        }
    }
}

impl HttpBody for Replayed {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let this = &mut *self;
        if let Some(head) = this.head {
            let at = this.frames.as_slice().first().map_or(this.until, |&(at, _)| at);
            let waits = this.waits.get_or_insert_with(|| Box::pin(sleep_until(head + millis(at))));
            ready!(waits.as_mut().poll(cx));
            this.waits = None;
        }
        match this.frames.next() {
            Some((_, frame)) => {
                this.length =
                    this.length.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(this.failure().map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        let timed = self.head.is_some_and(|head| Instant::now() < head + millis(self.until));
        self.frames.as_slice().is_empty() && self.exchange.ended == Ended::Whole && !timed
    }

    fn size_hint(&self) -> SizeHint {
        if self.length == u64::MAX || self.is_end_stream() {
            SizeHint::default()
        } else {
            SizeHint::with_exact(self.length)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;
    use std::net::{IpAddr, Ipv4Addr};

    use rookery_cassettes::{Recording, Secrets};

    use super::*;
    use crate::record::note_failure;

    #[tokio::test]
    async fn a_failure_that_was_recorded_is_the_same_failure() {
        let host = || "a.example".to_owned();
        let source = || BoxError::from("cause");
        let failures = [
            SendError::DnsTimeout { host: host() },
            SendError::Dns { host: host(), source: io::Error::other("cause") },
            SendError::AddressDenied { host: host(), address: IpAddr::V4(Ipv4Addr::LOCALHOST) },
            SendError::ConnectTimeout,
            SendError::ConnectionRefused,
            SendError::Unreachable(source()),
            SendError::TlsCertificate(source()),
            SendError::Tls(source()),
            SendError::FirstByteTimeout,
            SendError::BetweenBytesTimeout(Duration::ZERO),
            SendError::ConnectionClosed(source()),
            SendError::Protocol(source()),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let recording = Recording::begin(folder.path()).expect("an empty folder");
        let request = |at: usize| Request::get(format!("http://a.example/{at}")).body(Body::default());
        for (at, failure) in failures.iter().enumerate() {
            let (head, _) = request(at).expect("a request").into_parts();
            let take = recording.take("chat/alice", &head, Secrets::default()).await;
            note_failure(take.as_ref(), failure);
        }
        recording.settled().await;
        let cassettes = Replaying::open(folder.path(), Speed::Instant).expect("cassettes");
        for (at, failure) in failures.iter().enumerate() {
            let request = request(at).expect("a request");
            let again = answer(&cassettes, "chat/alice", request).await.err().expect("a failure");
            assert_eq!(discriminant(&again), discriminant(failure), "{again:?}");
            assert_eq!(again.to_string(), failure.to_string());
        }
    }
}
