//! What one provider's language has to say for itself. A third one is one file more, and a line in [`speak`].

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;

use crate::anthropic::Anthropic;
use crate::check::Asked;
use crate::delta::{Delta, Error, Reason, Usage};
use crate::failure::{Failure, Then};
use crate::openai::OpenAi;
use crate::provider::{Dialect, Key, Provider};

/// A language: how requests are written in it, and answers read.
pub(crate) trait Speak: Send + Sync {
    /// Where to ask, after the provider's base URL.
    fn chat_path(&self, base: &str) -> &'static str;

    /// The header that shows the key.
    fn key(&self, key: &Key) -> (&'static str, String);

    /// Headers that each request has besides.
    fn headers(&self) -> &'static [(&'static str, &'static str)];

    /// A request's body.
    fn write(&self, provider: &Provider, asked: &Asked) -> Result<Vec<u8>, Error>;

    /// A reader for one answer.
    fn reader(&self) -> Box<dyn Reader>;

    /// Where to ask for embeddings; none where there are none.
    fn embed_path(&self) -> Option<&'static str>;
}

/// Reads one answer. What is heard goes into `into` as it is understood; empty deltas do not.
pub(crate) trait Reader: Send {
    /// One event of a stream.
    fn event(&mut self, data: &[u8], into: &mut Vec<Delta>) -> Result<Step, Failure>;

    /// An answer that came in one document, because the server does not stream.
    fn document(&mut self, body: &[u8], into: &mut Vec<Delta>) -> Result<(), Failure>;

    /// How it ended, if it was said. What is known of it is taken out.
    fn ending(&mut self) -> Option<(Reason, Option<String>)>;

    /// Whether it was said how it ended.
    fn has_ended(&self) -> bool;

    /// What is known of what was spent.
    fn spent(&self) -> &Spent;
}

/// What an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A sign of life, and nothing of the answer.
    Nothing,
    /// Something of the answer, though maybe not a delta yet.
    Some,
    /// The last one.
    Last,
}

/// The provider's figures, as far as it gave them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) model: String,
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
}

impl Spent {
    pub(crate) fn name(&mut self, model: &str) {
        if self.model.is_empty() {
            model.clone_into(&mut self.model);
        }
    }

    /// With the estimate in the place of what is missing.
    pub(crate) fn usage(&self, model: &str, sent: usize, heard: usize) -> Usage {
        let model = if self.model.is_empty() { model } else { &self.model };
        Usage {
            model: model.to_owned(),
            input_tokens: self.input.unwrap_or_else(|| estimate_tokens(sent)),
            output_tokens: self.output.unwrap_or_else(|| estimate_tokens(heard)),
        }
    }
}

/// What a text of so many bytes has in tokens where a provider does not say: one for every four bytes, rounded up. True
/// of English; other languages and JSON have more.
pub fn estimate_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

pub(crate) fn speak(dialect: Dialect) -> &'static dyn Speak {
    match dialect {
        Dialect::OpenAi => &OpenAi,
        Dialect::Anthropic => &Anthropic,
    }
}

/// A text of a JSON document, borrowed where it has no escapes. (serde borrows no `Cow` inside an `Option` by itself.)
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// An optional text that is not empty.
pub(crate) fn said<'s>(text: &'s Option<Str<'_>>) -> Option<&'s str> {
    text.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty())
}

/// The same, to keep.
pub(crate) fn words(text: Option<Str<'_>>) -> Option<String> {
    text.filter(|text| !text.0.is_empty()).map(|text| text.0.into_owned())
}

/// What did not parse. Another try may go better.
pub(crate) fn not_understood(error: &serde_json::Error) -> Failure {
    // The error of serde_json names a place and what was expected there, and quotes a few characters at most.
    Failure::broken(format!("the provider's stream was not understood: {error}"))
}

