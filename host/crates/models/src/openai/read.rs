//! An answer of OpenAI's chat completions, read chunk by chunk.
//!
//! - `reasoning_content` (DeepSeek, vLLM) and `reasoning` (OpenRouter, vLLM) are the same; where both are, one is read.
//! - A `refusal` is text, and the answer is then one that was refused.
//! - Of several choices only the first is read.
//! - `[DONE]` ends the answer; so does the end of the body, once a `finish_reason` was there.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::calls::{Calls, Fragment};
use crate::delta::{Delta, Reason};
use crate::dialect::{Reader, Said, Spent, Step, Str, not_understood, said, words};
use crate::failure::Failure;

#[derive(Default)]
pub(crate) struct OpenAiReader {
    spent: Spent,
    calls: Calls,
    refused: bool,
    reason: Option<Reason>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    model: Option<Str<'a>>,
    #[serde(borrow, default)]
    choices: Option<First<'a>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    /// vLLM and llama.cpp have sent errors without an `error` around them.
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

/// The choice of index 0, without a list around it.
struct First<'a>(Option<Choice<'a>>);

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<Words<'a>>,
    /// What a `delta` is in a document.
    #[serde(borrow, default)]
    message: Option<Words<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Str<'a>>,
}

#[derive(Default, Deserialize)]
struct Words<'a> {
    #[serde(borrow, default)]
    content: Option<Str<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Str<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Str<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Str<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    id: Option<Str<'a>>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Default, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Str<'a>>,
    /// Text, or, from servers that do not read the fine print, the object itself.
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for First<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<First<'a>, D::Error> {
        struct Choices;

        impl<'de> Visitor<'de> for Choices {
            type Value = First<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<First<'de>, A::Error> {
                let mut first = None;
                while let Some(choice) = seq.next_element::<Choice<'de>>()? {
                    if choice.index.unwrap_or(0) == 0 && first.is_none() {
                        first = Some(choice);
                    }
                }
                Ok(First(first))
            }
        }

        from.deserialize_seq(Choices)
    }
}

impl Reader for OpenAiReader {
    fn event(&mut self, data: &[u8], into: &mut Vec<Delta>) -> Result<Step, Failure> {
        if data.starts_with(b"[DONE]") {
            if self.reason.is_none() {
                self.end(Reason::Stop, into)?; // Some servers say no more about it than this.
            }
            return Ok(Step::Last);
        }
        if data.is_empty() {
            return Ok(Step::Nothing);
        }
        self.chunk(data, into)?;
        Ok(Step::Some)
    }

    fn document(&mut self, body: &[u8], into: &mut Vec<Delta>) -> Result<(), Failure> {
        self.chunk(body, into)
    }

    fn ending(&mut self) -> Option<(Reason, Option<String>)> {
        let reason = self.reason.take()?;
        Some(match reason {
            _ if self.refused => (Reason::Refused, None),
            // Ollama and others say `stop` where tools are asked for.
            Reason::Stop if self.calls.any() => (Reason::ToolCalls, None),
            reason => (reason, None),
        })
    }

    fn has_ended(&self) -> bool {
        self.reason.is_some()
    }

    fn spent(&self) -> &Spent {
        &self.spent
    }
}

impl OpenAiReader {
    fn chunk(&mut self, data: &[u8], into: &mut Vec<Delta>) -> Result<(), Failure> {
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|error| not_understood(&error))?;
        if let Some(error) = chunk.error {
            return Err(Said::raw(error).in_stream());
        }
        if chunk.choices.is_none() && chunk.message.is_some() {
            return Err(Said::parse(data).in_stream());
        }
        if let Some(model) = said(&chunk.model) {
            self.spent.name(model);
        }
        if let Some(usage) = chunk.usage {
            self.spent.input = usage.prompt_tokens.or(self.spent.input);
            self.spent.output = usage.completion_tokens.or(self.spent.output);
        }
        let Some(First(Some(choice))) = chunk.choices else { return Ok(()) };
        self.words(choice.delta.or(choice.message).unwrap_or_default(), into)?;
        match said(&choice.finish_reason) {
            Some(reason) if self.reason.is_none() => self.end(reason_of(reason), into),
            _ => Ok(()),
        }
    }

    fn words(&mut self, delta: Words<'_>, into: &mut Vec<Delta>) -> Result<(), Failure> {
        if let Some(thought) = words(delta.reasoning_content).or_else(|| words(delta.reasoning)) {
            into.push(Delta::Reasoning(thought));
        }
        if let Some(text) = words(delta.content) {
            into.push(Delta::Text(text));
        }
        if let Some(refusal) = words(delta.refusal) {
            self.refused = true;
            into.push(Delta::Text(refusal));
        }
        for (at, call) in delta.tool_calls.into_iter().flatten().enumerate() {
            let function = call.function.unwrap_or_default();
            let fragment = Fragment {
                // In a document there are no indexes, and some servers leave them out of streams too.
                index: call.index.unwrap_or(u32::try_from(at).unwrap_or(u32::MAX)),
                id: said(&call.id).unwrap_or_default(),
                name: said(&function.name).unwrap_or_default(),
                arguments: &arguments(function.arguments)?,
            };
            self.calls.push(&fragment, into)?;
        }
        Ok(())
    }

    fn end(&mut self, reason: Reason, into: &mut Vec<Delta>) -> Result<(), Failure> {
        if reason == Reason::Other("error".to_owned()) {
            return Err(Failure::broken("the provider says that the answer failed, and not why".to_owned()));
        }
        self.calls.finish(&reason, into)?;
        self.reason = Some(reason);
        Ok(())
    }
}

fn arguments(raw: Option<&RawValue>) -> Result<Cow<'_, str>, Failure> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(Cow::Borrowed("")),
        Some(text) if text.starts_with('"') => {
            serde_json::from_str::<Str<'_>>(text).map(|text| text.0).map_err(|error| not_understood(&error))
        }
        Some(object) => Ok(Cow::Borrowed(object)),
    }
}

fn reason_of(reason: &str) -> Reason {
    match reason {
        "stop" => Reason::Stop,
        "length" => Reason::Length,
        "tool_calls" | "function_call" => Reason::ToolCalls,
        "content_filter" => Reason::Refused,
        other => Reason::Other(other.to_owned()),
    }
}
