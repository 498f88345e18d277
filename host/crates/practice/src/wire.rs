//! The shapes of OpenAI's chat completions, as JSON.
//!
//! Promises: nothing in a response depends on the clock or on chance; what a client forgot is named to it.
//! Costs: a streamed chunk is put together from finished pieces, so only its token is encoded when it is sent.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rules::{Answer, Call, Ending};
use crate::stream::Wording;

/// When every answer was made: 14 November 2023. A real time would make each answer a different one.
const CREATED: u64 = 1_700_000_000;

/// The end of a stream that came to its end.
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// The body of a request, as far as the rules look at it.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) messages: Vec<Message>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) stream: bool,
    #[serde(default, deserialize_with = "or_default")]
    stream_options: StreamOptions,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    role: String,
    #[serde(default, deserialize_with = "or_default")]
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`content` has to be a string or an array of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Parts(Vec::new())
    }
}

/// Text, or something that the practice model has no eyes for.
#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default, deserialize_with = "or_default")]
    include_usage: bool,
}

/// Clients that write all fields send `null` for those that they do not use.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Asked {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let asked: Self = serde_json::from_slice(body).map_err(|error| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("The body is not a chat completion's JSON: {error}"),
            )
        })?;
        if asked.model.is_empty() {
            return Err(Refusal::field("model", "`model` is missing: any name will do."));
        }
        if asked.messages.is_empty() {
            return Err(Refusal::field(
                "messages",
                "`messages` is missing or empty: at least one is needed.",
            ));
        }
        for (field, most) in
            [("max_tokens", asked.max_tokens), ("max_completion_tokens", asked.max_completion_tokens)]
        {
            if most == Some(0) {
                return Err(Refusal::field(field, format!("`{field}` has to be at least 1.")));
            }
        }
        Ok(asked)
    }

    /// What tools answered after the last user message.
    pub(crate) fn told(&self) -> Vec<String> {
        let after = self.messages.iter().rev().take_while(|message| message.role != "user");
        let mut told: Vec<_> = after.filter(|message| message.role == "tool").map(Message::text).collect();
        told.reverse();
        told
    }

    /// Text of the last user message.
    pub(crate) fn prompt(&self) -> String {
        self.messages.iter().rfind(|message| message.role == "user").map(Message::text).unwrap_or_default()
    }

    pub(crate) fn most_tokens(&self) -> Option<usize> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.include_usage
    }

    pub(crate) fn id(&self) -> String {
        format!("chatcmpl-{:016x}", self.hash())
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hash = Fnv::default();
        for message in &self.messages {
            for part in [message.role.as_str(), "\0", &message.text(), "\0"] {
                hash.add(part);
            }
        }
        hash.0
    }
}

impl Message {
    pub(crate) fn new(role: &str, text: String) -> Self {
        Self { role: role.to_owned(), content: Content::Text(text) }
    }

    fn text(&self) -> String {
        match &self.content {
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => parts.iter().map(|part| part.text.as_str()).collect(),
        }
    }
}

/// FNV-1a: the standard library's hashes may change with its version.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    pub(crate) fn new(asked: &Asked, answer: &Answer) -> Self {
        let prompt_tokens =
            asked.messages.iter().map(|message| message.text().split_whitespace().count()).sum();
        let completion_tokens = answer.tokens;
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// Makes the chunks of one stream, each a finished Server-Sent Event.
pub(crate) struct Chunks {
    /// From `data: ` to the `[` of the choices.
    head: String,
    /// From the `]` of the choices to the blank line.
    tail: &'static str,
    usage: Option<Usage>,
}

