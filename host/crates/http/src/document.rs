//! The JSON answer to a run that has ended well: `{"run": …, "text": …, "chunks": […]}`.
//!
//! Promise: it is never held as a whole. It is written event by event as the client takes it, by two readers: one for
//! the texts, then one for everything else.

use std::io::{Result, Write};

use bytes::{BufMut, BytesMut};
use rookery_agents::Reader;
use rookery_core::{Chunk, Item, RunId};

use crate::payload::{self, infallible};

/// A document that is being written.
#[derive(Debug)]
pub(crate) struct Document {
    part: Part,
}

#[derive(Debug)]
enum Part {
    Text { chunks: Reader },
    Chunks { any: bool },
}

impl Document {
    /// Begins a document. The second reader stands at the first event, as the first one does.
    pub(crate) fn begin(run: RunId, chunks: Reader, out: &mut BytesMut) -> Self {
        infallible(write!(out.writer(), "{{\"run\":\"{run}\",\"text\":\""));
        Self { part: Part::Text { chunks } }
    }

    /// Writes what belongs to the part that is being written. After the outcome that part is over.
    pub(crate) fn encode(&mut self, item: &Item, out: &mut BytesMut) {
        match (&mut self.part, item) {
            (Part::Text { .. }, Item::Chunk(Chunk::Text(text))) => {
                infallible(payload::within_string(text, &mut out.writer()));
            }
            (Part::Text { .. }, _)
            | (Part::Chunks { .. }, Item::Chunk(Chunk::Text(_)) | Item::Outcome(_)) => {}
            (Part::Chunks { any }, Item::Chunk(chunk)) => {
                let comma = if std::mem::replace(any, true) { "," } else { "" };
                infallible(entry(comma, chunk, &mut out.writer()));
            }
        }
    }

    /// Goes on to the next part, which this reader is for. None when there is no other.
    pub(crate) fn next_part(&mut self, out: &mut BytesMut) -> Option<Reader> {
        match std::mem::replace(&mut self.part, Part::Chunks { any: false }) {
            Part::Text { chunks } => {
                out.put_slice(b"\",\"chunks\":[");
                Some(chunks)
            }
            Part::Chunks { .. } => {
                out.put_slice(b"]}");
                None
            }
        }
    }
}

fn entry(comma: &str, chunk: &Chunk, out: &mut impl Write) -> Result<()> {
    write!(out, "{comma}{{\"event\":\"{}\",\"data\":", payload::name(chunk))?;
    payload::write(chunk, out)?;
    out.write_all(b"}")
}
