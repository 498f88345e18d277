//! The numbered items of a run's stream: chunks that the guest wrote, then exactly one outcome.

use crate::Failure;

/// One item that a guest writes. Well formed by construction of [`Chunk::check`]; see the contract in `wit/types.wit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// A piece of the answer.
    Text(String),
    /// A piece of what the model thought on the way.
    Reasoning(String),
    /// An event of the plugin's own kind.
    Data {
        /// The event's name.
        name: String,
        /// One JSON value.
        json: String,
    },
    /// A tool is being used.
    ToolCall {
        /// Names the call.
        id: String,
        /// The tool's name.
        name: String,
        /// One JSON value.
        arguments: String,
    },
    /// A tool has answered.
    ToolResult {
        /// The id of the call that this answers.
        id: String,
        /// One JSON value.
        content: String,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// Tokens were spent.
    Usage {
        /// The model that was asked.
        model: String,
        /// Tokens of the question.
        input_tokens: u64,
        /// Tokens of the answer.
        output_tokens: u64,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest returned without a failure.
    Done,
    /// It did not work.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
}

/// What an event carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Something the guest wrote.
    Chunk(Chunk),
    /// The end; always the last event, and there is always one.
    Outcome(Outcome),
}

/// One numbered item of a run's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// 1, 2, 3 … within the run, without a gap.
    pub id: u64,
    /// What happened.
    pub item: Item,
}

/// Why a chunk is not well formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// An event name outside its alphabet, or one that the host uses itself.
    #[error("{0:?} cannot name an event of your own: use 1 to 64 characters of a–z, 0–9, -, _ and ., starting with a letter, and none of the host's own names")]
    Name(String),
    /// A text that should be one JSON value and is not.
    #[error("the {0} of a chunk is not one JSON value")]
    Json(&'static str),
}

/// Event names that the host or the `EventSource` interface uses itself.
const TAKEN: [&str; 9] =
    ["message", "open", "done", "error", "text", "reasoning", "tool-call", "tool-result", "usage"];

impl Chunk {
    /// Says whether the chunk may enter a stream.
    ///
    /// # Errors
    ///
    /// When an event name or a JSON value is not well formed.
    pub fn check(&self) -> Result<(), ChunkError> {
        match self {
            Chunk::Text(_) | Chunk::Reasoning(_) | Chunk::Usage { .. } => Ok(()),
            Chunk::Data { name, json } => check_name(name).and_then(|()| check_json("data", json)),
            Chunk::ToolCall { arguments, .. } => check_json("arguments", arguments),
            Chunk::ToolResult { content, .. } => check_json("content", content),
        }
    }

    /// How many bytes the chunk counts against limits: its texts, and a flat sum for everything around them.
    pub fn size(&self) -> usize {
        OVERHEAD
            + match self {
                Chunk::Text(text) | Chunk::Reasoning(text) => text.len(),
                Chunk::Data { name, json } => name.len() + json.len(),
                Chunk::ToolCall { id, name, arguments } => id.len() + name.len() + arguments.len(),
                Chunk::ToolResult { id, content, .. } => id.len() + content.len(),
                Chunk::Usage { model, .. } => model.len(),
            }
    }
}

/// What an event costs beside its text: the event itself, its allocation and its place in a queue. Counted so that a
/// flood of empty chunks meets the same limits as one long text.
const OVERHEAD: usize = 128;

fn check_name(name: &str) -> Result<(), ChunkError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    let good = (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(allowed)
        && !TAKEN.contains(&name);
    if good { Ok(()) } else { Err(ChunkError::Name(name.chars().take(64).collect())) }
}

fn check_json(what: &'static str, json: &str) -> Result<(), ChunkError> {
    serde_json::from_str::<serde::de::IgnoredAny>(json).map(drop).map_err(|_| ChunkError::Json(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: &str, json: &str) -> Result<(), ChunkError> {
        Chunk::Data { name: name.into(), json: json.into() }.check()
    }

    #[test]
    fn a_guest_cannot_forge_the_hosts_own_events() {
        for taken in TAKEN {
            assert!(matches!(data(taken, "1"), Err(ChunkError::Name(_))), "{taken}");
        }
        for bad in ["", "a\nb", "a b", "Done", "1a", "a:b", &"a".repeat(65)] {
            assert!(data(bad, "1").is_err(), "{bad:?}");
        }
        assert_eq!(data("progress", r#"{"percent": 50}"#), Ok(()));
    }

    #[test]
    fn what_should_be_json_is_json() {
        for bad in ["", "{", "1 2", "nope", "{\"a\":}"] {
            assert_eq!(data("progress", bad), Err(ChunkError::Json("data")), "{bad:?}");
        }
        // Deeper than any honest value, and deep enough to exhaust a careless parser's stack.
        assert!(data("progress", &"[".repeat(1 << 20)).is_err());
        let call = Chunk::ToolCall { id: "1".into(), name: "add".into(), arguments: "oops".into() };
        assert_eq!(call.check(), Err(ChunkError::Json("arguments")));
    }
}
