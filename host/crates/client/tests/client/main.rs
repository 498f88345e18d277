//! The client against a host that is played by a script, byte by byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod asking;
mod following;
mod host;
mod waiting;
