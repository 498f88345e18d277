//! A model to practise with: it answers as OpenAI's chat completions and Anthropic's Messages do, by rules that fit on
//! one page.
//!
//! Promises: the same request has the same answer, to the byte; every token is sent by itself, when its delay is
//! over; what is asked for to go wrong goes wrong as it would with a real model, a cut connection included.
//! Bounded by: [`BODY_LIMIT`], and the largest arguments that the rules allow.
//! Ends when: the future given to [`serve`] is done; answers under way then have [`GRACE`] to finish.
//!
//! The rules below are also what `GET /` answers.
//!
#![doc = include_str!("rules.md")]

mod anthropic;
mod embeddings;
mod rules;
mod stream;
mod wire;

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::rules::{Answer, Ending, Plan};
use crate::wire::{Asked, Chunks, Refusal, Usage};

/// How the practice model behaves when a prompt does not say otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time between two tokens of an answer. Zero sends them as fast as they are read.
    pub delay: Duration,
}

impl Default for Settings {
    /// Thirty milliseconds: fast enough not to wait for, slow enough to be seen streaming.
    fn default() -> Self {
        Self { delay: Duration::from_millis(30) }
    }
}

/// The longest request body that is read. A conversation of this size is beyond every real model's context.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// What answers under way have left after the stop, so that a short one ends properly and `/stall` ends at all.
pub const GRACE: Duration = Duration::from_secs(1);

const RULES: &str = include_str!("rules.md");

/// Serves the practice model until `stop` is done, then lets go of every connection within [`GRACE`].
///
/// Dropping the future closes all connections at once. A failed `accept` is tried again: today no error is returned.
pub async fn serve(
    mut listener: TcpListener,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = TowerToHyperService::new(router(settings));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, _) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = Listener::accept(&mut listener) => accepted,
        };
        // A token would otherwise wait up to 40 ms for the previous one's acknowledgement. A connection that
        // cannot be set up is one that the client has already left.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        while connections.try_join_next().is_some() {}
        let connection = auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service.clone())
            .into_owned();
        connections.spawn(graceful.watch(connection));
    }
    drop(listener);
    // Whoever has not finished by then is cut off when `connections` is dropped.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// The practice model as a router, for a server of one's own.
pub fn router(settings: Settings) -> Router {
    Router::new()
        .route("/", get(async || ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], RULES)))
        .route("/v1/models", get(async || wire::models()))
        .route("/v1/chat/completions", post(complete))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/messages", post(anthropic::message))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "There is nothing at this path."))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not have this method.")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(settings)
}

async fn complete(
    State(settings): State<Settings>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let asked = Asked::parse(&read(body)?)?;
    let (answer, delay) = answer(&asked, headers.get(header::AUTHORIZATION), &settings)?;
    if asked.stream {
        let usage = asked.wants_usage().then(|| Usage::new(&asked, &answer));
        return Ok(streamed(Chunks::new(&asked, usage), answer, delay));
    }
    whole(wire::completion(&asked, &answer), &answer, delay).await
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))
}

/// What the rules say, and the delay between its tokens.
fn answer(
    asked: &Asked,
    authorization: Option<&HeaderValue>,
    settings: &Settings,
) -> Result<(Answer, Duration), Refusal> {
    let authorization = authorization.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let plan = rules::plan(&rules::Question {
        prompt: &asked.prompt(),
        messages: asked.messages.len(),
        told: &asked.told(),
        authorization: authorization.as_deref(),
        most_tokens: asked.most_tokens(),
    });
    match plan {
        Plan::Fail(status) => Err(Refusal::asked_for(status)),
        Plan::Answer(answer) => {
            let delay = answer.delay.unwrap_or(settings.delay);
            Ok((answer, delay))
        }
    }
}

fn streamed(wording: impl stream::Wording + 'static, answer: Answer, delay: Duration) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(stream::Events::new(wording, answer, delay))).into_response()
}

async fn whole(mut document: Vec<u8>, answer: &Answer, delay: Duration) -> Result<Response, Refusal> {
    let gaps = u32::try_from(answer.tokens.saturating_sub(1)).unwrap_or(u32::MAX);
    let wait = delay.saturating_mul(gaps);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    match answer.ending {
        Ending::Stop | Ending::Cut | Ending::Length => {}
        Ending::Error => return Err(Refusal::asked_for(StatusCode::INTERNAL_SERVER_ERROR)),
        // Ends with the connection: the client leaves, or the server stops.
        Ending::Stall => std::future::pending().await,
    }
    let headers = [(header::CONTENT_TYPE, "application/json")];
    if answer.ending == Ending::Cut {
        document.truncate(document.len() / 2);
        return Ok((headers, Body::from_stream(stream::cut_after(document.into()))).into_response());
    }
    Ok((headers, document).into_response())
}