impl Chunks {
    /// With usage, if the client asked for it.
    pub(crate) fn new(asked: &Asked, usage: Option<Usage>) -> Self {
        let (id, model) = (asked.id(), encoded(&asked.model));
        let head = format!(
            r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{CREATED},"model":{model},"choices":["#
        );
        let tail = if usage.is_some() { "],\"usage\":null}\n\n" } else { "]}\n\n" };
        Self { head, tail, usage }
    }

    fn usage(&self) -> Option<Bytes> {
        let usage = encoded(&self.usage?);
        Some(format!("{}],\"usage\":{usage}}}\n\n", self.head).into())
    }

    /// A call as OpenAI sends it: its name first, and its arguments in pieces.
    fn call(&self, index: usize, call: &Call) -> Vec<Bytes> {
        let middle = call.arguments.floor_char_boundary(call.arguments.len() / 2);
        let (begin, end) = call.arguments.split_at(middle);
        let named = json!({ "index": index, "id": call.id, "type": "function", "function": { "name": call.name, "arguments": "" } });
        let piece = |arguments: &str| json!({ "index": index, "function": { "arguments": arguments } });
        [named, piece(begin), piece(end)]
            .iter()
            .map(|call| {
                self.chunk(&[
                    br#"{"index":0,"delta":{"tool_calls":["#,
                    encoded(call).as_bytes(),
                    br#"]},"finish_reason":null}"#,
                ])
            })
            .collect()
    }

    fn chunk(&self, choice: &[&[u8]]) -> Bytes {
        let choice_len: usize = choice.iter().map(|part| part.len()).sum();
        let mut chunk = Vec::with_capacity(self.head.len() + choice_len + self.tail.len());
        chunk.extend_from_slice(self.head.as_bytes());
        choice.iter().for_each(|part| chunk.extend_from_slice(part));
        chunk.extend_from_slice(self.tail.as_bytes());
        chunk.into()
    }
}

impl Wording for Chunks {
    fn opening(&mut self) -> Bytes {
        self.chunk(&[br#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#])
    }

    fn thought(&mut self, token: &str) -> Bytes {
        let token = encoded(token);
        self.chunk(&[
            br#"{"index":0,"delta":{"reasoning_content":"#,
            token.as_bytes(),
            br#"},"finish_reason":null}"#,
        ])
    }

    fn token(&mut self, token: &str) -> Bytes {
        let token = encoded(token);
        self.chunk(&[br#"{"index":0,"delta":{"content":"#, token.as_bytes(), br#"},"finish_reason":null}"#])
    }

    fn finish(&mut self, calls: &[Call], ending: Ending) -> Vec<Bytes> {
        let mut frames: Vec<_> =
            calls.iter().enumerate().flat_map(|(index, call)| self.call(index, call)).collect();
        let reason = finish_reason(calls, ending);
        frames.push(self.chunk(&[
            br#"{"index":0,"delta":{},"finish_reason":""#,
            reason.as_bytes(),
            br#""}"#,
        ]));
        frames.extend(self.usage());
        frames.push(DONE);
        frames
    }

    fn failure(&self) -> Bytes {
        Refusal::asked_for(StatusCode::INTERNAL_SERVER_ERROR).event()
    }
}

fn finish_reason(calls: &[Call], ending: Ending) -> &'static str {
    match ending {
        Ending::Length => "length",
        _ if !calls.is_empty() => "tool_calls",
        _ => "stop",
    }
}

pub(crate) fn encoded(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings and numbers can always be written as JSON")
}

/// An answer in one document.
pub(crate) fn completion(asked: &Asked, answer: &Answer) -> Vec<u8> {
    let mut document = json!({
        "id": asked.id(),
        "object": "chat.completion",
        "created": CREATED,
        "model": asked.model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": answer.text, "refusal": null },
            "logprobs": null,
            "finish_reason": finish_reason(&answer.calls, answer.ending),
        }],
        "usage": Usage::new(asked, answer),
    });
    let message = &mut document["choices"][0]["message"];
    if !answer.thoughts.is_empty() {
        message["reasoning_content"] = answer.thoughts.as_str().into();
    }
    if !answer.calls.is_empty() {
        let call = |call: &Call| json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } });
        message["tool_calls"] = answer.calls.iter().map(call).collect();
    }
    document.to_string().into_bytes()
}

