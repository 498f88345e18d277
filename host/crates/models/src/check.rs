//! A request looked at before anything of it is sent.
//!
//! Promises: what is wrong is named with its place; what passes is JSON wherever it has to be.

use std::mem;

use serde_json::value::RawValue;

use crate::calls::is_json;
use crate::delta::Error;
use crate::request::{Message, Part, Request, Setting, Tool, ToolChoice};

/// A request that was found to be well formed.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<CheckedTool>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) stop: Vec<String>,
    pub(crate) tool_choice: ToolChoice,
    pub(crate) schema: Option<(String, Box<RawValue>)>,
    pub(crate) extra: Vec<(String, Box<RawValue>)>,
}

/// A tool whose parameters are an object.
#[derive(Debug)]
pub(crate) struct CheckedTool {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) parameters: Box<RawValue>,
}

/// Fields of a request that the host says itself, and how an agent says what it wants of them.
///
/// `models` to `api_key` are what routers between the host and a provider (OpenRouter, LiteLLM) take to ask another model, or
/// to ask elsewhere with the operator's key: that is not granted.
const OWN_FIELDS: [(&str, &str); 27] = [
    ("model", "the model is named in the call"),
    ("models", "the host's configuration has the fallbacks"),
    ("fallbacks", "the host's configuration has them"),
    ("route", "the host's configuration has the fallbacks"),
    ("preset", "the host's configuration says what is asked"),
    ("api_base", "the host's configuration says who is asked"),
    ("base_url", "the host's configuration says who is asked"),
    ("api_key", "the host's configuration has the keys"),
    ("messages", "they stand beside the settings"),
    ("system", "a `system` message says it"),
    ("stream", "every answer is a stream"),
    ("stream_options", "usage is always asked for"),
    ("n", "there is one answer"),
    ("tools", "they stand beside the settings"),
    ("tool_choice", "the setting `tool-choice` says it"),
    ("functions", "they stand beside the settings, as tools"),
    ("function_call", "the setting `tool-choice` says it"),
    ("max_tokens", "the setting `max-tokens` says it"),
    ("max_completion_tokens", "the setting `max-tokens` says it"),
    ("max_output_tokens", "the setting `max-tokens` says it"),
    ("temperature", "the setting of that name says it"),
    ("top_p", "the setting `top-p` says it"),
    ("stop", "the setting of that name says it"),
    ("stop_sequences", "the setting `stop` says it"),
    ("output_format", "the setting `schema` says it"),
    ("input", "it is no field of a chat"),
    ("prompt", "it is no field of a chat"),
];

/// Fields that a `schema` becomes, and that `extra` may have only without one.
const SCHEMA_FIELDS: [&str; 2] = ["response_format", "output_config"];

/// An `https` URL of a picture is shorter.
const URL_LIMIT: usize = 8 * 1024;

impl Asked {
    pub(crate) fn check(request: Request) -> Result<Asked, Error> {
        let Request { messages, tools, settings } = request;
        if messages.is_empty() {
            return rejected("`messages` is empty: at least one is needed".to_owned());
        }
        for (at, message) in messages.iter().enumerate() {
            check_message(message).or_else(|what| rejected(format!("message {}: {what}", at + 1)))?;
        }
        let mut asked = Asked {
            messages,
            tools: check_tools(tools)?,
            max_tokens: None,
            temperature: None,
            top_p: None,
            stop: Vec::new(),
            tool_choice: ToolChoice::Auto,
            schema: None,
            extra: Vec::new(),
        };
        let mut seen = Vec::new();
        for setting in settings {
            let (name, kind) = (name_of(&setting), mem::discriminant(&setting));
            if seen.contains(&kind) {
                return rejected(format!("the setting `{name}` is there twice"));
            }
            seen.push(kind);
            asked.set(setting).or_else(|what| rejected(format!("the setting `{name}`: {what}")))?;
        }
        if asked.schema.is_some()
            && let Some((field, _)) = asked.extra.iter().find(|(field, _)| SCHEMA_FIELDS.contains(&&**field))
        {
            return rejected(format!("the setting `extra`: `{field}` is what the setting `schema` becomes"));
        }
        Ok(asked)
    }

