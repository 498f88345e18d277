//! OpenAI's chat completions, as OpenRouter, vLLM, llama.cpp, Ollama, LM Studio and the practice model speak them too.
//!
//! - **Most tokens** are `max_completion_tokens` for OpenAI and Azure themselves, whose reasoning models refuse the old
//!   name, and `max_tokens` for everyone else, some of whom ignore the new one.
//! - **A schema** is `response_format` with `strict`: what promises the form, and what refuses schemas that cannot be.
//! - **`is_error`** of a tool's answer has no place here; its text has to say so itself.
//! - **State** is nothing that this dialect has: what another one left is not sent.

mod read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::check::{Asked, CheckedTool};
use crate::delta::Error;
use crate::dialect::{Reader, Speak};
use crate::provider::{Key, Provider};
use crate::request::{Message, Part, ToolCall, ToolChoice};

/// The dialect.
pub(crate) struct OpenAi;

impl Speak for OpenAi {
    fn chat_path(&self, _: &str) -> &'static str {
        "/chat/completions"
    }

    fn key(&self, key: &Key) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", key.reveal()))
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn write(&self, provider: &Provider, asked: &Asked) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        match write(&mut body, provider, asked) {
            Ok(()) => Ok(body),
            Err(error) => Err(Error::Rejected(format!("the request cannot be written: {error}"))),
        }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<read::OpenAiReader>::default()
    }

    fn embed_path(&self) -> Option<&'static str> {
        Some("/embeddings")
    }
}

fn write(body: &mut Vec<u8>, provider: &Provider, asked: &Asked) -> serde_json::Result<()> {
    let mut json = serde_json::Serializer::new(body);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("model", &provider.model)?;
    map.serialize_entry("messages", &Messages(&asked.messages))?;
    map.serialize_entry("stream", &true)?;
    map.serialize_entry("stream_options", &json!({ "include_usage": true }))?;
    if let Some(most) = asked.max_tokens {
        let name = if is_openai(&provider.url) { "max_completion_tokens" } else { "max_tokens" };
        map.serialize_entry(name, &most)?;
    }
    if let Some(temperature) = asked.temperature {
        map.serialize_entry("temperature", &temperature)?;
    }
    if let Some(top_p) = asked.top_p {
        map.serialize_entry("top_p", &top_p)?;
    }
    if !asked.stop.is_empty() {
        map.serialize_entry("stop", &asked.stop)?;
    }
    if !asked.tools.is_empty() {
        map.serialize_entry("tools", &asked.tools.iter().map(Function).collect::<Vec<_>>())?;
        match &asked.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::Never => map.serialize_entry("tool_choice", "none")?,
            ToolChoice::Required => map.serialize_entry("tool_choice", "required")?,
            ToolChoice::Named(name) => map.serialize_entry(
                "tool_choice",
                &json!({ "type": "function", "function": { "name": name } }),
            )?,
        }
    }
    if let Some((name, schema)) = &asked.schema {
        #[derive(Serialize)]
        struct Schema<'a> {
            name: &'a str,
            strict: bool,
            schema: &'a serde_json::value::RawValue,
        }
        #[derive(Serialize)]
        struct Format<'a> {
            r#type: &'static str,
            json_schema: Schema<'a>,
        }
        let json_schema = Schema { name, strict: true, schema };
        map.serialize_entry("response_format", &Format { r#type: "json_schema", json_schema })?;
    }
    for (field, value) in &asked.extra {
        map.serialize_entry(field, value)?;
    }
    SerializeMap::end(map)
}

fn is_openai(url: &str) -> bool {
    let host =
        url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', ':']).next().unwrap_or_default();
    let host = host.to_ascii_lowercase();
    host == "api.openai.com" || host.ends_with(".openai.azure.com")
}

struct Messages<'a>(&'a [Message]);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut seq = to.serialize_seq(Some(self.0.len()))?;
        for message in self.0 {
            seq.serialize_element(&One(message))?;
        }
        seq.end()
    }
}

struct One<'a>(&'a Message);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        match self.0 {
            Message::System(text) => {
                map.serialize_entry("role", "system")?;
                map.serialize_entry("content", text)?;
            }
            Message::User(parts) => {
                map.serialize_entry("role", "user")?;
                match &parts[..] {
                    [Part::Text(text)] => map.serialize_entry("content", text)?,
                    parts => {
                        let parts = parts.iter().map(part).collect::<Vec<_>>();
                        map.serialize_entry("content", &parts)?;
                    }
                }
            }
            Message::Assistant(assistant) => {
                map.serialize_entry("role", "assistant")?;
                let calls = &assistant.tool_calls;
                let said = !assistant.text.is_empty() || calls.is_empty();
                map.serialize_entry("content", &said.then_some(&assistant.text))?;
                if !calls.is_empty() {
                    map.serialize_entry("tool_calls", &calls.iter().map(call).collect::<Vec<_>>())?;
                }
            }
            Message::Tool { id, content, is_error: _ } => {
                map.serialize_entry("role", "tool")?;
                map.serialize_entry("tool_call_id", id)?;
                map.serialize_entry("content", content)?;
            }
        }
        map.end()
    }
}

