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
    Cancelled(Stop),
}

/// How far a cancelled run had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was still waiting for its turn, and never started.
    BeforeStart,
    /// The guest heard of it and returned; its instance lives on.
    Returned,
    /// The guest did not return in time, and its instance was dropped.
    Dropped,
}

impl Stop {
    /// The name that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Stop::BeforeStart => "before-start",
            Stop::Returned => "returned",
            Stop::Dropped => "dropped",
        }
    }
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
    #[error(
        "{0:?} cannot name an event of your own: use 1 to 64 characters of a–z, 0–9, -, _ and ., starting with a letter, and none of the host's own names"
    )]
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

    /// The chunk as pieces of at most [`LONGEST_TEXT`] bytes of text, which say the same; most chunks are one piece. None
    /// where it is no text and too large.
    pub fn pieces(self) -> Option<Vec<Chunk>> {
        match self {
            Chunk::Text(text) if text.len() > LONGEST_TEXT => {
                Some(cut(&text).map(|piece| Chunk::Text(piece.into())).collect())
            }
            Chunk::Reasoning(text) if text.len() > LONGEST_TEXT => {
                Some(cut(&text).map(|piece| Chunk::Reasoning(piece.into())).collect())
            }
            Chunk::Text(_) | Chunk::Reasoning(_) => Some(vec![self]),
            _ => (self.size() <= LARGEST_VALUE).then(|| vec![self]),
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

/// The longest text that is one event, in bytes. A reader holds one event at least, and encoding makes some texts
/// several times longer, so this bounds what a reader takes of the host's memory.
pub const LONGEST_TEXT: usize = 64 * 1024;

/// The largest event that is not text, in bytes: JSON cannot be cut into pieces that say the same.
pub const LARGEST_VALUE: usize = 4 << 20;

/// Cuts at characters, and never between a CR and its LF: apart they would be two line ends.
fn cut(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut end = text.floor_char_boundary(LONGEST_TEXT);
        if text[..end].ends_with('\r') && text[end..].starts_with('\n') {
            end -= 1;
        }
        let (piece, rest) = text.split_at(end);
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
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
    fn a_long_text_becomes_pieces_that_say_the_same() {
        for text in ["é".repeat(LONGEST_TEXT), format!("{}\r\nb", "a".repeat(LONGEST_TEXT - 1))] {
            let pieces = Chunk::Text(text.clone()).pieces().unwrap();
            assert!(pieces.len() > 1);
            let mut joined = String::new();
            for piece in &pieces {
                let Chunk::Text(piece) = piece else { panic!("{piece:?}") };
                assert!(!piece.is_empty() && piece.len() <= LONGEST_TEXT);
                assert!(!joined.ends_with('\r'), "a CR and its LF stay together");
                joined.push_str(piece);
            }
            assert_eq!(joined, text);
        }
        assert_eq!(Chunk::Text(String::new()).pieces(), Some(vec![Chunk::Text(String::new())]));
    }

    #[test]
    fn a_large_value_cannot_be_cut() {
        let data = |bytes| Chunk::Data { name: "a".into(), json: "1".repeat(bytes) };
        assert!(data(LARGEST_VALUE / 2).pieces().is_some());
        assert_eq!(data(LARGEST_VALUE).pieces(), None);
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
