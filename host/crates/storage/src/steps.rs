//! How large the values may be that a statement of many steps works with.
//!
//! A step that computes or compares may read two texts from end to end, and takes no memory for it, so that nobody looks at
//! the clock: 4 ms for two of 2 MiB that are read as numbers. Between two looks there are at most as many as the statement
//! has. So one that has many is given no large values, and one that has few is given any.
//!
//! Promises: the steps of a statement that are between two looks at the clock read at most [`WORK`] bytes, twice.
//! Costs: where a statement is prepared that is not small, it is prepared once more, to be explained.

use rusqlite::limits::Limit;
use rusqlite::{CachedStatement, Connection, StatementStatus};

use crate::database::ROW;
use crate::error::{SqlError, StorageError};
use crate::functions::in_time;
use crate::rows::Value;

/// So many steps may work with values as large as there are: a quarter of a second, if each reads two texts as numbers.
const STEPS: usize = 64;

/// What all steps may read, in bytes for each of the values of one.
const WORK: usize = STEPS * ROW;

/// What is prepared and takes no more than so many bytes has no more than [`STEPS`] that work.
const SMALL: i32 = 4096;

/// How many steps a statement has that work.
pub(crate) enum Steps<'a> {
    /// It may have any values.
    Few,
    Many(Narrow<'a>),
    /// Too many that ask a virtual table, which has values that nobody can narrow.
    TooMany,
}

/// What is said then.
pub(crate) const TOO_MANY: &str = "a statement asks full-text search and the like for at most 64 values of a row, and for \
    highlight() and snippet() at most twice";

/// As long as this lives, no value is larger than a statement's steps allow.
pub(crate) struct Narrow<'a> {
    connection: &'a Connection,
    /// How many steps there are.
    pub(crate) steps: usize,
    /// How large a value may be, in bytes.
    pub(crate) most: usize,
}

impl Narrow<'_> {
    /// What is said where a value was larger.
    pub(crate) fn error(&self) -> SqlError {
        let Self { steps, most, .. } = self;
        StorageError::OutOfBounds(format!(
            "in a statement of {steps} steps that compute or compare a text, a blob or a row is at most {most} bytes"
        ))
        .into()
    }
}

impl Drop for Narrow<'_> {
    fn drop(&mut self) {
        // It cannot fail: the connection is there.
        let _ = self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW as i32);
    }
}

/// How many bytes the longest of some parameters has.
pub(crate) fn longest(parameters: &[Value]) -> usize {
    parameters.iter().map(Value::len).max().unwrap_or(0)
}

/// Counts the steps of a statement whose parameters are at most so long, and which may mark what it found, and narrows its
/// values if they are many.
pub(crate) fn narrow<'a>(
    connection: &'a Connection,
    prepared: &CachedStatement<'_>,
    statement: &str,
    (longest, marks): (usize, bool),
) -> rusqlite::Result<Steps<'a>> {
    let small = prepared.get_status(StatementStatus::MemUsed) <= SMALL;
    if (small && !marks) || prepared.is_explain() != 0 {
        return Ok(Steps::Few);
    }
    let count = count(connection, statement, longest)?;
    let steps = count.all();
    if count.asks > STEPS {
        return Ok(Steps::TooMany);
    }
    if steps <= STEPS {
        return Ok(Steps::Few);
    }
    let most = WORK / steps;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, most as i32)?;
    Ok(Steps::Many(Narrow { connection, steps, most }))
}

/// What the steps of a statement come to.
#[derive(Default)]
struct Count {
    /// Those that work with values.
    steps: usize,
    /// Those that fetch a value for them.
    loads: usize,
    /// Those that ask a virtual table, as full-text search is one.
    asks: usize,
    /// Whether a function goes through what it is given as often as it has arguments.
    repeats: bool,
    /// Whether what came last is a value that is known to be short, or an entry of nothing else.
    short: bool,
}

