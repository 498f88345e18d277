//! Anthropic's Messages, of 2023-06-01.
//!
//! - **System texts**, wherever they stand, become the one `system`, in their order.
//! - **Turns** have to alternate: what users say and tools answer one after another becomes one message, tools first.
//! - **`max_tokens`** is needed here: [`MAX_TOKENS`] where nothing is said.
//! - **A schema** is `output_config.format`; a model that does not know it says so, and nothing is pretended.
//! - **State** is the JSON array of an answer's thinking blocks, signed or redacted, and goes back before its words.
//! - **Tokens of the question** are those read from and written to the cache too.

mod read;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer as _};
use serde_json::json;
use serde_json::value::RawValue;

use crate::check::{Asked, CheckedTool, brief, data_url};
use crate::delta::Error;
use crate::dialect::{Reader, Speak};
use crate::provider::{Key, Provider};
use crate::request::{Assistant, Message, Part, ToolChoice};

/// How long an answer may be where nothing is said: what every model of theirs can do, and three thousand words.
const MAX_TOKENS: u32 = 4096;

/// The dialect.
pub(crate) struct Anthropic;

impl Speak for Anthropic {
    fn chat_path(&self, base: &str) -> &'static str {
        if base.ends_with("/v1") { "/messages" } else { "/v1/messages" }
    }

    fn key(&self, key: &Key) -> (&'static str, String) {
        ("x-api-key", key.reveal().to_owned())
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn write(&self, provider: &Provider, asked: &Asked) -> Result<Vec<u8>, Error> {
        let (system, turns) = turns(&asked.messages).map_err(Error::Rejected)?;
        let mut body = Vec::new();
        match write(&mut body, provider, asked, &system, &turns) {
            Ok(()) => Ok(body),
            Err(error) => Err(Error::Rejected(format!("the request cannot be written: {error}"))),
        }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<read::AnthropicReader>::default()
    }

    fn embed_path(&self) -> Option<&'static str> {
        None
    }
}

fn write(
    body: &mut Vec<u8>,
    provider: &Provider,
    asked: &Asked,
    system: &str,
    turns: &[Turn<'_>],
) -> serde_json::Result<()> {
    let mut json = serde_json::Serializer::new(body);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("model", &provider.model)?;
    map.serialize_entry("max_tokens", &asked.max_tokens.unwrap_or(MAX_TOKENS))?;
    map.serialize_entry("stream", &true)?;
    if !system.is_empty() {
        map.serialize_entry("system", system)?;
    }
    map.serialize_entry("messages", turns)?;
    if let Some(temperature) = asked.temperature {
        map.serialize_entry("temperature", &temperature)?;
    }
    if let Some(top_p) = asked.top_p {
        map.serialize_entry("top_p", &top_p)?;
    }
    if !asked.stop.is_empty() {
        map.serialize_entry("stop_sequences", &asked.stop)?;
    }
    if !asked.tools.is_empty() {
        map.serialize_entry("tools", &asked.tools.iter().map(ToolOf::from).collect::<Vec<_>>())?;
        match &asked.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::Never => map.serialize_entry("tool_choice", &json!({ "type": "none" }))?,
            ToolChoice::Required => map.serialize_entry("tool_choice", &json!({ "type": "any" }))?,
            ToolChoice::Named(name) => {
                map.serialize_entry("tool_choice", &json!({ "type": "tool", "name": name }))?;
            }
        }
    }
    if let Some((_, schema)) = &asked.schema {
        #[derive(Serialize)]
        struct Format<'a> {
            r#type: &'static str,
            schema: &'a RawValue,
        }
        #[derive(Serialize)]
        struct Config<'a> {
            format: Format<'a>,
        }
        map.serialize_entry("output_config", &Config { format: Format { r#type: "json_schema", schema } })?;
    }
    for (field, value) in &asked.extra {
        map.serialize_entry(field, value)?;
    }
    map.end()
}

#[derive(Serialize)]
struct ToolOf<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a RawValue,
}

impl<'a> From<&'a CheckedTool> for ToolOf<'a> {
    fn from(tool: &'a CheckedTool) -> ToolOf<'a> {
        ToolOf { name: &tool.name, description: &tool.description, input_schema: &tool.parameters }
    }
}

