//! What the house needs of SQLite that has no safe name elsewhere: how it takes its memory, which is from the program's
//! allocator and for a guest within a bound; and how it writes a number.
//!
//! Promises: as long as a [`Bound`] lives, SQLite takes on its thread no more than it allows, to the byte, and what other
//! threads take does not matter. What would be more is refused, and SQLite fails with `SQLITE_NOMEM`; so is, after the
//! bound's deadline, whatever it asks for when the clock is looked at. Without a bound nothing is refused.
//! Ensured by: connections are opened here and nowhere else; where SQLite was in use before, which would leave it with
//! memory that nobody counts, nothing is opened at all.
//! Costs: eight bytes a block, and a look at a number of the thread's own. SQLite's own statistics are off, for which it
//! would take one lock for the whole process at every block; it still does for every page that a cache grows by, which only
//! its build could change.

mod bound;
mod memory;
mod open;
mod real;
#[cfg(test)]
mod tests;

pub use bound::{Bound, LOOK, affords, late, late_after, promises};
pub use open::{open, open_in_memory, open_with_flags};
pub use real::written;
