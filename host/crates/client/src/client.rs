//! One host, and what can be asked of it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::MapOk;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Builder;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rookery_core::{AgentId, RunId, Span};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::base::{Base, BaseError};
use crate::error::{ClientError, Problem};
use crate::feed::Feed;
use crate::follow::Run;
use crate::page::Page;
use crate::state::{Pages, Query, State};

/// What a request carries: bytes that are there already, or a file as it is read.
pub(crate) type Body = Either<Full<Bytes>, File>;

/// The pieces of a file.
pub(crate) type File = StreamBody<Pieces>;
type Pieces = MapOk<ReaderStream<tokio::fs::File>, fn(Bytes) -> Frame<Bytes>>;

/// A host, seen from outside.
#[derive(Clone)]
pub struct Client {
    base: Base,
    http: legacy::Client<HttpConnector, Body>,
    pub(crate) settings: Settings,
}

/// How long a client waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A link on which nothing came for so long is broken. By default 45 s, three times what the host waits before it
    /// gives a sign of life: one may be lost and one be late.
    pub silence: Duration,
    /// So long a run is asked for after something new came last, until it is given up. By default 2 min, in which a
    /// host can be started again.
    pub patience: Duration,
    /// The bound of the first wait between two attempts, 100 ms by default; it doubles with every attempt.
    pub first_delay: Duration,
    /// What it doubles to, 5 s by default: a host that is back is found soon, and not flooded.
    pub longest_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(45),
            patience: Duration::from_secs(120),
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(5),
        }
    }
}

/// Long enough for a packet or two to be sent again.
const CONNECTING: Duration = Duration::from_secs(10);

/// The largest document that is read: a page of runs with long prompts.
const LARGEST_DOCUMENT: usize = 64 << 20;

const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";

impl Client {
    /// A client of the host at this URL, which is not looked for yet.
    ///
    /// # Errors
    ///
    /// When the URL is none of a host: `http://127.0.0.1:7070`.
    pub fn new(base: &str) -> Result<Self, BaseError> {
        Ok(Self::with(base.parse()?, Settings::default()))
    }