#[derive(Serialize)]
struct Turn<'a> {
    role: Role,
    content: Vec<Block<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: &'a str,
    },
    Image {
        source: Source<'a>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: &'a RawValue,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: &'a str,
        is_error: bool,
    },
    #[serde(untagged)]
    Thinking(&'a RawValue),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Url { url: &'a str },
    Base64 { media_type: &'a str, data: Cow<'a, str> },
}

/// The conversation in turns that alternate, and what the system says before them.
fn turns(messages: &[Message]) -> Result<(String, Vec<Turn<'_>>), String> {
    let mut system = Vec::new();
    let mut turns = Vec::<Turn<'_>>::new();
    for (at, message) in messages.iter().enumerate() {
        let (role, content) = match message {
            Message::System(text) => {
                system.push(text.as_str());
                continue;
            }
            Message::User(parts) => (Role::User, parts.iter().filter_map(part).collect()),
            Message::Tool { id, content, is_error } => {
                let (tool_use_id, is_error) = (id, *is_error);
                (Role::User, vec![Block::ToolResult { tool_use_id, content, is_error }])
            }
            Message::Assistant(assistant) => {
                let said = spoken(assistant).map_err(|what| format!("message {}: {what}", at + 1))?;
                (Role::Assistant, said)
            }
        };
        if content.is_empty() {
            continue; // Empty messages are refused there, and say nothing anyway.
        }
        match turns.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            _ => turns.push(Turn { role, content }),
        }
    }
    if turns.is_empty() {
        return Err("nobody says anything in `messages`, which Anthropic's API does not take".to_owned());
    }
    for turn in &mut turns {
        if turn.role == Role::User {
            // What tools answer has to stand first.
            turn.content.sort_by_key(|block| !matches!(block, Block::ToolResult { .. }));
        }
    }
    Ok((system.join("\n\n"), turns))
}

/// None for a text that says nothing, which is refused there.
fn part(part: &Part) -> Option<Block<'_>> {
    let source = match part {
        Part::Text(text) => return is_said(text).then_some(Block::Text { text }),
        Part::ImageUrl(url) => match data_url(url) {
            Some((media_type, data)) => Source::Base64 { media_type, data: Cow::Borrowed(data) },
            None => Source::Url { url },
        },
        Part::Image { media_type, bytes } => {
            Source::Base64 { media_type, data: Cow::Owned(STANDARD.encode(bytes)) }
        }
    };
    Some(Block::Image { source })
}

fn spoken(assistant: &Assistant) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = match &assistant.state {
        Some(state) => thinking(state)?,
        None => Vec::new(),
    };
    if is_said(&assistant.text) {
        blocks.push(Block::Text { text: &assistant.text });
    }
    for call in &assistant.tool_calls {
        let input = serde_json::from_str::<&RawValue>(&call.arguments).ok();
        let Some(input) = input.filter(|input| input.get().starts_with('{')) else {
            let id = brief(&call.id);
            return Err(format!(
                "the arguments of the tool call `{id}` are not a JSON object, as Anthropic wants"
            ));
        };
        blocks.push(Block::ToolUse { id: &call.id, name: &call.name, input });
    }
    Ok(blocks)
}

/// The thinking blocks of a state. Nothing else gets in this way.
fn thinking(state: &str) -> Result<Vec<Block<'_>>, String> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    let is_thinking = |block: &&RawValue| {
        let kind = serde_json::from_str::<Kind<'_>>(block.get());
        kind.is_ok_and(|kind| ["thinking", "redacted_thinking"].contains(&&*kind.r#type))
    };
    let blocks = serde_json::from_str::<Vec<&RawValue>>(state).ok();
    let blocks = blocks.filter(|blocks| blocks.iter().all(is_thinking));
    let blocks = blocks.ok_or("the state is not one that an answer of this model had")?;
    Ok(blocks.into_iter().map(Block::Thinking).collect())
}

