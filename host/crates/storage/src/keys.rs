//! What an agent keeps by key.

use std::time::Duration;

use rusqlite::OptionalExtension;

use crate::database::Database;
use crate::error::{SqlError, StorageError, bound};
use crate::storage::Storage;
use crate::transaction::Write;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// In which order keys are listed. Keys are ordered by their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// What to list.
#[derive(Clone, Debug)]
pub struct Range {
    /// Keys that begin with this; empty for all.
    pub prefix: String,
    /// Only keys that come after this one in the order that was asked for.
    pub after: Option<String>,
    /// The order.
    pub order: Order,
    /// At most so many entries, 1–1,000. A page also ends where its values would be more than 4 MiB.
    pub limit: u32,
}

/// A page of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// Whether there are more after the last one.
    pub more: bool,
}

const KEY: usize = 1024;
const VALUE: usize = 2 << 20;
const KEYS: usize = 128;
const LISTED: u32 = 1000;
/// What one answer holds at most.
const ANSWER: usize = 4 << 20;

impl Storage {
    /// The value of a key; none where there is none.
    ///
    /// # Errors
    ///
    /// [`StorageError::OutOfBounds`] and [`StorageError::Unavailable`].
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        check_key(key)?;
        let database = self.reading()?;
        get(database, key).map_err(|error| database.failure(&error))
    }

    /// The values of up to 128 keys, in the order of the keys; together at most 4 MiB.
    ///
    /// # Errors
    ///
    /// [`StorageError::OutOfBounds`] and [`StorageError::Unavailable`].
    pub fn get_many(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        check_count(keys.len())?;
        keys.iter().try_for_each(|key| check_key(key))?;
        let database = self.reading()?;
        let mut bytes = 0;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = get(database, key).map_err(|error| database.failure(&error))?;
            bytes += value.as_ref().map_or(0, Vec::len);
            if bytes > ANSWER {
                return bound("the values of these keys are more than 4 MiB; ask for fewer at a time");
            }
            values.push(value);
        }
        Ok(values)
    }

    /// Sets a key to a value, whatever it was before.
    ///
    /// # Errors
    ///
    /// Any of [`StorageError`]; nothing has changed then.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        check(key, value)?;
        self.write_keys(false, |database| set(database, key, value))?;
        self.remember_set(key, value);
        Ok(())
    }

    /// Sets up to 128 keys, one after another: all or none of them.
    ///
    /// # Errors
    ///
    /// Any of [`StorageError`]; nothing has changed then.
    pub fn set_many(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        check_count(entries.len())?;
        entries.iter().try_for_each(|entry| check(&entry.key, &entry.value))?;
        if entries.is_empty() {
            return Ok(());
        }
        self.write_keys(true, |database| {
            entries.iter().try_for_each(|entry| set(database, &entry.key, &entry.value))
        })?;
        entries.iter().for_each(|entry| self.remember_set(&entry.key, &entry.value));
        Ok(())
    }

    /// Deletes a key. Says whether it was there.
    ///
    /// # Errors
    ///
    /// Any of [`StorageError`]; nothing has changed then.
    pub fn delete(&mut self, key: &str) -> Result<bool, StorageError> {
        check_key(key)?;
        self.delete_all(std::slice::from_ref(&key)).map(|deleted| deleted > 0)
    }

    /// Deletes up to 128 keys: all or none of them. Says how many were there.
    ///
    /// # Errors
    ///
    /// Any of [`StorageError`]; nothing has changed then.
    pub fn delete_many(&mut self, keys: &[String]) -> Result<u32, StorageError> {
        check_count(keys.len())?;
        keys.iter().try_for_each(|key| check_key(key))?;
        self.delete_all(keys)
    }

    /// A page of entries in the order of their keys.
    ///
    /// # Errors
    ///
    /// [`StorageError::OutOfBounds`] and [`StorageError::Unavailable`].
    pub fn list(&mut self, range: &Range) -> Result<Page, StorageError> {
        if !(1..=LISTED).contains(&range.limit) {
            return bound(format!("a page has 1 to {LISTED} entries, not {}", range.limit));
        }
        if range.prefix.len().max(range.after.as_ref().map_or(0, String::len)) > KEY {
            return bound(format!("a key has at most {KEY} bytes"));
        }
        let database = self.reading()?;
        list(database, range).map_err(|error| database.failure(&error))
    }

    fn delete_all(&mut self, keys: &[impl AsRef<str>]) -> Result<u32, StorageError> {
        // Where there is no file there is nothing to delete, and no reason to make one.
        if keys.is_empty() || !self.has_file() {
            self.reading()?;
            return Ok(0);
        }
        let deleted = self.write_keys(keys.len() > 1, |database| {
            let deleted = keys.iter().map(|key| delete(database, key.as_ref()).map(u32::from));
            deleted.sum()
        })?;
        for key in keys {
            self.remember(key.as_ref().len(), Duration::ZERO, || Write::Delete { key: key.as_ref().into() });
        }
        Ok(deleted)
    }

    pub(crate) fn write_keys<T>(
        &mut self,
        several: bool,
        write: impl FnOnce(&Database) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        let written = self.change(several, |database| {
            write(database).map_err(|error| SqlError::Storage(database.failure(&error)))
        });
        written.map_err(|error| match error {
            SqlError::Storage(error) => error,
            // The closure makes no other.
            other => StorageError::Unavailable(other.to_string()),
        })
    }

    fn remember_set(&mut self, key: &str, value: &[u8]) {
        self.remember(key.len() + value.len(), Duration::ZERO, || Write::Set {
            key: key.into(),
            value: value.into(),
        });
    }
}

