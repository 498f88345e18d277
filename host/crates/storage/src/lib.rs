//! Keeps what agents keep: keys and SQL, one SQLite file per agent.
//!
//! Promises:
//! - What is written between two [commits](Storage::commit) is kept, all of it or nothing; what is committed is there after
//!   the process dies, and with [`Durability::Full`](rookery_core::Durability) after the machine does.
//! - A call that fails has changed nothing, and what was written before it stands. SQLite does not promise that where a
//!   statement is interrupted, or finds no room or no memory; what stood before is written again then. Where that cannot be done
//!   everything is answered with [`StorageError::Unavailable`] until the commit, which fails.
//! - An agent reads and writes its own file and nothing else, whatever its SQL says; what it sees of a failure names no
//!   path.
//! - An agent that is closed is one file, [`<plugin>/<name>.db`](Databases). It can be copied while it is written.
//!
//! Bounded by, for each agent: the limit that [`Databases::agent`] is given, 2 MiB of cached pages, 32 prepared statements,
//! and a schema of 512 KiB. For each statement: 100,000 bytes, 1,000 parameters of 2 MiB, two seconds, 64 MiB of memory that
//! SQLite takes for it, and [`RESULT_BYTES`] of rows.
//!
//! A statement ends at its deadline or a tenth of a second later, in the worst cases found three tenths, whatever it consists of:
//! the clock is looked at between SQLite's steps, where it takes memory, within the functions that are ours, and while it is
//! prepared. Steps that do nothing of that are few, or are given no large values. What is done in one step and is bounded by the
//! file and by memory only runs to its end: a sort of what fits into 64 MiB, counting or removing all rows of a table. `LIKE`
//! and `GLOB` are ours too, and use no index. What is short runs to its end.
//!
//! A statement's memory is exact, and its own: what is more is not given, and what other statements take does not count. A
//! statement that changes more than 64 MiB of what stood there before may find that too much, since what undoes it is kept
//! in memory.
//!
//! Everything here blocks: calls on [`Storage`] for at most a statement's time, those on [`Databases`], [`Storage::rest`] and
//! [`Storage::close`] for as long as the disk takes.

mod alarms;
mod copies;
mod database;
mod databases;
mod error;
mod functions;
mod index;
mod keys;
mod listing;
mod names;
mod patterns;
mod rows;
mod rules;
mod schema;
mod sql;
mod steps;
mod storage;
#[cfg(test)]
mod tests;
mod transaction;
mod watch;

pub use crate::alarms::{Alarm, AlarmError, Pending};
pub use crate::databases::Databases;
pub use crate::error::{FileError, SqlError, StorageError};
pub use crate::keys::{Entry, Order, Page, Range};
pub use crate::listing::Kept;
pub use crate::rows::{RESULT_BYTES, Rows, Value};
pub use crate::storage::Storage;