fn is_said(text: &str) -> bool {
    !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::provider::Dialect;
    use crate::request::{Request, Setting, Tool, ToolCall};

    fn write_out(request: Request) -> Result<Value, Error> {
        let provider = Provider::new(Dialect::Anthropic, "https://api.anthropic.com", "claude-sonnet-4-5");
        let body = Anthropic.write(&provider, &Asked::check(request).expect("well formed"))?;
        Ok(serde_json::from_slice(&body).expect("JSON"))
    }

    fn conversation(messages: Vec<Message>) -> Request {
        Request { messages, tools: vec![], settings: vec![] }
    }

    fn user(text: &str) -> Message {
        Message::User(vec![Part::Text(text.into())])
    }

    fn called(arguments: &str, state: Option<&str>) -> Message {
        let call = ToolCall { id: "c1".into(), name: "add".into(), arguments: arguments.into() };
        let state = state.map(str::to_owned);
        Message::Assistant(Assistant { text: "Let me add.".into(), tool_calls: vec![call], state })
    }

    fn answered(id: &str) -> Message {
        Message::Tool { id: id.into(), content: "2".into(), is_error: id == "c2" }
    }

    #[test]
    fn a_conversation_is_written_in_turns_that_alternate() {
        let state = r#"[{"type":"thinking","thinking":"1+1","signature":"c2ln"}]"#;
        let image = Part::Image { media_type: "image/png".into(), bytes: vec![0, 1, 2] };
        let messages = vec![
            Message::System("Be brief.".into()),
            user("hello"),
            user(" "),
            Message::User(vec![
                Part::ImageUrl("https://a.com/x.png".into()),
                image,
                Part::ImageUrl("data:image/gif;base64,AAAA".into()),
            ]),
            called(r#"{"x": 1}"#, Some(state)),
            user("Well?"),
            answered("c1"),
            answered("c2"),
            Message::System("Be kind.".into()),
            Message::Assistant(Assistant::default()),
        ];
        let expected = json!({
            "model": "claude-sonnet-4-5",
            "max_tokens": 4096,
            "stream": true,
            "system": "Be brief.\n\nBe kind.",
            "messages": [
                { "role": "user", "content": [
                    { "type": "text", "text": "hello" },
                    { "type": "image", "source": { "type": "url", "url": "https://a.com/x.png" } },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAEC" } },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/gif", "data": "AAAA" } },
                ] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "1+1", "signature": "c2ln" },
                    { "type": "text", "text": "Let me add." },
                    { "type": "tool_use", "id": "c1", "name": "add", "input": { "x": 1 } },
                ] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "c1", "content": "2", "is_error": false },
                    { "type": "tool_result", "tool_use_id": "c2", "content": "2", "is_error": true },
                    { "type": "text", "text": "Well?" },
                ] },
            ],
        });
        assert_eq!(write_out(conversation(messages)).expect("a body"), expected);
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
            Setting::Temperature(0.5),
            Setting::TopP(0.25),
            Setting::Stop(vec!["END".into()]),
            Setting::ToolChoice(ToolChoice::Required),
            Setting::Schema { name: "form".into(), json: r#"{"type":"object"}"#.into() },
            Setting::Extra(r#"{"thinking":{"type":"enabled","budget_tokens":1024}}"#.into()),
        ];
        let request = Request { messages: vec![user("hello")], tools: vec![add], settings };
        let expected = json!({
            "model": "claude-sonnet-4-5",
            "max_tokens": 9,
            "stream": true,
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hello" }] }],
            "temperature": 0.5,
            "top_p": 0.25,
            "stop_sequences": ["END"],
            "tools": [{ "name": "add", "description": "Adds.", "input_schema": { "type": "object" } }],
            "tool_choice": { "type": "any" },
            "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
            "thinking": { "type": "enabled", "budget_tokens": 1024 },
        });
        assert_eq!(write_out(request).expect("a body"), expected);
    }

    #[test]
    fn what_this_dialect_cannot_say_is_refused_with_its_place() {
        let not_ours = "message 2: the state is not one that an answer of this model had";
        for (messages, what) in [
            (vec![Message::System("x".into()), user("  ")], "nobody says anything"),
            (vec![user("x"), called("[1]", None)], "message 2: the arguments of the tool call `c1` are not"),
            (vec![user("x"), called("{}", Some("secret"))], not_ours),
            (vec![user("x"), called("{}", Some(r#"[{"type":"tool_use"}]"#))], not_ours),
        ] {
            let error = write_out(conversation(messages)).expect_err(what);
            assert!(matches!(&error, Error::Rejected(text) if text.contains(what)), "{error}");
        }
    }
}
