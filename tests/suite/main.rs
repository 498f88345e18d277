//! Rookery as its users meet it: real components, real sockets, the real program. One binary, so that the host is
//! linked once; one file per part of the promise.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

mod admin;
mod agents;
mod alarms;
mod browser;
mod budgets;
mod examples;
mod fetch;
mod languages;
mod leaks;
mod limits;
mod loading;
#[cfg(target_os = "linux")]
mod many;
mod models;
mod outgoing;
mod overlap;
mod program;
mod promises;
mod runs;
mod sleep;
mod storage;
mod stream;
#[cfg(target_os = "linux")]
mod unused;
