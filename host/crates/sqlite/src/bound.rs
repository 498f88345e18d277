//! How much SQLite may take on this thread.

use std::cell::Cell;
use std::marker::PhantomData;

/// As long as this lives, SQLite takes at most so many bytes on this thread beyond what it had when this began.
///
/// What was taken before and is given back meanwhile makes room. While one lives another may begin, and ends before it: it
/// is held to both, and what is refused counts for both.
#[derive(Debug)]
pub struct Bound {
    /// What held before it, to be put back.
    before: Held,
    own: Held,
    /// It speaks of the thread that it began on.
    thread: PhantomData<*const ()>,
}

/// What a thread is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// How far its balance may rise.
    most: i64,
    /// Whether something was refused.
    refused: bool,
}

/// Of each thread. Nothing here is dropped, so that it is there for as long as the thread is.
struct Thread {
    /// What SQLite took here and gave back here, in bytes. It is below zero where more was taken on another thread.
    balance: Cell<i64>,
    held: Cell<Held>,
}

const FREE: Held = Held { most: i64::MAX, refused: false };

thread_local! {
    static THREAD: Thread = const { Thread { balance: Cell::new(0), held: Cell::new(FREE) } };
}

impl Bound {
    /// Begins here and now.
    pub fn new(bytes: usize) -> Self {
        let begin = |thread: &Thread| {
            let before = thread.held.get();
            let most = thread.balance.get().saturating_add(signed(bytes)).min(before.most);
            let own = Held { most, refused: false };
            thread.held.set(own);
            (before, own)
        };
        let (before, own) = THREAD.try_with(begin).unwrap_or((FREE, FREE));
        Self { before, own, thread: PhantomData }
    }

    /// Whether something was refused since it began.
    pub fn exceeded(&self) -> bool {
        THREAD.try_with(|thread| thread.held.get().refused).unwrap_or(false)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = THREAD.try_with(|thread| {
            let held = thread.held.get();
            debug_assert_eq!(held.most, self.own.most, "the last one to begin is the first one to end");
            let refused = self.before.refused || held.refused;
            // Nobody asks whether something was refused that was not bound.
            thread.held.set(if self.before.most == FREE.most {
                FREE
            } else {
                Held { refused, ..self.before }
            });
        });
    }
}

/// Whether SQLite may take so many bytes more on this thread. If not, that is a refusal as any other.
///
/// To be asked where it takes memory in a call that cannot say that there is none.
pub fn affords(bytes: usize) -> bool {
    THREAD.try_with(|thread| thread.with(bytes).is_some()).unwrap_or(true)
}

/// Counts what SQLite wants; says no where that is too much.
pub(crate) fn take(bytes: usize) -> bool {
    let take = |thread: &Thread| thread.with(bytes).map(|balance| thread.balance.set(balance)).is_some();
    THREAD.try_with(take).unwrap_or(true)
}

/// Counts what SQLite gives back, or did not get after all.
pub(crate) fn give(bytes: usize) {
    let _ = THREAD.try_with(|thread| thread.balance.set(thread.balance.get().saturating_sub(signed(bytes))));
}

impl Thread {
    /// Its balance with so much more, unless that is refused.
    fn with(&self, bytes: usize) -> Option<i64> {
        let (balance, held) = (self.balance.get().saturating_add(signed(bytes)), self.held.get());
        if balance > held.most {
            self.held.set(Held { refused: true, ..held });
            return None;
        }
        Some(balance)
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
