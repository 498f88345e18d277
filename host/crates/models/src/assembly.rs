//! Deltas put together to a whole answer.

use crate::{Delta, Error, Whole};

/// Puts deltas together.
#[derive(Debug, Default)]
pub struct Assembly;

impl Assembly {
    /// Takes one delta.
    pub fn push(&mut self, _delta: &Delta) {
        todo!()
    }
    /// What was said, or why it is not whole; an answer without its last item is `Cancelled`.
    pub fn finish(self) -> Result<Whole, Error> {
        todo!()
    }
}
