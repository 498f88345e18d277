//! The shapes of Anthropic's Messages, as JSON: the same rules in other words.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rules::{Answer, Call, Ending};
use crate::stream::Wording;
use crate::wire::{Asked, Message, Refusal, Usage, encoded};
use crate::{Settings, answer, read, streamed, whole};

/// What signs a thought here. A real one is longer, and means something.
const SIGNATURE: &str = "cHJhY3RpY2U=";

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    messages: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`content` has to be a string or an array of blocks")]
enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: String,
    content: Option<Content>,
}

impl Content {
    fn text(&self) -> String {
        match self {
            Content::Text(text) => text.clone(),
            Content::Blocks(blocks) => blocks.iter().map(|block| block.text.as_str()).collect(),
        }
    }
}

impl Turn {
    /// What tools answer are messages of their own to the rules, as OpenAI has them.
    fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        if let Content::Blocks(blocks) = &self.content {
            for block in blocks.iter().filter(|block| block.kind == "tool_result") {
                let text = block.content.as_ref().map(Content::text).unwrap_or_default();
                messages.push(Message::new("tool", text));
            }
        }
        let text = self.content.text();
        if messages.is_empty() || !text.is_empty() {
            messages.push(Message::new(&self.role, text));
        }
        messages
    }
}

pub(crate) async fn message(
    State(settings): State<Settings>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    respond(&settings, &headers, body).await.map_err(refused)
}

async fn respond(
    settings: &Settings,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let body = read(body)?;
    let wrong =
        |error| Refusal::new(StatusCode::BAD_REQUEST, format!("The body is not a message's JSON: {error}"));
    let turns: Body = serde_json::from_slice(&body).map_err(wrong)?;
    // Model, `stream` and `max_tokens` are worded alike.
    let mut asked = Asked::parse(&body)?;
    if asked.most_tokens().is_none() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "max_tokens: Field required"));
    }
    asked.messages = turns.messages.iter().flat_map(Turn::messages).collect();
    let key = headers.get("x-api-key").or_else(|| headers.get(header::AUTHORIZATION));
    let (answer, delay) = answer(&asked, key, settings)?;
    if asked.stream {
        return Ok(streamed(Named::new(&asked, &answer), answer, delay));
    }
    whole(document(&asked, &answer), &answer, delay).await
}

fn document(asked: &Asked, answer: &Answer) -> Vec<u8> {
    let usage = Usage::new(asked, answer);
    let thoughts = (!answer.thoughts.is_empty())
        .then(|| json!({ "type": "thinking", "thinking": answer.thoughts, "signature": SIGNATURE }));
    let text = (!answer.text.is_empty()).then(|| json!({ "type": "text", "text": answer.text }));
    let calls = answer.calls.iter().map(|call| {
        let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
        json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input })
    });
    let content: Vec<_> = thoughts.into_iter().chain(text).chain(calls).collect();
    let document = json!({
        "id": id(asked),
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": stop_reason(&answer.calls, answer.ending),
        "stop_sequence": null,
        "usage": { "input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens },
    });
    document.to_string().into_bytes()
}

fn id(asked: &Asked) -> String {
    format!("msg_{:016x}", asked.hash())
}

fn stop_reason(calls: &[Call], ending: Ending) -> &'static str {
    match ending {
        Ending::Length => "max_tokens",
        _ if !calls.is_empty() => "tool_use",
        _ => "end_turn",
    }
}

/// Makes the events of one stream.
struct Named {
    id: String,
    model: String,
    usage: Usage,
    /// The index of the block that is under way, and whether it is a thought.
    block: Option<(usize, bool)>,
    blocks: usize,
}

impl Named {
    fn new(asked: &Asked, answer: &Answer) -> Self {
        let usage = Usage::new(asked, answer);
        Self { id: id(asked), model: asked.model.clone(), usage, block: None, blocks: 0 }
    }

    /// The end of the block that is under way.
    fn end_block(&mut self) -> String {
        let Some((index, is_thought)) = self.block.take() else { return String::new() };
        let mut events = String::new();
        if is_thought {
            events += &delta(index, &json!({ "type": "signature_delta", "signature": SIGNATURE }));
        }
        events + &event(&json!({ "type": "content_block_stop", "index": index }))
    }

    fn begin_block(&mut self, is_thought: bool, block: &Value) -> (usize, String) {
        let before = self.end_block();
        let index = self.blocks;
        self.blocks += 1;
        self.block = Some((index, is_thought));
        let start = json!({ "type": "content_block_start", "index": index, "content_block": block });
        (index, before + &event(&start))
    }

    /// One token of a block of its kind, which begins with it where none is under way.
    fn piece(&mut self, is_thought: bool, block: &Value, piece: &Value) -> Bytes {
        let (index, begin) = match self.block {
            Some((index, thinks)) if thinks == is_thought => (index, String::new()),
            _ => self.begin_block(is_thought, block),
        };
        (begin + &delta(index, piece)).into()
    }
}

impl Wording for Named {
    fn opening(&mut self) -> Bytes {
        let message = json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": { "input_tokens": self.usage.prompt_tokens, "output_tokens": 1 },
        });
        let start = event(&json!({ "type": "message_start", "message": message }));
        (start + &event(&json!({ "type": "ping" }))).into()
    }

    fn thought(&mut self, token: &str) -> Bytes {
        let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
        self.piece(true, &block, &json!({ "type": "thinking_delta", "thinking": token }))
    }

    fn token(&mut self, token: &str) -> Bytes {
        let block = json!({ "type": "text", "text": "" });
        self.piece(false, &block, &json!({ "type": "text_delta", "text": token }))
    }

    fn finish(&mut self, calls: &[Call], ending: Ending) -> Vec<Bytes> {
        let mut frames = Vec::new();
        for call in calls {
            let block = json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": {} });
            let (index, begin) = self.begin_block(false, &block);
            frames.push(begin.into());
            let middle = call.arguments.floor_char_boundary(call.arguments.len() / 2);
            let (first, second) = call.arguments.split_at(middle);
            for piece in ["", first, second] {
                frames
                    .push(delta(index, &json!({ "type": "input_json_delta", "partial_json": piece })).into());
            }
        }
        frames.push(self.end_block().into());
        let reason = json!({ "stop_reason": stop_reason(calls, ending), "stop_sequence": null });
        let usage = json!({ "output_tokens": self.usage.completion_tokens });
        frames.push(event(&json!({ "type": "message_delta", "delta": reason, "usage": usage })).into());
        frames.push(event(&json!({ "type": "message_stop" })).into());
        frames.retain(|frame: &Bytes| !frame.is_empty());
        frames
    }

    fn failure(&self) -> Bytes {
        event(&error(&Refusal::asked_for(StatusCode::INTERNAL_SERVER_ERROR))).into()
    }
}

fn delta(index: usize, delta: &Value) -> String {
    event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }))
}

/// An event is named as its data's `type` says.
fn event(data: &Value) -> String {
    let name = data["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {}\n\n", encoded(data))
}

fn refused(refusal: Refusal) -> Response {
    let document = error(&refusal);
    let mut response = refusal.into_response(); // For its status and headers.
    let (kind, body) = Json(document).into_response().into_parts();
    response.headers_mut().extend(kind.headers);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = body;
    response
}

fn error(refusal: &Refusal) -> Value {
    let kind = match refusal.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": refusal.message } })
}
