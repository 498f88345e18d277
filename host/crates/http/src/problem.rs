//! Why there is no answer, as RFC 9457 problem documents: the one place that says which code has which status.
//!
//! The same document is a response of its own before a stream has begun, and its `error` event afterwards.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use rookery_agents::Cut;
use rookery_core::{Code, Failure, Outcome, RunId, Stop};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::answer::{self, Body};

/// Why a request or its run did not work.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    run: Option<RunId>,
    stop: Option<Stop>,
}

/// What kind of thing went wrong: a run's failure, or a request that never became a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Failure(Code),
    BadAgentName,
    BadDeadline,
    BadEventId,
    BadIdempotencyKey,
    BadJson,
    BadPrompt,
    BadQuery,
    BadText,
    BodyIncomplete,
    BodyTimeout,
    BodyTooLarge,
    CrossOrigin,
    CutOff,
    DiskFull,
    MethodNotAllowed { allow: &'static str },
    Misdirected,
    MissingPrompt,
    NotAcceptable,
    NotAnAgent,
    NotFound,
    Taken,
    TooManyTokens { retry_after: u32 },
    Unauthorized,
    UnknownAgent,
    UnknownRun,
    UnsupportedMediaType,
}

impl Kind {
    /// The status, and the name that clients may rely on.
    fn facts(self) -> (StatusCode, &'static str) {
        match self {
            Kind::Failure(code) => (status(code), code.as_str()),
            Kind::BadAgentName => (StatusCode::BAD_REQUEST, "bad-agent-name"),
            Kind::BadDeadline => (StatusCode::BAD_REQUEST, "bad-deadline"),
            Kind::BadEventId => (StatusCode::BAD_REQUEST, "bad-event-id"),
            Kind::BadIdempotencyKey => (StatusCode::BAD_REQUEST, "bad-idempotency-key"),
            Kind::BadJson => (StatusCode::BAD_REQUEST, "bad-json"),
            Kind::BadPrompt => (StatusCode::BAD_REQUEST, "bad-prompt"),
            Kind::BadQuery => (StatusCode::BAD_REQUEST, "bad-query"),
            Kind::BadText => (StatusCode::BAD_REQUEST, "bad-text"),
            Kind::BodyIncomplete => (StatusCode::BAD_REQUEST, "body-incomplete"),
            Kind::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body-timeout"),
            Kind::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            Kind::CrossOrigin => (StatusCode::FORBIDDEN, "cross-origin"),
            Kind::CutOff => (StatusCode::SERVICE_UNAVAILABLE, "cut-off"),
            Kind::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
            Kind::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Kind::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected"),
            Kind::MissingPrompt => (StatusCode::BAD_REQUEST, "missing-prompt"),
            Kind::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not-acceptable"),
            Kind::NotAnAgent => (StatusCode::UNPROCESSABLE_ENTITY, "not-an-agent"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Kind::Taken => (StatusCode::CONFLICT, "taken"),
            Kind::TooManyTokens { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-tokens"),
            Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Kind::UnknownAgent => (StatusCode::NOT_FOUND, "unknown-agent"),
            Kind::UnknownRun => (StatusCode::NOT_FOUND, "unknown-run"),
            Kind::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type"),
        }
    }

    /// In how many seconds asking again may help. A busy agent, a full mailbox and a full host are free as soon
    /// as runs end; a host that stops has to be started again first.
    fn retry_after(self) -> Option<u32> {
        match self {
            Kind::Failure(Code::Busy | Code::MailboxFull | Code::Overloaded) => Some(1),
            Kind::Failure(Code::Draining) => Some(5),
            Kind::TooManyTokens { retry_after } => Some(retry_after),
            _ => None,
        }
    }
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::UnknownPlugin => StatusCode::NOT_FOUND,
        Code::Cancelled | Code::Busy => StatusCode::CONFLICT,
        Code::Rejected | Code::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::MailboxFull | Code::OverBudget => StatusCode::TOO_MANY_REQUESTS,
        Code::Failed
        | Code::Trapped
        | Code::MemoryExceeded
        | Code::OutputTooLarge
        | Code::LaunchFailed
        | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unavailable | Code::Interrupted | Code::InstanceLost | Code::Overloaded | Code::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::DeadlineExceeded | Code::Stalled => StatusCode::GATEWAY_TIMEOUT,
        Code::NotStored => StatusCode::INSUFFICIENT_STORAGE,
    }
}

impl Problem {
    /// The detail says what was tried and what to do next.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), run: None, stop: None }
    }

    /// A run that was cancelled.
    fn cancelled(stop: Stop) -> Self {
        let detail = match stop {
            Stop::BeforeStart => "the run was cancelled before it started",
            Stop::Returned => "the run was cancelled, and the agent stopped working on it",
            Stop::Dropped => {
                "the run was cancelled; the agent did not stop by itself, so its instance was dropped"
            }
        };
        Self { stop: Some(stop), ..Self::new(Kind::Failure(Code::Cancelled), detail) }
    }

    /// Why a run did not end well; none where it did.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Done => None,
            Outcome::Failed(failure) => Some(failure.clone().into()),
            Outcome::Cancelled(stop) => Some(Self::cancelled(*stop)),
        }
    }

    /// The same problem, of this run.
    pub(crate) fn of(self, run: RunId) -> Self {
        Self { run: Some(run), ..self }
    }

    /// Whether the client may still be sending the body of its request.
    pub(crate) fn leaves_body(&self) -> bool {
        !matches!(self.kind, Kind::BodyTimeout | Kind::BodyIncomplete)
    }

    /// The problem as a response of its own.
    pub(crate) fn response(self) -> Response<Body> {
        let document = Bytes::from(serde_json::to_vec(&self).unwrap_or_default());
        let mut response = Response::new(answer::whole(document));
        *response.status_mut() = self.kind.facts().0;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(run) = self.run {
            answer::name_run(headers, run);
        }
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        match self.kind {
            Kind::MethodNotAllowed { allow } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Kind::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The next attempt shall meet whoever takes over the address. HTTP/2 has no such header, and hyper leaves
            // it out there.
            Kind::Failure(Code::Draining) => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::new(Kind::Failure(failure.code), failure.message)
    }
}

