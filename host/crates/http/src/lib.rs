//! The HTTP face: routes, the three answers, exact SSE, problem documents; one listener that serves HTTP/1.1 and
//! HTTP/2 (prior knowledge) and drains. And the admin face, on another listener ([`serve_admin`]).
//!
//! Promises: a chunk is on the wire as soon as it was written; a client that reads slowly or leaves does not slow the
//! guest, and one that comes back misses nothing; a run that a client has heard of is not forgotten; an answer that lacks
//! its end never looks whole; every refusal is a problem document with a stable code (but
//! for what is no HTTP at all, or a head beyond bounds).
//! Bounded by: [`Settings`]; per connection, what a slow client has not taken is at most some 64 KiB and one event.
//! Knows nothing of wasm: runs go in through [`rookery_agents::Directory`] and come back as a reader of events.

mod accept;
mod admin;
mod agent;
mod answer;
mod ask;
mod cors;
mod document;
mod following;
mod last_event;
mod payload;
mod problem;
mod query;
mod routes;
mod runs;
mod server;
mod silence;
mod sse;
mod stall;
mod state;
#[cfg(test)]
mod tests;
mod wishes;

pub use admin::{
    AgentState, Answer, Family, Keeper, KeeperError, Measure, Metrics, Removed, Sample, Scratch, Token,
    TokenError, serve_admin,
};
pub use server::{Settings, serve};
