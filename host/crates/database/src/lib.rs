//! A SQLite file of the host's own: from a folder to a connection, locked, checked, and of the newest format.
//!
//! Promises: one process at a time writes; a file that is not ours, or newer than we are, is left as it is; a format is
//! reached whole or not at all; looking makes nothing.
//! Bounded by: a statement waits five seconds for another connection. Opening takes as long as what is to be migrated.
//! Ends when: [`Opened::lock`] is dropped, or the process dies; then another one may write.
//!
//! What is in the file is the host's own writing, and trusted as that. Agents' files are not: `rookery-storage` opens those.

mod database;
mod error;
#[cfg(test)]
mod tests;

pub use database::{Database, Opened, reader};
pub use error::{OpenError, plain};
