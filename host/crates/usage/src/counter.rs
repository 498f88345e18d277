//! Numbers that several calls count in at once.
//!
//! Promises: nothing wraps around; a number is never above [`LARGEST`] and never below zero.
//! Costs: no lock; a few nanoseconds where nobody else counts in it.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rookery_core::{Money, Spent};

/// The largest number that is counted to; more is this many. It is the largest of which every smaller one is exact in
/// floating point, as JSON and a database's sum have it, and stands for 9 billion of a currency.
pub(crate) const LARGEST: u64 = (1 << 53) - 1;

/// One number. In one order with all others, so that who sees an entry written sees what was counted before.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// A [`Spent`] that is counted in.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: Counter,
    pub(crate) input: Counter,
    pub(crate) output: Counter,
    pub(crate) micros: Counter,
}

impl Counter {
    pub(crate) fn new(number: u64) -> Self {
        Self(AtomicU64::new(number.min(LARGEST)))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }

    pub(crate) fn add(&self, more: u64) {
        self.update(|now| now.saturating_add(more).min(LARGEST));
    }

    pub(crate) fn sub(&self, less: u64) {
        self.update(|now| now.saturating_sub(less));
    }

    /// What one call had counted as `from` is `to`.
    pub(crate) fn shift(&self, from: u64, to: u64) {
        match to.cmp(&from) {
            Ordering::Greater => self.add(to - from),
            Ordering::Less => self.sub(from - to),
            Ordering::Equal => {}
        }
    }

    /// Adds so much, if there is room for that and `spare` more below the limit; otherwise says how much there is.
    pub(crate) fn take(&self, amount: u64, spare: u64, limit: Option<u64>) -> Result<(), u64> {
        let Some(limit) = limit else {
            self.add(amount);
            return Ok(());
        };
        let add = |now: u64| {
            let fits = now.saturating_add(amount).saturating_add(spare) <= limit;
            fits.then(|| now.saturating_add(amount).min(LARGEST))
        };
        self.0.fetch_update(SeqCst, SeqCst, add).map(|_| ())
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        // Only a change to nothing is an error.
        let _ = self.0.fetch_update(SeqCst, SeqCst, |now| Some(change(now)));
    }
}

impl Tally {
    pub(crate) fn read(&self) -> Spent {
        Spent {
            requests: self.requests.get(),
            input_tokens: self.input.get(),
            output_tokens: self.output.get(),
            money: Money(self.micros.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_ends_at_the_largest_and_at_zero() {
        let counter = Counter::new(u64::MAX);
        assert_eq!(counter.get(), LARGEST);
        counter.add(u64::MAX);
        assert_eq!(counter.get(), LARGEST);
        counter.sub(u64::MAX);
        assert_eq!(counter.get(), 0);
        counter.shift(3, 10);
        counter.shift(10, 8);
        assert_eq!(counter.get(), 5);
    }

    #[test]
    fn taking_leaves_the_number_as_it_is_where_there_is_no_room() {
        let counter = Counter::default();
        assert_eq!(counter.take(6, 1, Some(10)), Ok(()));
        assert_eq!(counter.take(4, 1, Some(10)), Err(6));
        assert_eq!(counter.take(u64::MAX, u64::MAX, Some(u64::MAX - 1)), Err(6));
        assert_eq!(counter.take(4, 0, Some(10)), Ok(()));
        assert_eq!(counter.take(0, 0, Some(9)), Err(10));
        assert_eq!(counter.take(u64::MAX, 1, None), Ok(()));
        assert_eq!(counter.get(), LARGEST);
    }
}
