//! An answer of Anthropic's Messages, read event by event.
//!
//! - Events and blocks that are not known are passed over, as their documentation asks for; `ping` is a sign of life.
//! - A tool's input is handed over at the end of its block; empty is `{}`.
//! - `message_stop` ends the answer; so does the end of the body, once a `stop_reason` was there.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::calls::{Calls, Fragment};
use crate::delta::{Delta, Reason};
use crate::dialect::{Reader, Said, Spent, Step, Str, not_understood, said, words};
use crate::failure::Failure;

#[derive(Default)]
pub(crate) struct AnthropicReader {
    spent: Spent,
    calls: Calls,
    thinking: Vec<(u32, Thinking)>,
    /// Bytes of what is signed or redacted, and of nothing else.
    signed: usize,
    reason: Option<Reason>,
}

/// The most bytes of signatures and redacted thinking in one answer: a hundred times what is usual.
const SIGNED_LIMIT: usize = 1024 * 1024;

/// A block as it is wanted back.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Thinking {
    Thinking { thinking: String, signature: String },
    RedactedThinking { data: String },
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Str<'a>,
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    #[serde(borrow, default)]
    delta: Option<Block<'a>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    model: Option<Str<'a>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(borrow, default)]
    content: Option<Vec<Block<'a>>>,
    #[serde(borrow, default)]
    stop_reason: Option<Str<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A block, or a piece of one.
#[derive(Default, Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Str<'a>,
    #[serde(borrow, default)]
    text: Option<Str<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Str<'a>>,
    #[serde(borrow, default)]
    signature: Option<Str<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Str<'a>>,
    #[serde(borrow, default)]
    data: Option<Str<'a>>,
    #[serde(borrow, default)]
    id: Option<Str<'a>>,
    #[serde(borrow, default)]
    name: Option<Str<'a>>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<Str<'a>>,
}

/// Of a stream's last event, all of them together: not what was spent since the one before.
#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

impl Reader for AnthropicReader {
    fn event(&mut self, data: &[u8], into: &mut Vec<Delta>) -> Result<Step, Failure> {
        let event: Event<'_> = serde_json::from_slice(data).map_err(|error| not_understood(&error))?;
        match &*event.kind.0 {
            "content_block_delta" => self.piece(event.index, event.delta.unwrap_or_default(), into)?,
            "message_start" => {
                if let Some(message) = event.message {
                    self.begin(message.model, message.usage);
                }
            }
            "content_block_start" => {
                self.block(event.index, event.content_block.unwrap_or_default(), into)?
            }
            "content_block_stop" => self.calls.end(event.index, into)?,
            "message_delta" => {
                self.begin(None, event.usage);
                if let Some(reason) = event.delta.as_ref().and_then(|delta| said(&delta.stop_reason)) {
                    self.end(reason, into)?;
                }
            }
            "message_stop" => return Ok(Step::Last),
            "error" => return Err(event.error.map(Said::raw).unwrap_or_default().in_stream()),
            _ => return Ok(Step::Nothing),
        }
        Ok(Step::Some)
    }

    fn document(&mut self, body: &[u8], into: &mut Vec<Delta>) -> Result<(), Failure> {
        let message: Message<'_> = serde_json::from_slice(body).map_err(|error| not_understood(&error))?;
        if let Some(error) = message.error {
            return Err(Said::raw(error).in_stream());
        }
        self.begin(message.model, message.usage);
        for (index, block) in (0..).zip(message.content.into_iter().flatten()) {
            self.block(index, block, into)?;
            self.calls.end(index, into)?;
        }
        match said(&message.stop_reason) {
            Some(reason) => self.end(reason, into),
            None => Ok(()),
        }
    }

    fn ending(&mut self) -> Option<(Reason, Option<String>)> {
        let reason = self.reason.take()?;
        // Without its signature a block would be refused when it comes back.
        let signed =
            |block: &Thinking| !matches!(block, Thinking::Thinking { signature, .. } if signature.is_empty());
        let blocks: Vec<_> =
            self.thinking.iter().map(|(_, block)| block).filter(|block| signed(block)).collect();
        let state = (!blocks.is_empty()).then(|| serde_json::to_string(&blocks).ok()).flatten();
        Some((reason, state))
    }