fn check_key(key: &str) -> Result<(), StorageError> {
    if (1..=KEY).contains(&key.len()) {
        return Ok(());
    }
    bound(format!("a key has 1 to {KEY} bytes, not {}", key.len()))
}

fn check(key: &str, value: &[u8]) -> Result<(), StorageError> {
    check_key(key)?;
    if value.len() > VALUE {
        return bound(format!("a value has at most {VALUE} bytes (2 MiB), not {}", value.len()));
    }
    Ok(())
}

fn check_count(count: usize) -> Result<(), StorageError> {
    if count > KEYS {
        return bound(format!("at most {KEYS} keys at a time, not {count}"));
    }
    Ok(())
}

fn get(database: &Database, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    database
        .connection
        .prepare_cached("SELECT value FROM rookery_keys WHERE key = ? /*rookery*/")?
        .query_row([key.as_bytes()], |row| row.get(0))
        .optional()
}

pub(crate) fn set(database: &Database, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    // Selected rather than VALUES: SQLite then holds it for a statement that may write several rows and keeps what it
    // needs to undo this one alone where there is no room. Else it would undo the whole transaction.
    let statement = "INSERT INTO rookery_keys (key, value) SELECT ?, ? WHERE true \
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value /*rookery*/";
    database.connection.prepare_cached(statement)?.execute((key.as_bytes(), value)).map(drop)
}

/// Says whether it was there.
pub(crate) fn delete(database: &Database, key: &str) -> rusqlite::Result<bool> {
    let statement = "DELETE FROM rookery_keys WHERE key = ? /*rookery*/";
    database.connection.prepare_cached(statement)?.execute([key.as_bytes()]).map(|deleted| deleted > 0)
}

fn list(database: &Database, range: &Range) -> rusqlite::Result<Page> {
    let statement = match range.order {
        Order::Ascending => {
            "SELECT key, value FROM rookery_keys WHERE key >= ? AND key < ? ORDER BY key LIMIT ? /*rookery*/"
        }
        Order::Descending => {
            "SELECT key, value FROM rookery_keys WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ? \
             /*rookery*/"
        }
    };
    let (from, to) = ends(range);
    let mut statement = database.connection.prepare_cached(statement)?;
    let mut rows = statement.query((from, to, i64::from(range.limit) + 1))?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if entries.len() == range.limit as usize {
            return Ok(Page { entries, more: true });
        }
        let value = row.get_ref(1)?.as_blob()?;
        bytes += value.len();
        if bytes > ANSWER {
            return Ok(Page { entries, more: true });
        }
        let key = std::str::from_utf8(row.get_ref(0)?.as_blob()?)?;
        entries.push(Entry { key: key.into(), value: value.into() });
    }
    Ok(Page { entries, more: false })
}

/// The first key that counts, and the first after it that does not any more.
fn ends(range: &Range) -> (Vec<u8>, Vec<u8>) {
    let with = |key: &str, byte| [key.as_bytes(), &[byte]].concat();
    // No key has this byte in it: it is no part of UTF-8.
    let (mut from, mut to) = (range.prefix.clone().into_bytes(), with(&range.prefix, 0xff));
    match (&range.after, range.order) {
        // The very next key there could be.
        (Some(after), Order::Ascending) => from = from.max(with(after, 0)),
        (Some(after), Order::Descending) => to = to.min(after.clone().into_bytes()),
        (None, _) => {}
    }
    (from, to)
}
