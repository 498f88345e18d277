//! The contract's `storage` and `sql`, on the agent's own file: this file only translates.

use rookery_storage as kept;
use wasmtime::component::Resource;

use crate::contract::{sql, storage};
use crate::state::State;

/// How many results of queries a guest may have open at once. Each takes up to 8 MiB of the host's memory.
const RESULTS: usize = 16;

impl storage::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, storage::Error>> {
        Ok(self.gate.storage(|storage| storage.get(&key)).map_err(Into::into))
    }

    fn get_many(
        &mut self,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<Vec<u8>>>, storage::Error>> {
        Ok(self.gate.storage(|storage| storage.get_many(&keys)).map_err(Into::into))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), storage::Error>> {
        Ok(self.gate.storage(|storage| storage.set(&key, &value)).map_err(Into::into))
    }

    fn set_many(&mut self, entries: Vec<storage::Entry>) -> wasmtime::Result<Result<(), storage::Error>> {
        let entry = |storage::Entry { key, value }| kept::Entry { key, value };
        let entries: Vec<_> = entries.into_iter().map(entry).collect();
        Ok(self.gate.storage(|storage| storage.set_many(&entries)).map_err(Into::into))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<Result<bool, storage::Error>> {
        Ok(self.gate.storage(|storage| storage.delete(&key)).map_err(Into::into))
    }

    fn delete_many(&mut self, keys: Vec<String>) -> wasmtime::Result<Result<u32, storage::Error>> {
        Ok(self.gate.storage(|storage| storage.delete_many(&keys)).map_err(Into::into))
    }

    fn list(&mut self, range: storage::Range) -> wasmtime::Result<Result<storage::Page, storage::Error>> {
        let order = match range.order {
            storage::Order::Ascending => kept::Order::Ascending,
            storage::Order::Descending => kept::Order::Descending,
        };
        let range = kept::Range { prefix: range.prefix, after: range.after, order, limit: range.limit };
        let page = self.gate.storage(|storage| storage.list(&range));
        Ok(page.map(Into::into).map_err(Into::into))
    }
}

impl sql::Host for State {
    fn execute(
        &mut self,
        statement: String,
        parameters: Vec<sql::Value>,
    ) -> wasmtime::Result<Result<u64, sql::Error>> {
        let parameters: Vec<_> = parameters.into_iter().map(Into::into).collect();
        Ok(self.gate.storage(|storage| storage.execute(&statement, &parameters)).map_err(Into::into))
    }

    fn query(
        &mut self,
        statement: String,
        parameters: Vec<sql::Value>,
    ) -> wasmtime::Result<Result<Resource<kept::Rows>, sql::Error>> {
        if self.results >= RESULTS {
            let bound = format!("{RESULTS} results of queries are open; drop those that have been read");
            return Ok(Err(kept::StorageError::OutOfBounds(bound).into()));
        }
        let parameters: Vec<_> = parameters.into_iter().map(Into::into).collect();
        match self.gate.storage(|storage| storage.query(&statement, &parameters)) {
            Ok(rows) => {
                let rows = self.table.push(rows)?;
                self.results += 1;
                Ok(Ok(rows))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl sql::HostRows for State {
    fn columns(&mut self, rows: Resource<kept::Rows>) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&rows)?.columns().to_vec())
    }

    fn next(&mut self, rows: Resource<kept::Rows>, limit: u32) -> wasmtime::Result<Vec<Vec<sql::Value>>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let rows = self.table.get_mut(&rows)?.next(limit);
        Ok(rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect())
    }

    fn drop(&mut self, rows: Resource<kept::Rows>) -> wasmtime::Result<()> {
        self.table.delete(rows)?;
        self.results = self.results.saturating_sub(1);
        Ok(())
    }
}

impl From<kept::Page> for storage::Page {
    fn from(page: kept::Page) -> Self {
        let entry = |kept::Entry { key, value }| storage::Entry { key, value };
        Self { entries: page.entries.into_iter().map(entry).collect(), more: page.more }
    }
}

impl From<kept::StorageError> for storage::Error {
    fn from(error: kept::StorageError) -> Self {
        match error {
            kept::StorageError::Full => Self::Full,
            kept::StorageError::OutOfBounds(bound) => Self::OutOfBounds(bound),
            kept::StorageError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<kept::StorageError> for sql::Error {
    fn from(error: kept::StorageError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<kept::SqlError> for sql::Error {
    fn from(error: kept::SqlError) -> Self {
        match error {
            kept::SqlError::Invalid(why) => Self::Invalid(why),
            kept::SqlError::Constraint(which) => Self::Constraint(which),
            kept::SqlError::Denied(what) => Self::Denied(what),
            kept::SqlError::TooSlow => Self::TooSlow,
            kept::SqlError::Storage(error) => error.into(),
        }
    }
}

impl From<sql::Value> for kept::Value {
    fn from(value: sql::Value) -> Self {
        match value {
            sql::Value::Null => Self::Null,
            sql::Value::Integer(number) => Self::Integer(number),
            sql::Value::Real(number) => Self::Real(number),
            sql::Value::Text(text) => Self::Text(text),
            sql::Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl From<kept::Value> for sql::Value {
    fn from(value: kept::Value) -> Self {
        match value {
            kept::Value::Null => Self::Null,
            kept::Value::Integer(number) => Self::Integer(number),
            kept::Value::Real(number) => Self::Real(number),
            kept::Value::Text(text) => Self::Text(text),
            kept::Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}
