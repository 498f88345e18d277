//! The contract's `fetch`, on the host's own way out: these files only translate.
//!
//! Promises: a request belongs to the run that sent it, and ends with it or with what the guest drops; work that is left over
//! from a run sends none. What the agent wrote before is committed before anything of it leaves.

mod download;
mod upload;

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use rookery_outgoing::{AskedTimeouts, Body, ResponseBody, SendError};
use tokio_util::sync::DropGuard;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{Access, FutureProducer, FutureReader, HasSelf, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::contract::fetch;
use crate::http::Waiting;
use crate::state::State;
use crate::tasks;

use download::Download;

/// How much of what a guest says is repeated to it.
const REPEATED: usize = 100;

impl fetch::Host for State {}

impl fetch::HostWithStore<State> for HasSelf<State> {
    fn send(
        mut access: Access<'_, State, Self>,
        request: fetch::Request,
    ) -> wasmtime::Result<FutureReader<Result<fetch::Response, fetch::Error>>> {
        access.get().gate.pass()?;
        let run = tasks::current(access.as_context_mut())?;
        let ended = run.as_ref().map(|run| run.ended.child_token()).unwrap_or_default();
        let fetch::Request { method, url, headers, body, timeouts } = request;
        let body = match body {
            None => Body::default(),
            Some(fetch::Body::Text(text)) => whole(text),
            Some(fetch::Body::Bytes(bytes)) => whole(bytes),
            // Taken also where nothing will be sent: otherwise its writer would wait for ever.
            Some(fetch::Body::Streamed(stream)) => {
                upload::body(access.as_context_mut(), stream, ended.clone())?
            }
        };
        let request = run.ok_or(fetch::Error::Cancelled).and_then(|run| {
            let request = head(&method, &url, headers)?.map(|()| body);
            Ok((Waiting::new(&run, request.uri()), request))
        });
        let caller = access.get().outgoing.caller().clone();
        let ended = ended.drop_guard();
        // A task, so that it begins whether or not the guest waits for it already.
        let sending = AbortOnDropHandle::new(tokio::spawn(async move {
            let (waiting, request) = request?;
            let response = caller.send(request, ended.token().clone(), asked(timeouts)).await;
            let response = response.map_err(|error| fetch::Error::from(&error))?;
            Ok(Come { response, waiting, ended })
        }));
        FutureReader::new(access, Sending(sending))
    }
}

/// A request whose response has not come. Dropping it ends the request.
struct Sending(AbortOnDropHandle<Result<Come, fetch::Error>>);

/// A response that has come, and that nobody has looked at yet.
struct Come {
    response: Response<ResponseBody>,
    waiting: Waiting,
    ended: DropGuard,
}

impl FutureProducer<State> for Sending {
    type Item = Result<fetch::Response, fetch::Error>;

    fn poll_produce(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, State>,
        finish: bool,
    ) -> Poll<wasmtime::Result<Option<Self::Item>>> {
        Poll::Ready(match Pin::new(&mut self.0).poll(cx) {
            Poll::Ready(Ok(Ok(come))) => come.respond(store).map(|response| Some(Ok(response))),
            Poll::Ready(Ok(Err(error))) => Ok(Some(Err(error))),
            Poll::Ready(Err(lost)) => Err(lost.into()),
            Poll::Pending if finish => Ok(None),
            Poll::Pending => return Poll::Pending,
        })
    }
}

impl Come {
    fn respond(self, mut store: StoreContextMut<'_, State>) -> wasmtime::Result<fetch::Response> {
        let (head, body) = self.response.into_parts();
        let (download, ended) = Download::new(body, self.waiting, self.ended);
        Ok(fetch::Response {
            status: head.status.as_u16(),
            headers: texts(&head.headers),
            body: StreamReader::new(&mut store, download)?,
            ended: FutureReader::new(&mut store, ended.map(wasmtime::error::Ok))?,
        })
    }
}

/// The head of a request. An error repeats no value of a header, which may be a key.
fn head(method: &str, url: &str, headers: Vec<(String, String)>) -> Result<Request<()>, fetch::Error> {
    let invalid = |what: String| fetch::Error::Invalid(format!("the request cannot be sent: {what}"));
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes())
        .map_err(|_| invalid(format!("`{method:.REPEATED$}` is no method")))?;
    *request.uri_mut() =
        url.parse::<Uri>().map_err(|error| invalid(format!("`{url:.REPEATED$}` is no URL: {error}")))?;
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            invalid(format!(
                "the value of `{name:.REPEATED$}` holds what no header may, such as the end of a line"
            ))
        })?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{name:.REPEATED$}` is no name of a header")))?;
        request
            .headers_mut()
            .try_append(name, value)
            .map_err(|_| invalid("there are too many headers".into()))?;
    }
    Ok(request)
}

fn whole(body: impl Into<Full<bytes::Bytes>>) -> Body {
    Body::new(body.into().map_err(|never| match never {}))
}

fn asked(timeouts: Option<fetch::Timeouts>) -> AskedTimeouts {
    let wait = |asked: Option<u32>| asked.map(|wait| Duration::from_millis(wait.into()));
    timeouts.map_or_else(AskedTimeouts::default, |asked| AskedTimeouts {
        connect: wait(asked.connect),
        first_byte: wait(asked.first_byte),
        between_bytes: wait(asked.between_bytes),
    })
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// Every value is some text: where it is not UTF-8, each byte is a character of Latin-1.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

impl From<&SendError> for fetch::Error {
    fn from(error: &SendError) -> Self {
        let mut text = error.to_string();
        if let Some(source) = error.source() {
            text = format!("{text}: {source}");
        }
        match error {
            SendError::Denied { .. } | SendError::AddressDenied { .. } => Self::Denied(text),
            SendError::BadRequest(_) | SendError::Upload(_) => Self::Invalid(text),
            SendError::TooManyOpen { .. } => Self::TooMany(text),
            SendError::DnsTimeout { .. }
            | SendError::Dns { .. }
            | SendError::ConnectTimeout
            | SendError::ConnectionRefused
            | SendError::Unreachable(_)
            | SendError::TlsCertificate(_)
            | SendError::Tls(_)
            | SendError::NotRecorded(_) => Self::Unavailable(text),
            SendError::FirstByteTimeout | SendError::BetweenBytesTimeout(_) => Self::Timeout(text),
            SendError::Cancelled => Self::Cancelled,
            // And what is still to come: only of what is known not to have been sent is that said.
            _ => Self::Broken(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_utf_8_is_read_as_latin_1() {
        assert_eq!(text("käse".as_bytes()), "käse");
        assert_eq!(text(b"k\xe4se"), "käse");
    }

    #[test]
    fn what_is_no_request_is_refused_and_repeats_no_value() {
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let long = "x".repeat(100_000);
        let many: Vec<_> = (0..100_000).map(|number| (format!("x-{number}"), String::new())).collect();
        for (method, url, headers, says) in [
            ("", "http://a", vec![], "`` is no method"),
            ("GET /\r\n", "http://a", vec![], "is no method"),
            ("GET", "", vec![], "`` is no URL"),
            ("GET", "http://a/ b", vec![], "is no URL"),
            ("GET", &format!("http://a/{long}"), vec![], "is no URL"),
            ("GET", "http://a", header("", "secret"), "`` is no name of a header"),
            ("GET", "http://a", header("x y", "secret"), "`x y` is no name of a header"),
            ("GET", "http://a", header(&long, "secret"), "is no name of a header"),
            ("GET", "http://a", header("x", "secret\r\ny: z"), "the value of `x`"),
            ("GET", "http://a", many, "too many headers"),
        ] {
            let Err(fetch::Error::Invalid(text)) = head(method, url, headers) else { panic!("{says}") };
            assert!(text.contains(says) && !text.contains("secret") && text.len() < 300, "{says}: {text}");
        }
        let request = head("GET", "http://a/b?c#d", header("X-Y", "ä")).expect("a request");
        assert_eq!(request.uri(), "http://a/b?c");
        assert_eq!(request.headers()["x-y"].as_bytes(), "ä".as_bytes());
    }
}