    fn set(&mut self, setting: Setting) -> Result<(), String> {
        match setting {
            Setting::MaxTokens(0) => return Err("it has to be at least 1".to_owned()),
            Setting::MaxTokens(most) => self.max_tokens = Some(most),
            Setting::Temperature(value) if value.is_finite() && value >= 0.0 => {
                self.temperature = Some(value)
            }
            Setting::Temperature(value) => return Err(format!("{value} is not 0 or more")),
            Setting::TopP(value) if (0.0..=1.0).contains(&value) => self.top_p = Some(value),
            Setting::TopP(value) => return Err(format!("{value} is not between 0 and 1")),
            Setting::Stop(texts) if texts.iter().any(String::is_empty) => {
                return Err("an empty text ends nothing".to_owned());
            }
            Setting::Stop(texts) => self.stop = texts,
            Setting::ToolChoice(choice) => {
                match &choice {
                    ToolChoice::Required if self.tools.is_empty() => {
                        return Err("there are no tools".to_owned());
                    }
                    ToolChoice::Named(name) if !self.tools.iter().any(|tool| tool.name == *name) => {
                        return Err(format!("there is no tool `{}`", brief(name)));
                    }
                    _ => {}
                }
                self.tool_choice = choice;
            }
            Setting::Schema { name, json } => {
                check_name(&name)?;
                self.schema = Some((name, object(json)?));
            }
            Setting::Extra(json) => self.extra = check_extra(&json)?,
        }
        Ok(())
    }
}

fn check_message(message: &Message) -> Result<(), String> {
    match message {
        Message::System(_) => Ok(()),
        Message::User(parts) if parts.is_empty() => Err("a user says nothing: give it a part".to_owned()),
        Message::User(parts) => parts
            .iter()
            .enumerate()
            .try_for_each(|(at, part)| check_part(part).map_err(|what| format!("part {}: {what}", at + 1))),
        Message::Assistant(assistant) => assistant.tool_calls.iter().try_for_each(|call| {
            let id = brief(&call.id);
            if call.id.is_empty() {
                return Err("a tool call has no id".to_owned());
            }
            if call.name.is_empty() {
                return Err(format!("the tool call `{id}` has no name"));
            }
            if !is_json(&call.arguments) {
                return Err(format!("the arguments of the tool call `{id}` are not one JSON value"));
            }
            Ok(())
        }),
        Message::Tool { id, .. } if id.is_empty() => Err("it names no tool call that it answers".to_owned()),
        Message::Tool { .. } => Ok(()),
    }
}

fn check_part(part: &Part) -> Result<(), String> {
    match part {
        Part::Text(_) => Ok(()),
        Part::ImageUrl(url) => {
            let lower = url.get(..8).unwrap_or_default().to_ascii_lowercase();
            let is_data = lower.starts_with("data:");
            if !is_data && (lower != "https://" || url.len() > URL_LIMIT) {
                let limit = URL_LIMIT / 1024;
                return Err(format!(
                    "`{}` is no `https` URL of a picture, of {limit} KiB at most; give its bytes inline",
                    brief(url)
                ));
            }
            if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err("a picture's URL has a character that no URL has".to_owned());
            }
            if is_data && data_url(url).is_none() {
                return Err("a picture's `data:` URL is not `data:image/…;base64,…`".to_owned());
            }
            Ok(())
        }
        Part::Image { media_type, bytes } => {
            let is_token = |text: &str| {
                !text.is_empty()
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
            };
            if !media_type.strip_prefix("image/").is_some_and(is_token) {
                return Err(format!("`{}` is no media type of a picture", brief(media_type)));
            }
            if bytes.is_empty() {
                return Err("a picture has no bytes".to_owned());
            }
            Ok(())
        }
    }
}

/// Media type and base64 of a `data:` URL.
pub(crate) fn data_url(url: &str) -> Option<(&str, &str)> {
    let (media_type, base64) = url.get(5..)?.split_once(";base64,")?;
    (media_type.starts_with("image/") && !base64.is_empty()).then_some((media_type, base64))
}