fn part(part: &Part) -> serde_json::Value {
    match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::ImageUrl(url) => json!({ "type": "image_url", "image_url": { "url": url } }),
        Part::Image { media_type, bytes } => {
            let url = format!("data:{media_type};base64,{}", STANDARD.encode(bytes));
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
    }
}

fn call(call: &ToolCall) -> serde_json::Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
}

struct Function<'a>(&'a CheckedTool);

impl Serialize for Function<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Inner<'a> {
            name: &'a str,
            description: &'a str,
            parameters: &'a serde_json::value::RawValue,
        }
        let CheckedTool { name, description, parameters } = self.0;
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry("function", &Inner { name, description, parameters })?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::provider::Dialect;
    use crate::request::{Assistant, Request, Setting, Tool};

    fn written(url: &str, request: Request) -> Value {
        let provider = Provider::new(Dialect::OpenAi, url, "gpt-5");
        let body = OpenAi.write(&provider, &Asked::check(request).expect("well formed")).expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn a_conversation_is_written_as_openai_wants_it() {
        let call = ToolCall { id: "c1".into(), name: "add".into(), arguments: r#"{"x":1}"#.into() };
        let messages = vec![
            Message::System("Be brief.".into()),
            Message::User(vec![Part::Text("hello".into())]),
            Message::Assistant(Assistant {
                text: String::new(),
                tool_calls: vec![call],
                state: Some("[]".into()),
            }),
            Message::Tool { id: "c1".into(), content: "2".into(), is_error: true },
            Message::Assistant(Assistant { text: "two".into(), ..Assistant::default() }),
            Message::User(vec![
                Part::Text("and this?".into()),
                Part::ImageUrl("https://a.com/x.png".into()),
                Part::Image { media_type: "image/png".into(), bytes: vec![0, 1, 2] },
            ]),
        ];
        let request = Request { messages, tools: vec![], settings: vec![] };
        let expected = json!({
            "model": "gpt-5",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "hello" },
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "c1", "type": "function", "function": { "name": "add", "arguments": "{\"x\":1}" } },
                ] },
                { "role": "tool", "tool_call_id": "c1", "content": "2" },
                { "role": "assistant", "content": "two" },
                { "role": "user", "content": [
                    { "type": "text", "text": "and this?" },
                    { "type": "image_url", "image_url": { "url": "https://a.com/x.png" } },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAEC" } },
                ] },
            ],
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        assert_eq!(written("https://api.openai.com/v1", request), expected);
    }

    #[test]
    fn every_setting_has_its_field() {
        let add = Tool {
            name: "add".into(),
            description: "Adds.".into(),
            parameters: r#"{"type":"object"}"#.into(),
        };
        let settings = vec![
            Setting::MaxTokens(9),
            Setting::Temperature(0.7),
            Setting::TopP(0.9),
            Setting::Stop(vec!["END".into()]),
            Setting::ToolChoice(ToolChoice::Named("add".into())),
            Setting::Schema { name: "form".into(), json: r#"{"type":"object"}"#.into() },
            Setting::Extra(r#"{"seed":7,"reasoning_effort":"low"}"#.into()),
        ];
        let request = Request {
            messages: vec![Message::User(vec![Part::Text("hello".into())])],
            tools: vec![add],
            settings,
        };
        let mut expected = json!({
            "model": "gpt-5",
            "messages": [{ "role": "user", "content": "hello" }],
            "stream": true,
            "stream_options": { "include_usage": true },
            "max_tokens": 9,
            "temperature": 0.7f32,
            "top_p": 0.9f32,
            "stop": ["END"],
            "tools": [{ "type": "function", "function": {
                "name": "add", "description": "Adds.", "parameters": { "type": "object" },
            } }],
            "tool_choice": { "type": "function", "function": { "name": "add" } },
            "response_format": { "type": "json_schema", "json_schema": {
                "name": "form", "strict": true, "schema": { "type": "object" },
            } },
            "seed": 7,
            "reasoning_effort": "low",
        });
        // Written as the shortest number that is the same f32.
        expected["temperature"] = json!(0.7);
        expected["top_p"] = json!(0.9);
        assert_eq!(written("http://ollama:11434/v1", request), expected);
    }

    #[test]
    fn only_openai_itself_is_asked_for_completion_tokens() {
        for (url, expected) in [
            ("https://api.openai.com/v1", true),
            ("https://API.openai.com:443/v1", true),
            ("https://mine.openai.azure.com/openai/v1", true),
            ("https://openrouter.ai/api/v1", false),
            ("https://api.openai.com.evil.example/v1", false),
            ("http://127.0.0.1:8080/v1", false),
        ] {
            assert_eq!(is_openai(url), expected, "{url}");
        }
    }
}
