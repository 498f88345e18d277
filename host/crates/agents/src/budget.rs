//! A number of bytes that many share: taken, given back, never exceeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the host's memory that its runs share.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

/// Bytes that were taken; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Takes bytes for as long as the share is kept. None where there are not so many left.
    pub(crate) fn share(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        self.take(bytes).then(|| Share { budget: self.clone(), bytes })
    }

    /// Takes bytes, if so many are left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        // Never added first and taken back: another run's write in between would find the budget used up.
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back what was taken.
    pub(crate) fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_share_is_given_back_when_it_is_dropped() {
        let budget = Arc::new(Budget::new(10));
        let share = budget.share(7);
        assert!(share.is_some());
        assert!(budget.share(4).is_none());
        drop(share);
        assert!(budget.share(10).is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_write_that_finds_no_budget_takes_none_from_others_meanwhile() {
        let (budget, done) = (Budget::new(10), AtomicBool::new(false));
        let together = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                while !done.load(Ordering::Relaxed) {
                    assert!(!budget.take(11));
                }
            });
            together.wait();
            let taken = (0..1_000_000).filter(|_| budget.take(1)).inspect(|_| budget.give(1)).count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(taken, 1_000_000);
        });
        assert_eq!(budget.used(), 0);
    }
}
