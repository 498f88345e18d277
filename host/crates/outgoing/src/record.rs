//! An exchange on its way past a recording: both bodies are listened to, and go on as they are.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use rookery_cassettes::{Ended, Recording, Secrets, Take};

use crate::body::Body;
use crate::error::SendError;

/// Begins to note a request; its body is noted as it is sent.
pub(crate) async fn begin(
    recording: &Recording,
    agent: &str,
    request: Request<Body>,
    secrets: Secrets,
) -> Result<(Take, Request<Body>), SendError> {
    let (head, body) = request.into_parts();
    let take = recording.take(agent, &head, secrets).await;
    let take = take.ok_or(SendError::BadRequest("only what an agent sends can be recorded"))?;
    Ok((take, Request::from_parts(head, body)))
}

/// Notes why there is no response, or no more of it. That the run has ended, or the guest failed, is no answer of a
/// server's.
pub(crate) fn note_failure(take: Option<&Take>, error: &SendError) {
    let Some(take) = take else { return };
    let how = match error {
        SendError::AddressDenied { address, .. } => {
            return take.ended(Ended::AddressDenied, address.to_string());
        }
        SendError::DnsTimeout { .. } => Ended::DnsTimeout,
        SendError::Dns { .. } => Ended::Dns,
        SendError::ConnectTimeout => Ended::ConnectTimeout,
        SendError::ConnectionRefused => Ended::ConnectionRefused,
        SendError::Unreachable(_) => Ended::Unreachable,
        SendError::TlsCertificate(_) => Ended::TlsCertificate,
        SendError::Tls(_) => Ended::Tls,
        SendError::FirstByteTimeout => Ended::FirstByteTimeout,
        SendError::BetweenBytesTimeout(_) => Ended::BetweenBytesTimeout,
        SendError::ConnectionClosed(_) => Ended::ConnectionClosed,
        SendError::Protocol(_) => Ended::Protocol,
        SendError::Denied { .. }
        | SendError::TooManyOpen { .. }
        | SendError::BadRequest(_)
        | SendError::Upload(_)
        | SendError::NotRecorded(_)
        | SendError::Cancelled => Ended::Cut,
    };
    let sources = std::iter::successors(error.source(), |&error| error.source());
    take.ended(how, sources.map(ToString::to_string).collect::<Vec<_>>().join(": "));
}

/// A response's body that is noted, if anybody does.
pub(crate) fn noted<B>(body: B, head: &response::Parts, take: Option<Take>) -> Noted<B>
where
    B: HttpBody<Data = Bytes, Error = SendError>,
{
    if let Some(take) = &take {
        take.head(head);
        if body.is_end_stream() {
            take.ended(Ended::Whole, "");
        }
    }
    Noted { body, take }
}

pub(crate) struct Noted<B> {
    body: B,
    take: Option<Take>,
}

impl<B> HttpBody for Noted<B>
where
    B: HttpBody<Data = Bytes, Error = SendError> + Unpin,
{
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let item = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(take) = &self.take {
            match &item {
                Some(Ok(frame)) => {
                    frame.data_ref().iter().for_each(|data| take.received(data));
                    frame.trailers_ref().iter().for_each(|trailers| take.trailers(trailers));
                    if self.body.is_end_stream() {
                        take.ended(Ended::Whole, "");
                    }
                }
                Some(Err(error)) => note_failure(Some(take), error),
                None => take.ended(Ended::Whole, ""),
            }
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