/// What `GET /v1/models` lists.
pub(crate) fn models() -> Json<serde_json::Value> {
    let practice = json!({ "id": "practice", "object": "model", "created": CREATED, "owned_by": "rookery" });
    Json(json!({ "object": "list", "data": [practice] }))
}

/// An error as OpenAI words it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    param: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }

    /// Refused because of one field of the body.
    fn field(name: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(name), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// The failure that the prompt asks for.
    pub(crate) fn asked_for(status: StatusCode) -> Self {
        Self::new(status, "The practice model fails because the prompt asks for it.")
    }

    /// As an event of a stream that has begun.
    pub(crate) fn event(&self) -> Bytes {
        format!("data: {}\n\n", self.document()).into()
    }

    fn document(&self) -> serde_json::Value {
        let (kind, code) = match self.status {
            StatusCode::UNAUTHORIZED => ("invalid_request_error", Some("invalid_api_key")),
            StatusCode::TOO_MANY_REQUESTS => ("requests", Some("rate_limit_exceeded")),
            status if status.is_server_error() => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": code } })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.document())).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: serde_json::Value) -> Asked {
        Asked::parse(body.to_string().as_bytes()).unwrap()
    }

    fn refused(body: serde_json::Value) -> Refusal {
        Asked::parse(body.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn the_prompt_is_the_text_of_the_last_user_message() {
        for (messages, prompt) in [
            (json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]), "a"),
            (json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]), "b"),
            (json!([{"role": "system", "content": "a"}]), ""),
            (json!([{"role": "user"}]), ""),
            (json!([{"role": "user", "content": null}]), ""),
            (
                json!([{"role": "user", "content": [
                    {"type": "text", "text": "see "},
                    {"type": "image_url", "image_url": {"url": "data:,"}},
                    {"type": "text", "text": "this"},
                ]}]),
                "see this",
            ),
        ] {
            assert_eq!(asked(json!({"model": "m", "messages": messages})).prompt(), prompt, "{messages}");
        }
    }

    #[test]
    fn an_id_depends_on_the_messages_and_on_nothing_else() {
        let hello = json!([{"role": "user", "content": "hello"}]);
        let parts = json!([{"role": "user", "content": [{"type": "text", "text": "hello"}]}]);
        let other = json!([{"role": "user", "content": "hallo"}]);
        let id = |model: &str, messages| asked(json!({"model": model, "messages": messages})).id();
        assert_eq!(id("a", &hello), id("b", &parts));
        assert_ne!(id("a", &hello), id("a", &other));
    }

    #[test]
    fn fields_that_are_null_are_as_good_as_missing() {
        let asked = asked(json!({
            "model": "m", "messages": [{"role": "user", "content": "hello"}],
            "stream": null, "stream_options": null, "max_tokens": null, "max_completion_tokens": 3,
        }));
        assert!(!asked.stream && !asked.wants_usage());
        assert_eq!(asked.most_tokens(), Some(3));
    }

    #[test]
    fn a_refusal_names_the_field_it_is_about() {
        let messages = json!([{"role": "user", "content": "hello"}]);
        for (body, field) in [
            (json!({"model": "m"}), "messages"),
            (json!({"model": "m", "messages": []}), "messages"),
            (json!({"messages": messages}), "model"),
            (json!({"model": "m", "messages": messages, "max_tokens": 0}), "max_tokens"),
            (
                json!({"model": "m", "messages": messages, "max_completion_tokens": 0}),
                "max_completion_tokens",
            ),
        ] {
            let refusal = refused(body);
            assert_eq!((refusal.status, refusal.param), (StatusCode::BAD_REQUEST, Some(field)));
        }
        let refusal = refused(json!({"model": "m", "messages": [{"role": "user", "content": 7}]}));
        assert!(refusal.message.contains("`content` has to be a string or an array of parts"), "{refusal:?}");
    }
}
