//! The three answers to a run: its stream, its text, or one document at its end.
//!
//! Promises: nothing is said of a run before it is kept, so that no client knows of one that a crash could make
//! forgotten; an answer whose end is missing never looks whole.
//! Costs: a text waits for its first chunk before its head is sent, so that a run that fails at once has its status.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::{Either, Full};
use rookery_agents::Submitted;
use rookery_core::RunId;

use crate::accept::Format;
use crate::following::Following;
use crate::last_event::Ids;
use crate::problem::Problem;

/// What every response carries: bytes that are there already, or a run that is followed.
pub(crate) type Body = Either<Full<Bytes>, Following>;

const RUN_ID: HeaderName = HeaderName::from_static("run-id");

/// The answer to an accepted run.
pub(crate) async fn answer(
    format: Format,
    submitted: Submitted,
    ids: Ids,
    keep_alive: Duration,
) -> Result<Response<Body>, Problem> {
    let Submitted { run, events } = submitted;
    // An agent that answers at once does it on this very thread, if it is let: then the head and all of the answer leave
    // in one write, and nobody has to be woken.
    tokio::task::yield_now().await;
    events.accepted().await;
    let following = match format {
        Format::Stream => Ok(Following::stream(run, events, ids, keep_alive)),
        Format::Text => Following::text(run, events).await,
        Format::Document => Following::document(run, events).await,
    };
    let mut response = head(format, Either::Right(following.map_err(|problem| problem.of(run))?));
    name_run(response.headers_mut(), run);
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

/// Says which run a response is about, and where it is found.
pub(crate) fn name_run(headers: &mut HeaderMap, run: RunId) {
    // A UUID is made of characters that a header may hold.
    let value = |text| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    headers.insert(RUN_ID, value(run.to_string()));
    headers.insert(LOCATION, value(format!("/runs/{run}")));
}