/// An error as a provider words it, in whichever of the shapes that are about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) message: String,
    /// Its kind or code, such as `overloaded_error` or `insufficient_quota`.
    pub(crate) kinds: Vec<String>,
    /// A code that is an HTTP status.
    pub(crate) status: Option<u16>,
}

/// Longer messages are cut here. They are for a person.
const MESSAGE_LIMIT: usize = 600;

impl Said {
    /// Reads `{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, `{"detail": …}`, or plain text.
    pub(crate) fn parse(body: &[u8]) -> Said {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(value) => {
                Said::from_value(value.get("error").filter(|error| !error.is_null()).unwrap_or(&value))
            }
            Err(_) if text.trim_start().starts_with('<') => Said::default(), // A page of some proxy's.
            Err(_) => Said { message: plain(&text), ..Said::default() },
        }
    }

    pub(crate) fn raw(error: &RawValue) -> Said {
        serde_json::from_str(error.get()).map(|value| Said::from_value(&value)).unwrap_or_default()
    }

    fn from_value(error: &serde_json::Value) -> Said {
        let text = |field: &str| error.get(field).and_then(serde_json::Value::as_str);
        let message = match (error.as_str(), text("message").or_else(|| text("detail"))) {
            (Some(message), _) | (None, Some(message)) => plain(message),
            (None, None) => plain(&error.to_string()),
        };
        let code = error.get("code").or_else(|| error.get("status"));
        let status = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        Said {
            message,
            kinds: ["type", "code"].into_iter().filter_map(text).map(str::to_owned).collect(),
            status: status.and_then(|status| u16::try_from(status).ok()),
        }
    }

    fn is(&self, kinds: &[&str]) -> bool {
        self.kinds.iter().any(|kind| kinds.contains(&kind.as_str()))
    }

    /// The failure that this is inside a stream, whose status was 200.
    pub(crate) fn in_stream(&self) -> Failure {
        let then = match self.status {
            Some(status) if (400..600).contains(&status) => then(status, self, None),
            _ if self.is(&REQUESTS_FAULT) => Then::Stop,
            _ if self.is(&PROVIDERS_REFUSAL) => Then::Next,
            _ => Then::Again(None),
        };
        let said = if self.message.is_empty() { "nothing about it" } else { &self.message };
        self.failure(format!("the provider broke off, and said: {said}"), then)
    }

    /// The failure that a response of this status is.
    pub(crate) fn with_status(&self, status: http::StatusCode, after: Option<Duration>) -> Failure {
        let text = match self.message.as_str() {
            "" => format!("the provider answered {status}"),
            message => format!("the provider answered {status}: {message}"),
        };
        self.failure(text, then(status.as_u16(), self, after))
    }

    fn failure(&self, text: String, then: Then) -> Failure {
        let unavailable = matches!(then, Then::Again(_)) || self.is(&OUT_OF_CREDIT);
        Failure::new(if unavailable { Error::Unavailable(text) } else { Error::Rejected(text) }, then)
    }
}

const REQUESTS_FAULT: [&str; 4] =
    ["invalid_request_error", "request_too_large", "BadRequestError", "context_length_exceeded"];
const PROVIDERS_REFUSAL: [&str; 6] = [
    "authentication_error",
    "permission_error",
    "billing_error",
    "not_found_error",
    "insufficient_quota",
    "invalid_api_key",
];
/// Comes with 429, but waiting does not help.
const OUT_OF_CREDIT: [&str; 1] = ["insufficient_quota"];

/// What a status means for the next try. With 401 to 404 something is wrong between the host and this provider (its key,
/// its credit, its model's name), so a fallback may know better; with other 4xx it is the request.
fn then(status: u16, said: &Said, after: Option<Duration>) -> Then {
    match status {
        429 if said.is(&OUT_OF_CREDIT) => Then::Next,
        408 | 429 | 500..=599 => Then::Again(after),
        300..=399 | 401..=404 => Then::Next,
        _ => Then::Stop,
    }
}

