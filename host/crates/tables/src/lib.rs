//! The TOML that people write for the host: sidecars, and the host's own file. Read key by key.
//!
//! Promise: what such a file says is either understood or a mistake with its line and what would mend it; no key is passed
//! over, and all mistakes of a file are told at once.

mod mistake;
mod table;
mod values;

pub use mistake::{Mistake, Mistakes};
pub use table::{Entry, Expected, Table};
pub use values::{COUNT, MONEY, NUMBER, SPAN, TEXTS, count, money, number, span, texts};
