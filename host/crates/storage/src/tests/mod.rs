//! What the tests have in common.

mod alarms;
mod files;
mod keys;
mod memory;
mod model;
mod patterns;
mod rest;
mod sql;
mod time;
mod transactions;

use std::path::Path;

use rookery_core::{AgentId, Durability};
use tempfile::TempDir;

use crate::{Databases, Storage, StorageError, Value};

/// A small linear congruential generator: the same seed is the same life, on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// A folder of agents, gone with the test.
pub(crate) struct House {
    pub(crate) databases: Databases,
    pub(crate) folder: TempDir,
}

const MIB: usize = 1 << 20;
const PLENTY: u64 = 1 << 30;

impl House {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let databases = Databases::open(folder.path().join("agents"), Durability::Normal).unwrap();
        Self { databases, folder }
    }

    pub(crate) fn agent(&self, name: &str) -> Storage {
        self.databases.agent(&agent(name), PLENTY)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.databases.file(&agent(name))
    }
}

pub(crate) fn agent(text: &str) -> AgentId {
    let (plugin, name) = text.split_once('/').unwrap_or(("chat", text));
    AgentId { plugin: plugin.parse().unwrap(), name: name.parse().unwrap() }
}

/// The files in a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn out_of_bounds<T: std::fmt::Debug>(result: Result<T, StorageError>) -> String {
    match result {
        Err(StorageError::OutOfBounds(text)) => text,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}
