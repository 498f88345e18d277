//! Agents: one task per agent, a mailbox in front of it, and the directory that knows them by name.
//!
//! Promises: at most one live instance per agent; its runs begin in the order in which they were accepted, one after
//! another unless its plugin wants some at once; every accepted run gets exactly one outcome.
//! Knows nothing of wasm and nothing of HTTP: guests come in through the traits of [`guest`], runs through
//! [`Directory::submit`].

mod agent;
pub mod archive;
mod begun;
mod budget;
mod directory;
pub mod guest;
mod held;
mod keyed;
mod live;
mod log;
mod mailbox;
mod reader;
mod reply;
mod run;
mod runs;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod unsettled;

pub use directory::{Activity, Archiving, Asked, Counts, Directory, Limits, Submitted};
pub use held::Held;
pub use log::{Cancelling, Refusal};
pub use reader::{Cut, Reader};
pub use reply::Reply;