impl From<Cut> for Problem {
    fn from(Cut: Cut) -> Self {
        let message =
            "the host could not keep, or not read, what this client had not read yet; the run itself goes on";
        Self::new(Kind::CutOff, message)
    }
}

impl Serialize for Problem {
    /// Without `type`: its default, `about:blank`, says that the title is the status in words.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (status, code) = self.kind.facts();
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("title", status.canonical_reason().unwrap_or_default())?;
        document.serialize_entry("status", &status.as_u16())?;
        document.serialize_entry("code", code)?;
        document.serialize_entry("detail", &self.detail)?;
        if let Some(run) = self.run {
            document.serialize_entry("run", &run.to_string())?;
        }
        if let Some(stop) = self.stop {
            document.serialize_entry("stop", stop.as_str())?;
        }
        document.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let all = [
            (Kind::Failure(Code::Rejected), 422),
            (Kind::Failure(Code::Unavailable), 503),
            (Kind::Failure(Code::Failed), 500),
            (Kind::Failure(Code::Trapped), 500),
            (Kind::Failure(Code::MemoryExceeded), 500),
            (Kind::Failure(Code::DeadlineExceeded), 504),
            (Kind::Failure(Code::OutputTooLarge), 500),
            (Kind::Failure(Code::LaunchFailed), 500),
            (Kind::Failure(Code::Interrupted), 503),
            (Kind::Failure(Code::InstanceLost), 503),
            (Kind::Failure(Code::Stalled), 504),
            (Kind::Failure(Code::NotStored), 507),
            (Kind::Failure(Code::OverBudget), 429),
            (Kind::Failure(Code::Cancelled), 409),
            (Kind::Failure(Code::Busy), 409),
            (Kind::Failure(Code::KeyReused), 422),
            (Kind::Failure(Code::MailboxFull), 429),
            (Kind::Failure(Code::Overloaded), 503),
            (Kind::Failure(Code::Draining), 503),
            (Kind::Failure(Code::UnknownPlugin), 404),
            (Kind::Failure(Code::Internal), 500),
            (Kind::BadAgentName, 400),
            (Kind::BadDeadline, 400),
            (Kind::BadEventId, 400),
            (Kind::BadIdempotencyKey, 400),
            (Kind::BadJson, 400),
            (Kind::BadPrompt, 400),
            (Kind::BadQuery, 400),
            (Kind::BadText, 400),
            (Kind::BodyIncomplete, 400),
            (Kind::BodyTimeout, 408),
            (Kind::BodyTooLarge, 413),
            (Kind::CrossOrigin, 403),
            (Kind::CutOff, 503),
            (Kind::DiskFull, 507),
            (Kind::MethodNotAllowed { allow: "GET" }, 405),
            (Kind::Misdirected, 421),
            (Kind::MissingPrompt, 400),
            (Kind::NotAcceptable, 406),
            (Kind::NotAnAgent, 422),
            (Kind::NotFound, 404),
            (Kind::Taken, 409),
            (Kind::TooManyTokens { retry_after: 9 }, 429),
            (Kind::Unauthorized, 401),
            (Kind::UnknownAgent, 404),
            (Kind::UnknownRun, 404),
            (Kind::UnsupportedMediaType, 415),
        ];
        let mut codes: Vec<_> = all.iter().map(|(kind, _)| kind.facts().1).collect();
        for (kind, status) in all {
            assert_eq!(kind.facts().0.as_u16(), status, "{kind:?}");
            assert_eq!(Problem::new(kind, "").response().status().as_u16(), status, "{kind:?}");
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all.len(), "each kind has a code of its own");
    }

    #[test]
    fn a_document_reads_like_this() {
        let run = "018f3f5e-0000-7000-8000-000000000001".parse().unwrap();
        let problem = Problem::from(Failure::new(Code::Failed, "no \"key\"\nfor the model")).of(run);
        insta::assert_snapshot!(serde_json::to_string(&problem).unwrap(), @r#"{"title":"Internal Server Error","status":500,"code":"failed","detail":"no \"key\"\nfor the model","run":"018f3f5e-0000-7000-8000-000000000001"}"#);
    }

    #[test]
    fn headers_say_when_to_come_back_and_what_is_allowed() {
        let headers = |kind| Problem::new(kind, "").response().headers().clone();
        assert_eq!(headers(Kind::Failure(Code::Busy))[RETRY_AFTER], "1");
        assert_eq!(headers(Kind::Failure(Code::MailboxFull))[RETRY_AFTER], "1");
        assert_eq!(headers(Kind::Failure(Code::Overloaded))[RETRY_AFTER], "1");
        assert_eq!(headers(Kind::Failure(Code::Draining))[RETRY_AFTER], "5");
        assert_eq!(headers(Kind::Failure(Code::Draining))[CONNECTION], "close");
        assert_eq!(headers(Kind::TooManyTokens { retry_after: 9 })[RETRY_AFTER], "9");
        assert_eq!(headers(Kind::Unauthorized)[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(headers(Kind::MethodNotAllowed { allow: "GET, HEAD" })[ALLOW], "GET, HEAD");
        assert!(!headers(Kind::Failure(Code::Failed)).contains_key(RETRY_AFTER));
    }
}
