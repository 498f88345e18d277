//! What was found: which stretches of a text are values, and which values they were.

use std::sync::Arc;

/// Stands in the place of a value.
pub const MARK: &str = "[secret]";

/// A value was found and masked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hit {
    /// The name that the value was given, or of the longest if several end in the same place.
    pub name: Arc<str>,
    /// How many times in this text. Places that overlap are one.
    pub times: u64,
}

/// Places are counted from the beginning of a stream.
#[derive(Default)]
pub(crate) struct Found {
    /// What is masked and has not left yet. They may touch, and do not overlap: each has its own mark.
    pub(crate) stretches: Vec<Stretch>,
    /// By name: where the last place of it ended. Empty until something is found.
    ends: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Found {
    /// A value of `names[name]` is there, and ends no earlier than those before.
    pub(crate) fn add(&mut self, place: Stretch, name: usize, names: &[Arc<str>], hits: &mut Vec<Hit>) {
        let mut stretch = place;
        while let Some(last) = self.stretches.pop_if(|last| last.to > stretch.from) {
            stretch.from = stretch.from.min(last.from);
        }
        self.stretches.push(stretch);

        self.ends.resize(names.len(), 0);
        if place.from >= self.ends[name] {
            match hits.iter_mut().find(|hit| Arc::ptr_eq(&hit.name, &names[name])) {
                Some(hit) => hit.times += 1,
                None => hits.push(Hit { name: names[name].clone(), times: 1 }),
            }
        }
        self.ends[name] = place.to;
    }
}
