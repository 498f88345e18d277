//! What a query found: held in memory, within a bound, until it is read.

use std::collections::VecDeque;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use crate::error::{StorageError, bound};

/// A value of a column or a parameter, with SQLite's types.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// What a query found. It does not change any more, whatever is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    columns: Vec<String>,
    rows: VecDeque<Vec<Value>>,
    /// What all of it takes, in bytes.
    bytes: usize,
}

/// All that a query finds takes at most so many bytes of memory: its texts and blobs, and 32 bytes for every value
/// and 24 for every row.
pub const RESULT_BYTES: usize = 8 << 20;

impl Rows {
    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next rows, at most so many; none when there are no more.
    pub fn next(&mut self, limit: usize) -> Vec<Vec<Value>> {
        self.rows.drain(..limit.min(self.rows.len())).collect()
    }

    /// How much memory it took when it was found, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn new(columns: Vec<String>) -> Result<Self, StorageError> {
        let bytes = columns.iter().map(|name| size_of::<String>() + name.len()).sum();
        let rows = Self { columns, rows: VecDeque::new(), bytes: 0 };
        rows.with(bytes)
    }

    pub(crate) fn push(&mut self, row: Vec<Value>, bytes: usize) {
        self.bytes += bytes;
        self.rows.push_back(row);
    }

    /// Says no where so many bytes more are too many.
    pub(crate) fn afford(&self, bytes: usize) -> Result<(), StorageError> {
        if self.bytes.saturating_add(bytes) > RESULT_BYTES {
            return bound("a query finds at most 8 MiB; ask for less, or page by page with LIMIT");
        }
        Ok(())
    }

    fn with(mut self, bytes: usize) -> Result<Self, StorageError> {
        self.afford(bytes)?;
        self.bytes = bytes;
        Ok(self)
    }
}

impl Value {
    /// The bytes of a text or blob.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) | Self::Real(_) => 0,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
