//! The whole face over real sockets, with a guest that does what the test says.

mod answers;
mod connections;
mod refusals;
mod stream;
mod support;