fn check_tools(tools: Vec<Tool>) -> Result<Vec<CheckedTool>, Error> {
    let mut checked = Vec::<CheckedTool>::with_capacity(tools.len());
    for (at, Tool { name, description, parameters }) in tools.into_iter().enumerate() {
        let wrong = |what| rejected(format!("tool {}: {what}", at + 1));
        if let Err(what) = check_name(&name) {
            return wrong(what);
        }
        if checked.iter().any(|tool| tool.name == name) {
            return wrong(format!("there is a tool `{name}` already"));
        }
        match object(parameters) {
            Ok(parameters) => checked.push(CheckedTool { name, description, parameters }),
            Err(what) => return wrong(format!("the parameters of `{name}`: {what}")),
        }
    }
    Ok(checked)
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!("`{}` is no name: use 1 to 64 characters of A-Z a-z 0-9 _ -", brief(name)))
}

fn check_extra(json: &str) -> Result<Vec<(String, Box<RawValue>)>, String> {
    let fields: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(json).map_err(|error| format!("it is not one JSON object: {error}"))?;
    for (own, instead) in OWN_FIELDS {
        if fields.contains_key(own) {
            return Err(format!("`{own}` is the host's to say: {instead}"));
        }
    }
    Ok(fields.into_iter().collect())
}

fn object(json: String) -> Result<Box<RawValue>, String> {
    let value = RawValue::from_string(json).map_err(|error| format!("it is not JSON: {error}"))?;
    if !value.get().starts_with('{') {
        return Err("it is JSON, but not an object".to_owned());
    }
    Ok(value)
}

fn name_of(setting: &Setting) -> &'static str {
    match setting {
        Setting::MaxTokens(_) => "max-tokens",
        Setting::Temperature(_) => "temperature",
        Setting::TopP(_) => "top-p",
        Setting::Stop(_) => "stop",
        Setting::ToolChoice(_) => "tool-choice",
        Setting::Schema { .. } => "schema",
        Setting::Extra(_) => "extra",
    }
}

