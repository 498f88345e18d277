//! The ways to a connection.
#![allow(
    clippy::disallowed_methods,
    reason = "they are disallowed elsewhere, so that connections are opened here"
)]

use std::ffi::c_int;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::{Connection, Error, OpenFlags, Result, ffi};

use crate::memory;

/// Opens a file for reading and writing, and makes it where it is missing.
///
/// # Errors
///
/// What SQLite says; `SQLITE_MISUSE` where this process has used it before in another way.
pub fn open(path: impl AsRef<Path>) -> Result<Connection> {
    ready()?;
    Connection::open(path)
}

/// Opens a file as these say.
///
/// # Errors
///
/// As for [`open`].
pub fn open_with_flags(path: impl AsRef<Path>, flags: OpenFlags) -> Result<Connection> {
    ready()?;
    Connection::open_with_flags(path, flags)
}

/// Opens a database that is in no file.
///
/// # Errors
///
/// As for [`open`].
pub fn open_in_memory() -> Result<Connection> {
    ready()?;
    Connection::open_in_memory()
}

/// The first time it gives SQLite its allocator.
fn ready() -> Result<()> {
    static INSTALLED: OnceLock<c_int> = OnceLock::new();
    match *INSTALLED.get_or_init(memory::install) {
        ffi::SQLITE_OK => Ok(()),
        code => {
            let why = "SQLite was in use before its memory could be bounded: every connection is to be opened by rookery-sqlite";
            Err(Error::SqliteFailure(ffi::Error::new(code), Some(why.into())))
        }
    }
}
