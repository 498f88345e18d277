//! What a request asks: the prompt out of its body, or out of its query.
//!
//! A JSON body is an object with the text `prompt`; all of it is handed to the agent. Everything that calls itself
//! plain text is the prompt as it stands, and so is a form: `curl -d 'hello'` says `x-www-form-urlencoded` of
//! whatever it sends, so a form is not decoded.
//! Bounded by: `Settings::max_body` and `body_timeout` for one body, `Settings::bodies` for all together.

use std::fmt::Display;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use rookery_core::{ByteSize, Code, Span};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::problem::{Kind, Problem};
use crate::query;
use crate::server::Settings;

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The prompt.
    pub(crate) text: String,
    /// The whole JSON body, where there was one.
    pub(crate) body: Option<String>,
}

/// Reads bodies, in bounded memory.
#[derive(Debug)]
pub(crate) struct Bodies {
    settings: Settings,
    /// A permit is a byte.
    room: Semaphore,
}

#[derive(Clone, Copy)]
enum Media {
    Json,
    Text,
}

impl Bodies {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, room: Semaphore::new(settings.bodies.min(Semaphore::MAX_PERMITS)) }
    }

    /// The question in a request's body.
    pub(crate) async fn question<B>(&self, headers: &HeaderMap, body: &mut B) -> Result<Question, Problem>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let media = media(headers)?;
        let limit = self.settings.body_timeout;
        let body = timeout(limit, self.read(body)).await.map_err(|_| {
            let message = format!("the body was not complete within {}; send it faster", Span(limit));
            Problem::new(Kind::BodyTimeout, message)
        })??;
        let body = String::from_utf8(body).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            Problem::new(Kind::BadText, format!("the body is not UTF-8: byte {} is wrong", valid + 1))
        })?;
        match media {
            Media::Json => Ok(Question { text: prompt(&body)?, body: Some(body) }),
            Media::Text if body.is_empty() => Err(missing("the body is empty; put the prompt into it")),
            Media::Text => Ok(Question { text: body, body: None }),
        }
    }

    async fn read<B>(&self, body: &mut B) -> Result<Vec<u8>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let limit = self.settings.max_body;
        let (mut read, mut room) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Problem::new(Kind::BodyIncomplete, format!("the body broke off: {error}"))
            })?;
            let Ok(bytes) = frame.into_data() else { continue };
            if bytes.len() > limit - read.len() {
                let limit = ByteSize(limit as u64);
                let message = format!("the body is larger than {limit}; send less");
                return Err(Problem::new(Kind::BodyTooLarge, message));
            }
            let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let more = self.room.try_acquire_many(count).map_err(|_| no_room())?;
            match &mut room {
                Some(room) => SemaphorePermit::merge(room, more),
                None => room = Some(more),
            }
            read.extend_from_slice(&bytes);
        }
        Ok(read)
    }

    /// Passes over what is left of the body of a request that was refused, up to the size and time of the largest
    /// that would have been taken. A client that is still sending would find its connection reset, and not the answer.
    pub(crate) async fn pass_over<B>(&self, body: &mut B)
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let mut left = self.settings.max_body;
        let passing = async {
            while let Some(Ok(frame)) = body.frame().await {
                let size = frame.data_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(size);
                if left == 0 {
                    break;
                }
            }
        };
        // Who sends no faster has its answer after that anyway.
        let _ = timeout(self.settings.body_timeout, passing).await;
    }
}

/// The question in a query: its first `prompt`.
pub(crate) fn from_query(query: Option<&str>) -> Result<Question, Problem> {
    let (_, text) = query::pairs(query)
        .find(|(name, _)| name == b"prompt")
        .ok_or_else(|| missing("there is no prompt; add `?prompt=…`, or POST one"))?;
    let text = String::from_utf8(text)
        .map_err(|_| Problem::new(Kind::BadText, "the prompt in the query is not UTF-8"))?;
    Ok(Question { text, body: None })
}

fn media(headers: &HeaderMap) -> Result<Media, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Media::Text) };
    let value = String::from_utf8_lossy(value.as_bytes());
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" | "text/plain" | "application/x-www-form-urlencoded" => Ok(Media::Text),
        "application/json" => Ok(Media::Json),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(Media::Json),
        other => {
            let other: String = other.chars().take(100).collect();
            let message =
                format!("a body of `{other}` is not read here; send application/json or text/plain");
            Err(Problem::new(Kind::UnsupportedMediaType, message))
        }
    }
}

