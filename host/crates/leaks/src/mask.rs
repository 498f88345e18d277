//! A guard over one stream of text.
//!
//! Promises: those of the crate. What is pushed comes out in the same call, but for an end that may still become a value;
//! that comes with the next piece or at the end. A mark comes out as soon as it is known where it stands, which may be before
//! it is known how far it reaches.

use std::fmt;
use std::sync::Arc;

use crate::found::{Found, Hit, MARK, Stretch};
use crate::guard::Known;
use crate::search::{Alive, HELD_FROM};

/// How much of what has left is remembered: so much of a value may have left before it is one.
const BEFORE: usize = HELD_FROM - 1;

/// Masks the values in a text that comes in pieces. Made by [`Guard::stream`](crate::Guard::stream).
///
/// What is held back is lost when it is dropped: [`Mask::finish`] gives it out. A caller that puts something else between
/// two pieces of text (an event of another kind) calls it before, since what is held back came before that.
pub struct Mask {
    known: Option<Arc<Known>>,
    /// How many bytes were pushed.
    at: u64,
    /// The last of them.
    before: [u8; BEFORE],
    /// The end may be the beginning of a value. Otherwise nothing is held back.
    alive: Option<Alive>,
    /// The last bytes, if they have neither left nor been masked.
    held: String,
    found: Found,
    /// The end of the last value that was masked.
    masked: u64,
}

/// What a piece has come to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pushed {
    /// What may leave. Empty if all is held back.
    pub text: String,
    /// What was found, each name once. Its mark may come in a later piece.
    pub hits: Vec<Hit>,
}

impl Mask {
    pub(crate) fn new(known: Option<Arc<Known>>) -> Self {
        Self {
            known,
            at: 0,
            before: [0; BEFORE],
            alive: None,
            held: String::new(),
            found: Found::default(),
            masked: 0,
        }
    }

    /// Takes the next piece. Where nothing is in it and nothing was held back, the same text comes out, uncopied.
    #[inline]
    pub fn push(&mut self, text: String) -> Pushed {
        if self.known.is_none() || self.passes(text.as_bytes()) {
            return Pushed { text, hits: Vec::new() };
        }
        self.search(text)
    }

    /// The stream is at its end: gives out what was held back. After that the mask is as new.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        let rest = self.release(held, self.at);
        *self = Self::new(self.known.take());
        rest
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is in this piece or in the way of it. It has been taken then.
    fn passes(&mut self, text: &[u8]) -> bool {
        let suspects = |known: &Arc<Known>| known.search.suspects(tail(&self.before, self.at), text);
        let passes = self.alive.is_none() && !self.known.as_ref().is_some_and(suspects);
        if passes {
            self.remember(text);
        }
        passes
    }

    fn search(&mut self, text: String) -> Pushed {
        let mut hits = Vec::new();
        let Some(known) = self.known.clone() else {
            return Pushed { text, hits };
        };
        let (before, found) = (self.before, &mut self.found);
        let before = if self.alive.is_some() { &[] } else { tail(&before, self.at) };
        let origin = self.at - before.len() as u64;
        let alive = known.search.scan(self.alive, before, text.as_bytes(), |place| {
            let to = origin + place.end as u64;
            found.add(Stretch { from: to - place.length as u64, to }, place.name, &known.names, &mut hits);
        });
        known.count(&hits);
        self.alive = alive;
        self.remember(text.as_bytes());
        let text = if self.held.is_empty() { text } else { std::mem::take(&mut self.held) + &text };
        let undecided = alive.map_or(0, |alive| alive.bytes as u64);
        Pushed { text: self.release(text, self.at - undecided), hits }
    }

    /// Lets go of the first of the held bytes, which are all of them here, up to the place `decided`. No value that is yet
    /// to be found begins before that.
    fn release(&mut self, mut text: String, decided: u64) -> String {
        let origin = self.at - text.len() as u64;
        let decided = decided.max(origin);
        let ready = self.found.stretches.partition_point(|stretch| stretch.from <= decided);
        if ready == 0 {
            self.held = text.split_off((decided - origin) as usize);
            return text;
        }
        let (mut out, mut at) = (String::with_capacity(text.len()), origin);
        for Stretch { from, to } in self.found.stretches.drain(..ready) {
            if from > at {
                out.push_str(&text[(at - origin) as usize..(from - origin) as usize]);
            }
            // Else it is the rest of a value that the last mark stands for.
            if from >= self.masked || at > self.masked {
                out.push_str(MARK);
            }
            (at, self.masked) = (to, to);
        }
        if decided > at {
            out.push_str(&text[(at - origin) as usize..(decided - origin) as usize]);
            at = decided;
        }
        self.held = text.split_off((at - origin) as usize);
        out
    }

    fn remember(&mut self, text: &[u8]) {
        self.at += text.len() as u64;
        if let Some(last) = text.last_chunk() {
            self.before = *last;
        } else {
            for byte in text {
                self.before.rotate_left(1);
                self.before[BEFORE - 1] = *byte;
            }
        }
    }
}

/// Those of the remembered bytes that there were.
fn tail(before: &[u8; BEFORE], at: u64) -> &[u8] {
    &before[BEFORE - at.min(BEFORE as u64) as usize..]
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").field("held", &self.held.len()).finish_non_exhaustive()
    }
}