    /// A client that waits differently.
    pub fn with(base: Base, settings: Settings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECTING));
        // A run is never asked for on a connection that an earlier answer left in an unknown state.
        let http = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { base, http, settings }
    }

    /// Where the host is.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Submits a prompt, and follows its run from the beginning.
    ///
    /// # Errors
    ///
    /// When the prompt was not accepted, or with [`ClientError::Unanswered`] when it may have been. It is not sent
    /// again in any case.
    pub async fn prompt(&self, agent: &AgentId, text: &str) -> Result<Run, ClientError> {
        let response = self.post(agent, text, EVENT_STREAM, None).await?;
        let run = self.run_id(&response)?;
        let feed = self.feed(response)?;
        Ok(Run::new(self.clone(), run, feed))
    }

    /// Submits a prompt and leaves; the run goes on by itself.
    ///
    /// # Errors
    ///
    /// As [`Client::prompt`].
    pub async fn submit(&self, agent: &AgentId, text: &str) -> Result<RunId, ClientError> {
        let response = self.post(agent, text, JSON, Some("respond-async")).await?;
        self.run_id(&response)
    }

    /// Follows a run from after this event; 0 is the beginning. The host is first asked by [`Run::next`].
    pub fn follow(&self, run: RunId, after: u64) -> Run {
        Run::resuming(self.clone(), run, after)
    }

    /// Where a run stands.
    ///
    /// # Errors
    ///
    /// When the host does not say.
    pub async fn state(&self, run: RunId) -> Result<State, ClientError> {
        let request = Request::get(self.path(&format!("/runs/{run}"))?).header(ACCEPT, JSON);
        let response = self.send(request, "").await?;
        let status = response.status();
        State::read(self.document(response).await?).map_err(|error| self.foreign(status, error))
    }

    /// Cancels a run, and says where it stands then. Cancelling one that has ended changes nothing, and is no error;
    /// None where the host keeps nothing of it any more.
    ///
    /// # Errors
    ///
    /// When the host does not take it; after [`ClientError::Unanswered`] it can be asked again.
    pub async fn cancel(&self, run: RunId) -> Result<Option<State>, ClientError> {
        let request = Request::delete(self.path(&format!("/runs/{run}"))?).header(ACCEPT, JSON);
        let response = self.send(request, "").await?;
        let status = response.status();
        let document = self.document(response).await?;
        // A host without a log of its runs names the run and says no more.
        if document.get("run").is_some() && document.get("state").is_none() {
            return Ok(None);
        }
        State::read(document).map(Some).map_err(|error| self.foreign(status, error))
    }

    /// Lists runs, newest first.
    pub fn list(&self, query: &Query) -> Pages {
        Pages::new(self.clone(), query)
    }

    /// The stream of a run from after this event; None when there is nothing after it and never will be.
    pub(crate) async fn open(&self, run: RunId, after: u64) -> Result<Option<Feed>, ClientError> {
        let path = self.path(&format!("/runs/{run}?after={after}"))?;
        let response = self.send(Request::get(path).header(ACCEPT, EVENT_STREAM), "").await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.feed(response).map(Some)
    }

    /// One page of runs.
    pub(crate) async fn page(&self, path: &str) -> Result<Page<State>, ClientError> {
        let response = self.send(Request::get(self.path(path)?).header(ACCEPT, JSON), "").await?;
        let status = response.status();
        let document = self.document(response).await?;
        Page::read(document, "runs", State::read).map_err(|error| self.foreign(status, error))
    }

    async fn post(
        &self,
        agent: &AgentId,
        text: &str,
        accept: &str,
        prefer: Option<&str>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.path(&format!("/agents/{agent}"))?)
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        self.send(request, text).await
    }

    /// Sends a request and waits for the head of its answer. Whatever is no success is an error.
    async fn send(&self, request: Builder, body: &str) -> Result<Response<Incoming>, ClientError> {
        self.send_for(request, Either::Left(Full::from(body.to_owned())), self.settings.silence).await
    }

    /// The same, where the answer may take so long.
    pub(crate) async fn send_for(
        &self,
        request: Builder,
        body: Body,
        patience: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = request.body(body);
        let request = request.map_err(|error| self.foreign(StatusCode::OK, error.to_string()))?;
        let response = match timeout(patience, self.http.request(request)).await {
            Err(_) => return Err(self.unanswered(format!("nothing came for {}", Span(patience)))),
            Ok(Err(error)) if error.is_connect() => {
                return Err(ClientError::Unreachable { base: self.base.clone(), source: error.into() });
            }
            Ok(Err(error)) => return Err(self.unanswered(whole(&error))),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        if !is(response.headers(), "application/problem+json") {
            return self.foreign(status, format!("it answers {status} without a problem document"));
        }
        match self.document(response).await.map(serde_json::from_value::<Problem>) {
            Ok(Ok(problem)) => ClientError::Problem(problem),
            Ok(Err(error)) => self.foreign(status, error.to_string()),
            Err(error) => error,
        }
    }

    pub(crate) async fn document(&self, response: Response<Incoming>) -> Result<Value, ClientError> {
        let (status, silence) = (response.status(), self.settings.silence);
        let body = Limited::new(response.into_body(), LARGEST_DOCUMENT);
        match timeout(silence, body.collect()).await {
            Err(_) => Err(self.unanswered(format!("the answer was not complete within {}", Span(silence)))),
            Ok(Err(error)) => Err(self.unanswered(error.to_string())),
            Ok(Ok(body)) => serde_json::from_slice(&body.to_bytes())
                .map_err(|error| self.foreign(status, format!("its answer is not JSON: {error}"))),
        }
    }

    fn feed(&self, response: Response<Incoming>) -> Result<Feed, ClientError> {
        if !is(response.headers(), EVENT_STREAM) {
            return Err(self.foreign(response.status(), "its answer is no event stream"));
        }
        Ok(Feed::new(response.into_body(), self.settings.silence))
    }

    fn run_id(&self, response: &Response<Incoming>) -> Result<RunId, ClientError> {
        let id = response.headers().get("run-id").and_then(|id| id.to_str().ok()?.parse().ok());
        id.ok_or_else(|| self.foreign(response.status(), "its answer names no run"))
    }

    pub(crate) fn path(&self, path: &str) -> Result<http::Uri, ClientError> {
        self.base.join(path).map_err(|error| self.foreign(StatusCode::OK, format!("{path:?}: {error}")))
    }

    pub(crate) fn unanswered(&self, why: String) -> ClientError {
        ClientError::Unanswered { base: self.base.clone(), why }
    }

    pub(crate) fn foreign(&self, status: StatusCode, what: impl Into<String>) -> ClientError {
        ClientError::Foreign { base: self.base.clone(), what: what.into(), status }
    }
}

fn is(headers: &HeaderMap, media: &str) -> bool {
    let content = headers.get(CONTENT_TYPE).and_then(|content| content.to_str().ok()).unwrap_or_default();
    content.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media)
}

/// A file as the body of a request.
pub(crate) fn body(file: tokio::fs::File) -> Body {
    let frame: fn(Bytes) -> Frame<Bytes> = Frame::data;
    Either::Right(StreamBody::new(ReaderStream::with_capacity(file, 64 * 1024).map_ok(frame)))
}

/// An error with all its causes: hyper keeps the telling part at the bottom.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