/// One line of bounded length.
fn plain(text: &str) -> String {
    let mut plain: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    plain.retain(|char| !char.is_control());
    if plain.len() > MESSAGE_LIMIT {
        plain.truncate(plain.floor_char_boundary(MESSAGE_LIMIT));
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn an_error_is_read_in_every_shape_that_providers_give_it() {
        for (body, message, kinds, status) in [
            (
                r#"{"error":{"message":"No such\nmodel","type":"invalid_request_error","code":null}}"#,
                "No such model",
                &["invalid_request_error"][..],
                None,
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "Overloaded",
                &["overloaded_error"],
                None,
            ),
            (r#"{"error":"model 'x' not found"}"#, "model 'x' not found", &[], None),
            (
                r#"{"object":"error","message":"too long","type":"BadRequestError","code":400}"#,
                "too long",
                &["BadRequestError"],
                Some(400),
            ),
            (r#"{"detail":"Not Found"}"#, "Not Found", &[], None),
            (r#"{"error":{"code":502,"message":"away"}}"#, "away", &[], Some(502)),
            ("upstream connect error", "upstream connect error", &[], None),
            ("<html>Bad Gateway</html>", "", &[], None),
            ("", "", &[], None),
        ] {
            let said = Said::parse(body.as_bytes());
            assert_eq!((said.message.as_str(), said.status), (message, status), "{body}");
            assert_eq!(said.kinds, kinds, "{body}");
        }
        let long = Said::parse("é".repeat(5000).as_bytes()).message;
        assert!(long.len() <= MESSAGE_LIMIT + '…'.len_utf8() && long.ends_with('…'));
    }

    #[test]
    fn a_status_says_whether_to_try_again_go_on_or_stop() {
        let said = Said::default();
        let after = Some(Duration::from_secs(3));
        for (status, expected) in [
            (302, Then::Next),
            (400, Then::Stop),
            (401, Then::Next),
            (402, Then::Next),
            (403, Then::Next),
            (404, Then::Next),
            (408, Then::Again(after)),
            (413, Then::Stop),
            (422, Then::Stop),
            (429, Then::Again(after)),
            (500, Then::Again(after)),
            (503, Then::Again(after)),
            (529, Then::Again(after)),
        ] {
            let failure = said.with_status(StatusCode::from_u16(status).expect("a status"), after);
            assert_eq!(failure.then, expected, "{status}");
            assert_eq!(
                matches!(failure.error, Error::Unavailable(_)),
                matches!(expected, Then::Again(_)),
                "{status}"
            );
        }
        let broke = Said::parse(br#"{"error":{"message":"pay","code":"insufficient_quota"}}"#);
        let failure = broke.with_status(StatusCode::TOO_MANY_REQUESTS, after);
        assert_eq!(failure.then, Then::Next);
        assert!(
            matches!(failure.error, Error::Unavailable(text) if text.ends_with("429 Too Many Requests: pay"))
        );
    }

    #[test]
    fn an_error_inside_a_stream_is_judged_by_its_code_or_its_kind() {
        for (body, expected) in [
            (r#"{"type":"overloaded_error"}"#, Then::Again(None)),
            (r#"{"type":"invalid_request_error"}"#, Then::Stop),
            (r#"{"type":"authentication_error"}"#, Then::Next),
            (r#"{"code":503}"#, Then::Again(None)),
            (r#"{"code":400}"#, Then::Stop),
            (r#"{"code":"429"}"#, Then::Again(None)),
            (r#"{"message":"?"}"#, Then::Again(None)),
        ] {
            assert_eq!(Said::parse(body.as_bytes()).in_stream().then, expected, "{body}");
        }
    }

    #[test]
    fn an_estimate_is_a_token_for_every_four_bytes() {
        assert_eq!([0, 1, 4, 5].map(estimate_tokens), [0, 1, 1, 2]);
    }
}