/// The `prompt` of a JSON body. Everything else in it is passed over without being built: a few bytes of JSON can
/// stand for a great many of memory.
fn prompt(json: &str) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        prompt: Option<&'a RawValue>,
    }

    let bad =
        |error: serde_json::Error| Problem::new(Kind::BadJson, format!("the body is not JSON: {error}"));
    // Asked first, since serde would take an array for the fields of an object.
    if !json.trim_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(json).map_err(bad)?;
        return Err(Problem::new(Kind::BadPrompt, "the body is no JSON object; send {\"prompt\": \"…\"}"));
    }
    let object: Object<'_> = serde_json::from_str(json).map_err(bad)?;
    let prompt =
        object.prompt.ok_or_else(|| missing("there is no `prompt` in the body; send {\"prompt\": \"…\"}"))?;
    serde_json::from_str(prompt.get())
        .map_err(|_| Problem::new(Kind::BadPrompt, "`prompt` is not a text; send {\"prompt\": \"…\"}"))
}

fn missing(message: &str) -> Problem {
    Problem::new(Kind::MissingPrompt, message)
}

fn no_room() -> Problem {
    Problem::new(
        Kind::Failure(Code::Overloaded),
        "this host is reading as much as it can hold; ask again later",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(problem: &Problem) -> String {
        serde_json::to_value(problem).unwrap()["code"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_prompt_is_found_in_its_body_and_nothing_else_is_taken_for_one() {
        let table = [
            (r#"{"prompt":"hi"}"#, Ok("hi")),
            (r#" {"a":[{"prompt":"no"}],"prompt":"é\n\u00e9","b":null} "#, Ok("é\né")),
            (r#"{"prompt":""}"#, Ok("")),
            (r#"{"prompt":null}"#, Err("missing-prompt")),
            (r#"{"Prompt":"hi"}"#, Err("missing-prompt")),
            ("{}", Err("missing-prompt")),
            (r#"{"prompt":1}"#, Err("bad-prompt")),
            (r#"{"prompt":["hi"]}"#, Err("bad-prompt")),
            (r#"["hi"]"#, Err("bad-prompt")),
            (r#""hi""#, Err("bad-prompt")),
            ("", Err("bad-json")),
            ("hi", Err("bad-json")),
            (r#"{"prompt":"hi""#, Err("bad-json")),
            (r#"{"prompt":"hi"} and more"#, Err("bad-json")),
            (r#"{"prompt":"hi","prompt":"ho"}"#, Err("bad-json")),
        ];
        for (json, expected) in table {
            let found = prompt(json).map_err(|problem| code(&problem));
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{json}");
        }
        assert_eq!(code(&prompt(&"[".repeat(1 << 20)).unwrap_err()), "bad-json");
        assert_eq!(code(&prompt(&"{\"a\":".repeat(1 << 20)).unwrap_err()), "bad-json");
    }

    #[test]
    fn bad_json_says_where() {
        let problem = serde_json::to_string(&prompt("{\n  \"prompt\": oops}").unwrap_err()).unwrap();
        assert!(problem.contains("line 2 column 13"), "{problem}");
    }

    #[test]
    fn a_query_is_decoded_as_forms_are() {
        let table = [
            ("prompt=hi", "hi"),
            ("a=b&prompt=one+two%20three&prompt=no", "one two three"),
            ("prompt=%C3%A9%2B%26", "é+&"),
            ("prompt=100%", "100%"),
            ("prompt=%zz%2", "%zz%2"),
            ("pro%6Dpt=a=b", "a=b"),
            ("prompt", ""),
        ];
        for (query, expected) in table {
            assert_eq!(from_query(Some(query)).unwrap().text, expected, "{query}");
        }
        assert_eq!(code(&from_query(None).unwrap_err()), "missing-prompt");
        assert_eq!(code(&from_query(Some("prompts=1")).unwrap_err()), "missing-prompt");
        assert_eq!(code(&from_query(Some("prompt=%ff")).unwrap_err()), "bad-text");
    }
}
