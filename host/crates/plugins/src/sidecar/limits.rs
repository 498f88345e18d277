//! [limits]: what a plugin's agents may use.

use std::ops::RangeInclusive;

use rookery_core::ByteSize;
use rookery_tables::{Expected, Table};

/// What a plugin's agents may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, for each instance.
    pub memory: u64,
    /// Bytes of output, for each run.
    pub output: u64,
    /// Bytes of storage, for each agent.
    pub storage: u64,
}

pub(super) const KEYS: &[&str] = &["memory", "output", "storage"];

impl Default for Limits {
    /// Python, the largest of the languages that were tried, needs 9 MiB to begin with. As much output is ten thousand
    /// pages of text.
    fn default() -> Self {
        Self { memory: 64 << 20, output: 64 << 20, storage: 1 << 30 }
    }
}

impl Limits {
    pub(super) fn read(limits: &Table<'_>) -> Self {
        let default = Self::default();
        let size = |key, default, what, bounds: RangeInclusive<u64>| {
            limits.read(key, default, Expected { what, example: r#""64MiB""# }, |value| {
                let ByteSize(bytes) = value.as_str()?.parse().ok()?;
                bounds.contains(&bytes).then_some(bytes)
            })
        };
        Self {
            memory: size("memory", default.memory, "a size from 64KiB to 4GiB", 64 << 10..=4 << 30),
            output: size("output", default.output, "a size of at least 1KiB", 1 << 10..=u64::MAX),
            storage: size("storage", default.storage, "a size from 1MiB to 1TiB", 1 << 20..=1 << 40),
        }
    }
}
