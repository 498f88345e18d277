//! `wasi:keyvalue/store`, for components from elsewhere: the same keys as the contract's `storage`, in the same
//! transactions. This file only translates.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use generated::wasi::keyvalue::store::{self, Error, KeyResponse};
use rookery_storage::{Order, Range, StorageError};
use wasmtime::component::{HasSelf, Linker, Resource};

use crate::state::State;

#[allow(missing_docs, reason = "generated; the WIT files are the documentation")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        inline: "
            package rookery:host;
            world keyvalue { import wasi:keyvalue/store@0.2.0-draft; }
        ",
        imports: { default: trappable },
        with: { "wasi:keyvalue/store.bucket": crate::keyvalue::Bucket },
    });
}

/// How many keys a page lists; fewer where their values are large.
const PAGE: u32 = 1000;

/// How many listings an instance may have under way at once. Each keeps a key, of at most a KiB.
const CURSORS: usize = 64;

/// Links the interface.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// What the agent keeps. There is one, however often it is opened.
#[expect(unreachable_pub, reason = "the generated code exports it again")]
pub struct Bucket;

/// Where listings go on. A cursor is a number there and a key here: these are the last keys of the latest pages, each with
/// its hash. It is the hash rather than a count, so that a cursor of an earlier instance is refused and never taken for
/// another place.
#[derive(Default)]
pub(crate) struct Cursors(VecDeque<(u64, String)>);

impl store::Host for State {
    fn open(&mut self, identifier: String) -> wasmtime::Result<Result<Resource<Bucket>, Error>> {
        match identifier.as_str() {
            "" | "default" => Ok(Ok(self.table.push(Bucket)?)),
            _ => Ok(Err(Error::NoSuchStore)),
        }
    }
}

impl store::HostBucket for State {
    fn get(&mut self, _: Resource<Bucket>, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        Ok(self.gate.storage(|storage| storage.get(&key)).map_err(Into::into))
    }

    fn set(
        &mut self,
        _: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.gate.storage(|storage| storage.set(&key, &value)).map_err(Into::into))
    }

    fn delete(&mut self, _: Resource<Bucket>, key: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.gate.storage(|storage| storage.delete(&key)).map(drop).map_err(Into::into))
    }

    fn exists(&mut self, _: Resource<Bucket>, key: String) -> wasmtime::Result<Result<bool, Error>> {
        let value = self.gate.storage(|storage| storage.get(&key));
        Ok(value.map(|value| value.is_some()).map_err(Into::into))
    }

    fn list_keys(
        &mut self,
        _: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> wasmtime::Result<Result<KeyResponse, Error>> {
        let after = match cursor {
            // Some bindings have no other way to say that there is none.
            None | Some(0) => None,
            Some(cursor) => match self.cursors.key(cursor) {
                Some(key) => Some(key.to_owned()),
                None => return Ok(Err(Error::Other("this cursor is too old; list from the start".into()))),
            },
        };
        let range = Range { prefix: String::new(), after, order: Order::Ascending, limit: PAGE };
        let page = match self.gate.storage(|storage| storage.list(&range)) {
            Ok(page) => page,
            Err(error) => return Ok(Err(error.into())),
        };
        let keys: Vec<_> = page.entries.into_iter().map(|entry| entry.key).collect();
        let cursor = keys.last().filter(|_| page.more).map(|last| self.cursors.after(last));
        Ok(Ok(KeyResponse { keys, cursor }))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl Cursors {
    /// A cursor for what comes after this key.
    fn after(&mut self, key: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(key.as_bytes());
        let cursor = hasher.finish().max(1);
        self.0.retain(|(known, _)| *known != cursor);
        if self.0.len() == CURSORS {
            self.0.pop_front();
        }
        self.0.push_back((cursor, key.to_owned()));
        cursor
    }

    fn key(&self, cursor: u64) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == cursor).map(|(_, key)| key.as_str())
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Self::Other(error.to_string())
    }
}
