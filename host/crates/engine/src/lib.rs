//! Runs plugins: the only crate that names wasmtime.
//!
//! Promises: what is loaded can be launched (its world and imports were checked); a guest cannot hold a thread, exceed
//! its memory, reach what it was not granted, or name a file.
//! Costs: a plugin is compiled once per engine version and kept; launching copies nothing but what the guest writes.

mod alarms;
mod cache;
mod closing;
mod contract;
mod eager;
mod engine;
mod error;
mod exports;
mod fetch;
mod gate;
mod gates;
mod http;
mod instance;
mod keyvalue;
mod leaks;
mod memory;
mod model;
mod output;
mod plugin;
mod schedule;
mod state;
mod stdio;
mod storage;
mod tasks;
mod turns;
mod unused;

pub use engine::{Engine, EngineError, Reserved, Settings};
pub use error::LoadError;
pub use model::Models;
pub use plugin::{Loaded, Source};