    fn has_ended(&self) -> bool {
        self.reason.is_some()
    }

    fn spent(&self) -> &Spent {
        &self.spent
    }
}

impl AnthropicReader {
    fn begin(&mut self, model: Option<Str<'_>>, usage: Option<Tokens>) {
        if let Some(model) = said(&model) {
            self.spent.name(model);
        }
        let Some(usage) = usage else { return };
        if let Some(input) = usage.input_tokens {
            let cached = [usage.cache_creation_input_tokens, usage.cache_read_input_tokens];
            let cached = cached.into_iter().flatten().fold(0u64, u64::saturating_add);
            self.spent.input = Some(input.saturating_add(cached));
        }
        self.spent.output = usage.output_tokens.or(self.spent.output);
    }

    fn block(&mut self, index: u32, block: Block<'_>, into: &mut Vec<Delta>) -> Result<(), Failure> {
        match &*block.kind.0 {
            "text" => into.extend(words(block.text).map(Delta::Text)),
            "thinking" => {
                let thinking = Thinking::Thinking { thinking: String::new(), signature: String::new() };
                self.thinking.push((index, thinking));
                self.think(index, block, into)?;
            }
            "redacted_thinking" => {
                let data = words(block.data).unwrap_or_default();
                self.sign(data.len())?;
                self.thinking.push((index, Thinking::RedactedThinking { data }));
            }
            "tool_use" => {
                // In a stream it is `{}` here and comes in pieces.
                let input = block.input.map(RawValue::get).filter(|&input| input != "{}" && input != "null");
                let (id, name) = (said(&block.id).unwrap_or_default(), said(&block.name).unwrap_or_default());
                let arguments = input.unwrap_or_default();
                self.calls.push(&Fragment { index, id, name, arguments }, into)?;
            }
            _ => {} // Tools that the provider runs itself, and whatever comes to be.
        }
        Ok(())
    }

    fn piece(&mut self, index: u32, piece: Block<'_>, into: &mut Vec<Delta>) -> Result<(), Failure> {
        match &*piece.kind.0 {
            "text_delta" => into.extend(words(piece.text).map(Delta::Text)),
            "thinking_delta" | "signature_delta" => self.think(index, piece, into)?,
            "input_json_delta" => {
                let arguments = said(&piece.partial_json).unwrap_or_default();
                self.calls.more(index, arguments)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn think(&mut self, index: u32, piece: Block<'_>, into: &mut Vec<Delta>) -> Result<(), Failure> {
        self.sign(said(&piece.signature).map_or(0, str::len))?;
        let block = self.thinking.iter_mut().rev().find(|(known, _)| *known == index);
        if let Some((_, Thinking::Thinking { thinking, signature })) = block {
            thinking.push_str(said(&piece.thinking).unwrap_or_default());
            signature.push_str(said(&piece.signature).unwrap_or_default());
        }
        into.extend(words(piece.thinking).map(Delta::Reasoning));
        Ok(())
    }

    fn sign(&mut self, bytes: usize) -> Result<(), Failure> {
        self.signed += bytes;
        if self.signed > SIGNED_LIMIT {
            return Err(Failure::broken(
                "the signatures of the model's thoughts are larger than 1 MiB".to_owned(),
            ));
        }
        Ok(())
    }

    fn end(&mut self, reason: &str, into: &mut Vec<Delta>) -> Result<(), Failure> {
        let reason = match reason {
            "end_turn" | "stop_sequence" => Reason::Stop,
            "max_tokens" | "model_context_window_exceeded" => Reason::Length,
            "tool_use" => Reason::ToolCalls,
            "refusal" => Reason::Refused,
            other => Reason::Other(other.to_owned()),
        };
        self.calls.finish(&reason, into)?;
        self.reason = Some(reason);
        Ok(())
    }
}
