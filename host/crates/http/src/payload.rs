//! A chunk as an event name and JSON: what named events of a stream and the `chunks` of a JSON answer share.

use std::io::{Result, Write};

use rookery_core::Chunk;

/// The event name of a chunk.
pub(crate) fn name(chunk: &Chunk) -> &str {
    match chunk {
        Chunk::Text(_) => "text",
        Chunk::Reasoning(_) => "reasoning",
        Chunk::Data { name, .. } => name,
        Chunk::ToolCall { .. } => "tool-call",
        Chunk::ToolResult { .. } => "tool-result",
        Chunk::Usage { .. } => "usage",
    }
}

/// Writes the JSON of a chunk. What the guest gave as JSON is written as it is, line breaks included.
pub(crate) fn write(chunk: &Chunk, out: &mut impl Write) -> Result<()> {
    match chunk {
        Chunk::Text(text) | Chunk::Reasoning(text) => {
            out.write_all(b"{\"text\":")?;
            string(text, out)?;
        }
        Chunk::Data { json, .. } => return out.write_all(json.as_bytes()),
        Chunk::ToolCall { id, name, arguments } => {
            out.write_all(b"{\"id\":")?;
            string(id, out)?;
            out.write_all(b",\"name\":")?;
            string(name, out)?;
            out.write_all(b",\"arguments\":")?;
            out.write_all(arguments.as_bytes())?;
        }
        Chunk::ToolResult { id, content, is_error } => {
            out.write_all(b"{\"id\":")?;
            string(id, out)?;
            out.write_all(b",\"content\":")?;
            out.write_all(content.as_bytes())?;
            write!(out, ",\"is_error\":{is_error}")?;
        }
        Chunk::Usage { model, input_tokens, output_tokens } => {
            out.write_all(b"{\"model\":")?;
            string(model, out)?;
            write!(out, ",\"input_tokens\":{input_tokens},\"output_tokens\":{output_tokens}")?;
        }
    }
    out.write_all(b"}")
}

/// Writes a text as a JSON string.
pub(crate) fn string(text: &str, out: &mut impl Write) -> Result<()> {
    serde_json::to_writer(out, text).map_err(Into::into)
}

/// Writes what stands between the quotes of a JSON string, so that a long one can be written piece by piece.
pub(crate) fn within_string(text: &str, out: &mut impl Write) -> Result<()> {
    let quoted = serde_json::to_vec(text)?;
    out.write_all(&quoted[1..quoted.len() - 1])
}

/// Passes over the outcome of a write to memory: it takes everything, and no value here is one that JSON lacks.
pub(crate) fn infallible(written: Result<()>) {
    debug_assert!(written.is_ok(), "{written:?}");
}
