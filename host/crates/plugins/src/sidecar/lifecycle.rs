//! [lifecycle]: how a plugin's instances come and go.

use std::time::Duration;

use rookery_tables::{SPAN, Table, span};

/// How a plugin's instances come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// How long an instance that has nothing to do stays live.
    pub sleep_after: Duration,
}

pub(super) const KEYS: &[&str] = &["sleep_after"];

impl Default for Lifecycle {
    /// Longer than a person thinks between two prompts, and short enough that memory follows those who are there.
    fn default() -> Self {
        Self { sleep_after: Duration::from_secs(60) }
    }
}

impl Lifecycle {
    pub(super) fn read(lifecycle: &Table<'_>) -> Self {
        let default = Self::default();
        Self { sleep_after: lifecycle.read("sleep_after", default.sleep_after, SPAN, span) }
    }
}
