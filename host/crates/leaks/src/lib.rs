//! The leak guard: values that the host adds to a guest's requests, masked where they come back out of the guest.
//!
//! A [`Guard`] is made once per plugin from its [`Secrets`]. Each stream of text that a guest writes has a [`Mask`]; what is
//! whole when it is seen (named data, a line for the log) goes through [`Guard::mask`].
//!
//! Promises: what comes out is what went in, with [`MARK`] in the place of each value, wherever the stream was cut. Of a value
//! that comes in pieces at most the first three bytes leave before it is known for one; the rest never does. Nothing waits
//! but an end that at least four bytes of a value begin, and that only until the next piece. A hit is told by the value's
//! name and counted under it; no value is ever printed.
//! Bounded by: what a [`Mask`] holds back is shorter than the longest form of a value, and the time for a text grows as its
//! length, whatever it says. A piece that is itself held back is copied with what was held before it.
//! Costs: 10 to 40 ns for a chunk of up to 40 bytes that has no value (see `benches/chunks.rs`). A guard of one key takes
//! 20 KiB and 0.1 ms to make, one of ten 130 KiB and 0.5 ms; the longest value takes 2 MiB.
//!
//! This is a guard against accidents and plain copying. A guest is never given a value; only a server that repeats what it
//! was sent can show it one. A guest that then wants to pass it on disguised (reversed, in pieces with something between,
//! in hexadecimal) can. Each value is searched for in these forms, where they differ from the value itself:
//!
//! - escaped as in a JSON string (`"` and `\` and control characters; not `\/` or `\u0041` for what needs no escape);
//! - percent-encoded as JavaScript's `encodeURIComponent` does, with capital digits;
//! - in base64, standard and URL alphabet, alone or at the beginning of more. A value further on in what was encoded
//!   is not found, and where more follows, up to two last bytes of the value may stay readable in it.
//!
//! A value that begins with a scheme, such as `Bearer sk-…`, is searched for whole and without the scheme. What a `Basic`
//! value encodes is not searched for decoded.

mod filter;
mod forms;
mod found;
mod guard;
mod mask;
mod search;
mod secrets;
#[cfg(test)]
mod tests;

pub use found::{Hit, MARK};
pub use guard::{Guard, GuardError, Masked};
pub use mask::{Mask, Pushed};
pub use search::HELD_FROM;
pub use secrets::{LONGEST, SHORTEST, Secrets};
