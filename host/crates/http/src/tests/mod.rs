//! The whole face over real sockets, with a guest that does what the test says.

mod admin;
mod answers;
mod cancelling;
mod connections;
mod following;
mod keeping;
mod listing;
mod metrics;
mod refusals;
mod shelf;
mod stream;
mod support;
mod wishing;
