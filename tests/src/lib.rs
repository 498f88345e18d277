//! What the integration tests and benches share: guests built once, hosts on free ports, and a plain client.
//!
//! Everything is real: components, sockets, the engine. The practice model stands in for a paid one.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

pub mod browser;
pub mod client;
pub mod guests;
pub mod host;
pub mod languages;
mod needs;
#[cfg(target_os = "linux")]
pub mod opens;
pub mod program;
pub mod server;

pub use client::{Answer, Client, Streaming};
pub use host::{TestHost, TestHostBuilder};
pub use server::Server;