/// Counts the steps of a statement whose parameters are at most so long.
fn count(connection: &Connection, statement: &str, longest: usize) -> rusqlite::Result<Count> {
    let mut explained = connection.prepare(&format!("EXPLAIN {statement}"))?;
    let mut count = Count::default();
    let mut rows = explained.raw_query();
    while let Some(row) = rows.next()? {
        in_time(ROWS)?;
        let (opcode, detail) = (row.get_ref(1)?.as_str()?, row.get_ref(5)?.as_str_or_null()?);
        count.add(opcode, row.get(3)?, detail.unwrap_or_default(), longest);
    }
    Ok(count)
}

impl Count {
    fn add(&mut self, opcode: &str, second: i64, detail: &str, longest: usize) {
        let short = std::mem::replace(&mut self.short, CONSTANT.contains(&opcode));
        match opcode {
            "Variable" => self.short = longest <= SHORT,
            // A list as in `id IN (1, 2, …)` is made of these three, for each of its values.
            "MakeRecord" if short && second == 1 => self.short = true,
            "IdxInsert" if short => {}
            // Each of these letters has a value read as a number.
            "Affinity" | "MakeRecord" => self.steps += detail.matches(['C', 'D', 'E']).count(),
            "VColumn" => self.asks += 1,
            "Function" | "PureFunc" if detail.starts_with("bm25(") => self.asks += 1,
            "Function" | "PureFunc" if MARKING.iter().any(|name| detail.starts_with(name)) => {
                self.asks += MARK
            }
            _ if LIGHT.contains(&opcode) || self.short => {}
            _ => self.steps += 1,
        }
        self.loads += usize::from(self.short || LOADS.contains(&opcode));
        self.repeats |= REPEATING.contains(&detail);
    }

    /// How many steps that work, as far as is known.
    fn all(&self) -> usize {
        self.steps + self.asks + if self.repeats { self.loads } else { 0 }
    }
}

/// To list a step takes as long as other work on so many bytes.
const ROWS: usize = 64;

/// A parameter of so many bytes is read in 10 µs.
pub(crate) const SHORT: usize = 16 << 10;

/// Functions that mark what full-text search found; one is as slow as so many others, in texts of [`MARKED`] bytes.
const MARKING: [&str; 2] = ["highlight(", "snippet("];
const MARK: usize = 24;

/// In a statement with one of these a text has at most so many bytes, and of the places that were found in a row only the first
/// 4,096 are known, 12 bytes each and twice as much when they are more: `snippet` compares each with every other in 0.15 s.
pub(crate) const MARKED: usize = 96 << 10;

/// Values that are in the statement itself, and no longer.
const CONSTANT: [&str; 6] = ["Int64", "Integer", "Null", "Real", "String", "String8"];

/// What fetches other values.
const LOADS: [&str; 6] = ["Blob", "Column", "Copy", "SCopy", "Variable", "VColumn"];

/// Functions that go through a large value once for each of their arguments.
const REPEATING: [&str; 14] = [
    "json_array_insert(-1)",
    "json_extract(-1)",
    "json_insert(-1)",
    "json_remove(-1)",
    "json_replace(-1)",
    "json_set(-1)",
    "jsonb_array_insert(-1)",
    "jsonb_extract(-1)",
    "jsonb_insert(-1)",
    "jsonb_remove(-1)",
    "jsonb_replace(-1)",
    "jsonb_set(-1)",
    "max(-3)",
    "min(-3)",
];

/// What takes no longer with large values, or takes memory for them, and is found in statements by the hundred.
const LIGHT: [&str; 33] = [
    "BeginSubrtn",
    "Blob",
    "Close",
    "Column",
    "Copy",
    "EndCoroutine",
    "Explain",
    "FkIfZero",
    "Gosub",
    "Goto",
    "Halt",
    "HaltIfNull",
    "IfNullRow",
    "Init",
    "InitCoroutine",
    "Insert",
    "IntCopy",
    "IsNull",
    "Move",
    "NewRowid",
    "Next",
    "Noop",
    "NotNull",
    "NullRow",
    "Once",
    "OpenEphemeral",
    "OpenRead",
    "OpenWrite",
    "Param",
    "ResultRow",
    "Return",
    "SCopy",
    "Yield",
];
