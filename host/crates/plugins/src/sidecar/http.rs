//! [http]: how requests are made. What they may reach is beside it, in [grants](super::grants).

use std::time::Duration;

use rookery_outgoing::DEFAULT_OPEN_REQUESTS;
use rookery_tables::{NUMBER, SPAN, Table, number, span};

/// How a plugin's outgoing requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// How many requests all of its agents may have open together.
    pub open_requests: usize,
    /// How long connecting may take, where it is not what the host gives.
    pub connect_timeout: Option<Duration>,
    /// How long the head of a response may take from then, likewise.
    pub first_byte_timeout: Option<Duration>,
}

/// With those of the grants.
pub(super) const KEYS: &[&str] =
    &["allow", "inject", "open_requests", "connect_timeout", "first_byte_timeout"];

impl Default for Http {
    fn default() -> Self {
        Self { open_requests: DEFAULT_OPEN_REQUESTS, connect_timeout: None, first_byte_timeout: None }
    }
}

impl Http {
    pub(super) fn read(http: &Table<'_>) -> Self {
        let timeout = |key| http.read(key, None, SPAN, |value| span(value).map(Some));
        Self {
            open_requests: http.read("open_requests", DEFAULT_OPEN_REQUESTS, NUMBER, number),
            connect_timeout: timeout("connect_timeout"),
            first_byte_timeout: timeout("first_byte_timeout"),
        }
    }
}
