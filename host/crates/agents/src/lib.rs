//! Agents: one task per agent, a mailbox in front of it, and the directory that knows them by name.
//!
//! Promises: at most one live instance per agent; its runs are served one after another, in the order in which they
//! were accepted; every accepted run gets exactly one outcome.
//! Knows nothing of wasm and nothing of HTTP: guests come in through the traits of [`guest`], runs through
//! [`Directory::submit`].

mod agent;
pub mod archive;
mod budget;
mod directory;
pub mod guest;
mod live;
mod log;
mod run;
#[cfg(test)]
mod tests;

pub use directory::{Asked, Directory, Limits, Submitted};
pub use log::{Cut, Reader, Refusal, Reply};
