//! SQLite's functions that can be made to take minutes in one step, done over so that they cannot.
//!
//! A step cannot be interrupted. SQLite's own search for a text of a MiB in one of two compares a MiB at every place, and
//! its trimming looks for every letter in the whole list of letters. What is here ends soon, or looks at the clock and ends
//! the statement; so do [patterns](crate::patterns). Most of SQLite's own ask for memory, and the clock is looked at there.

use std::borrow::Cow;
use std::collections::HashSet;

use memchr::memmem;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ffi};

use crate::database::ROW;
use crate::sql::READING;

/// Replaces them for this connection.
pub(crate) fn replace(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("instr", 2, flags, |context| instr(context))?;
    connection.create_scalar_function("replace", 3, flags, |context| replaced(context))?;
    for (name, start, end) in [("trim", true, true), ("ltrim", true, false), ("rtrim", false, true)] {
        for arguments in [1, 2] {
            let trimmed = move |context: &mut Context<'_>| trimmed(context, start, end);
            connection.create_scalar_function(name, arguments, flags, trimmed)?;
        }
    }
    connection.create_scalar_function("unhex", 2, flags, |_| {
        let reason = "unhex takes one text here; remove with replace() what is to be skipped";
        Err::<Option<i64>, _>(Error::UserFunctionError(reason.into()))
    })
}

fn instr(context: &Context<'_>) -> rusqlite::Result<Option<i64>> {
    let (text, part) = (read(context, 0)?, read(context, 1)?);
    let bytes = matches!((text, part), (ValueRef::Blob(_), ValueRef::Blob(_)));
    let (Some(text), Some(part)) = (self::bytes(text), self::bytes(part)) else { return Ok(None) };
    let Some(at) = memmem::find(&text, &part) else { return Ok(Some(0)) };
    // Of a letter's bytes only the first counts.
    let letters = |bytes: &[u8]| bytes.iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
    Ok(Some(if bytes { at } else { letters(&text[..at]) } as i64 + 1))
}

fn replaced(context: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let (text, part, by) = (read(context, 0)?, read(context, 1)?, read(context, 2)?);
    let (Some(text), Some(part), Some(by)) = (bytes(text), bytes(part), bytes(by)) else { return Ok(None) };
    if part.is_empty() {
        return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
    }
    let mut result = Vec::new();
    let mut rest = 0;
    for at in memmem::find_iter(&text, &part) {
        result.extend_from_slice(&text[rest..at]);
        result.extend_from_slice(&by);
        rest = at + part.len();
        if result.len() > ROW {
            return Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_TOOBIG), None));
        }
    }
    result.extend_from_slice(&text[rest..]);
    Ok(Some(lossy(result)))
}

fn trimmed(context: &Context<'_>, start: bool, end: bool) -> rusqlite::Result<Option<String>> {
    let text = read(context, 0)?;
    let letters = if context.len() > 1 { read(context, 1)? } else { ValueRef::Text(b" ") };
    let (Some(text), Some(letters)) = (bytes(text), bytes(letters)) else { return Ok(None) };
    let (text, letters) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&letters));
    let letters: HashSet<char> = letters.chars().collect();
    let mut text = &*text;
    if start {
        text = text.trim_start_matches(|letter| letters.contains(&letter));
    }
    if end {
        text = text.trim_end_matches(|letter| letters.contains(&letter));
    }
    Ok(Some(text.into()))
}

/// An argument. SQLite may have to copy it, and rusqlite panics where there is no room.
pub(crate) fn read<'a>(context: &'a Context<'_>, at: usize) -> rusqlite::Result<ValueRef<'a>> {
    if !rookery_sqlite::promises(READING) {
        return Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOMEM), None));
    }
    let value = context.get_raw(at);
    if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = value {
        in_time(bytes.len())?;
    }
    Ok(value)
}

/// Ends the statement where it is too late to go on with so many bytes.
pub(crate) fn in_time(bytes: usize) -> rusqlite::Result<()> {
    match rookery_sqlite::late_after(bytes) {
        true => Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None)),
        false => Ok(()),
    }
}

/// A value as SQLite would write it down.
pub(crate) fn bytes(value: ValueRef<'_>) -> Option<Cow<'_, [u8]>> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => number.to_string().into_bytes().into(),
        ValueRef::Real(number) => rookery_sqlite::written(number).into_bytes().into(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.into(),
    })
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
