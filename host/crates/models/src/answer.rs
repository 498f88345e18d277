//! An answer on its way.

use std::task::{Context, Poll};

use crate::Delta;

/// An answer on its way. The provider's request has begun and goes on to the first delta by itself; dropping it ends it.
pub struct Answer;

impl Answer {
    /// Appends all deltas that have arrived, at least one; `Ready(false)` once the last one was handed over before.
    pub fn poll(&mut self, _cx: &mut Context<'_>, _into: &mut Vec<Delta>) -> Poll<bool> {
        todo!()
    }
    /// All deltas that have arrived, at least one; none once the last one was handed over before.
    pub async fn next(&mut self) -> Option<Vec<Delta>> {
        todo!()
    }
    /// Whether it failed because the provider fell silent.
    pub fn fell_silent(&self) -> bool {
        false
    }
}