/// As much of a guest's text as a message should hold.
pub(crate) fn brief(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

fn rejected<T>(what: String) -> Result<T, Error> {
    Err(Error::Rejected(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Assistant, ToolCall};

    fn user(parts: Vec<Part>) -> Message {
        Message::User(parts)
    }

    fn hello() -> Vec<Message> {
        vec![user(vec![Part::Text("hello".into())])]
    }

    fn tool(name: &str, parameters: &str) -> Tool {
        Tool { name: name.into(), description: String::new(), parameters: parameters.into() }
    }

    fn wrong(request: Request) -> String {
        Asked::check(request).expect_err("a mistake").to_string()
    }

    #[test]
    fn a_mistake_in_a_message_is_named_with_its_place() {
        let called = |id: &str, name: &str, arguments: &str| {
            let call = ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() };
            Message::Assistant(Assistant { tool_calls: vec![call], ..Assistant::default() })
        };
        let image = |media_type: &str, bytes: &[u8]| {
            user(vec![Part::Image { media_type: media_type.into(), bytes: bytes.into() }])
        };
        let url = |url: &str| user(vec![Part::ImageUrl(url.into())]);
        for (message, what) in [
            (user(vec![]), "message 2: a user says nothing: give it a part"),
            (
                url("http://a.com/x.png"),
                "message 2: part 1: `http://a.com/x.png` is no `https` URL of a picture",
            ),
            (url("file:///etc/passwd"), "is no `https` URL"),
            (url("https://a.com/ü"), "has a character that no URL has"),
            (url("data:text/html,x"), "`data:` URL is not `data:image/…;base64,…`"),
            (image("text/html", b"x"), "`text/html` is no media type of a picture"),
            (image("image/png\r\nx", b"x"), "`image/png\\r\\nx` is no media type"),
            (image("image/png", b""), "a picture has no bytes"),
            (called("", "x", "{}"), "message 2: a tool call has no id"),
            (called("a", "", "{}"), "the tool call `a` has no name"),
            (called("a", "x", "{"), "the arguments of the tool call `a` are not one JSON value"),
            (called("a", "x", "{} {}"), "the arguments of the tool call `a` are not one JSON value"),
            (
                Message::Tool { id: String::new(), content: "x".into(), is_error: false },
                "message 2: it names no tool call",
            ),
        ] {
            let messages = [hello(), vec![message]].concat();
            let said = wrong(Request { messages, tools: vec![], settings: vec![] });
            assert!(said.contains(what), "{said}");
        }
        assert!(
            wrong(Request { messages: vec![], tools: vec![], settings: vec![] })
                .contains("`messages` is empty")
        );
    }

    #[test]
    fn a_mistake_in_a_tool_is_named_with_its_place() {
        for (name, parameters, what) in [
            ("", "{}", "tool 2: `` is no name"),
            ("a b", "{}", "tool 2: `a b` is no name"),
            ("add", "{}", "tool 2: there is a tool `add` already"),
            ("sub", "{", "tool 2: the parameters of `sub`: it is not JSON"),
            ("sub", "[]", "tool 2: the parameters of `sub`: it is JSON, but not an object"),
        ] {
            let tools = vec![tool("add", "{}"), tool(name, parameters)];
            let said = wrong(Request { messages: hello(), tools, settings: vec![] });
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn a_mistake_in_a_setting_is_named_with_it() {
        let schema = |name: &str, json: &str| Setting::Schema { name: name.into(), json: json.into() };
        for (settings, what) in [
            (vec![Setting::MaxTokens(0)], "the setting `max-tokens`: it has to be at least 1"),
            (vec![Setting::MaxTokens(1), Setting::MaxTokens(2)], "the setting `max-tokens` is there twice"),
            (vec![Setting::Temperature(-0.5)], "the setting `temperature`: -0.5 is not 0 or more"),
            (vec![Setting::Temperature(f32::NAN)], "NaN is not 0 or more"),
            (vec![Setting::TopP(1.5)], "the setting `top-p`: 1.5 is not between 0 and 1"),
            (vec![Setting::Stop(vec![String::new()])], "the setting `stop`: an empty text ends nothing"),
            (
                vec![Setting::ToolChoice(ToolChoice::Required)],
                "the setting `tool-choice`: there are no tools",
            ),
            (vec![Setting::ToolChoice(ToolChoice::Named("x".into()))], "there is no tool `x`"),
            (vec![schema("a b", "{}")], "the setting `schema`: `a b` is no name"),
            (vec![schema("a", "true")], "the setting `schema`: it is JSON, but not an object"),
            (vec![Setting::Extra("[]".into())], "the setting `extra`: it is not one JSON object"),
            (vec![Setting::Extra("{} {}".into())], "the setting `extra`: it is not one JSON object"),
            (
                vec![Setting::Extra(r#"{"stream":false}"#.into())],
                "`stream` is the host's to say: every answer",
            ),
            (vec![Setting::Extra(r#"{"mod\u0065l":"x"}"#.into())], "`model` is the host's to say"),
            (vec![Setting::Extra(r#"{"models":["x"]}"#.into())], "`models` is the host's to say"),
            (vec![Setting::Extra(r#"{"api_base":"x"}"#.into())], "`api_base` is the host's to say"),
            (
                vec![schema("a", "{}"), Setting::Extra(r#"{"response_format":{}}"#.into())],
                "`response_format` is what the setting `schema` becomes",
            ),
        ] {
            let said = wrong(Request { messages: hello(), tools: vec![], settings });
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn what_is_well_formed_passes() {
        let settings = vec![
            Setting::MaxTokens(1),
            Setting::Temperature(0.0),
            Setting::TopP(1.0),
            Setting::Stop(vec![]),
            Setting::ToolChoice(ToolChoice::Named("add".into())),
            Setting::Extra(r#" {"seed": 7, "response_format": {"type": "json_object"}} "#.into()),
        ];
        let parts = vec![
            Part::ImageUrl("HTTPS://a.com/x.png".into()),
            Part::ImageUrl("data:image/png;base64,AAAA".into()),
            Part::Image { media_type: "image/svg+xml".into(), bytes: vec![1] },
        ];
        let request = Request { messages: vec![user(parts)], tools: vec![tool("add", " {} ")], settings };
        let asked = Asked::check(request).expect("well formed");
        assert_eq!(asked.extra.len(), 2);
        assert_eq!(asked.extra[1].1.get(), "7");
    }
}
