//! How much memory SQLite may take on this thread, and until when.

use std::cell::Cell;
use std::marker::PhantomData;

use tokio::time::Instant;

/// As long as this lives, SQLite takes at most so many bytes on this thread beyond what it had when this began, and after
/// its deadline hardly any.
///
/// SQLite looks up from its work only at jumps of a statement's program, and a program can be long without one. But what is
/// slow in it takes memory, so the clock is looked at where SQLite asks for some: every [`LOOK`] bytes. What is asked for
/// then, after the deadline, is refused; what is asked for in between is not, so that SQLite has what it needs to undo the
/// statement.
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
    /// How large a single block may be, in bytes.
    block: usize,
    /// Until when, if there is an end.
    until: Option<Instant>,
    /// Whether something was refused for its size.
    refused: bool,
    /// Whether that was a single block.
    blocked: bool,
    /// Whether the clock was looked at after the end.
    late: bool,
}

/// Of each thread. Nothing here is dropped, so that it is there for as long as the thread is.
struct Thread {
    /// What SQLite took here and gave back here, in bytes. It is below zero where more was taken on another thread.
    balance: Cell<i64>,
    held: Cell<Held>,
    /// What was taken or worked through since the last look at the clock, in bytes.
    unlooked: Cell<usize>,
    /// What was [promised](promises) and not taken yet, in bytes.
    promised: Cell<usize>,
}

const FREE: Held =
    Held { most: i64::MAX, block: usize::MAX, until: None, refused: false, blocked: false, late: false };

/// Between two looks at the clock, in bytes. To fill so many takes SQLite's slowest functions less than a millisecond.
pub const LOOK: usize = 64 << 10;

/// A block counts for so many bytes more than it has, so that many small ones are looked at too: at least one in 128. A look
/// takes 30 ns, a block as long, so the looks are less than 1 % of them.
const BLOCK: usize = 512;

thread_local! {
    static THREAD: Thread = const {
        Thread {
            balance: Cell::new(0),
            held: Cell::new(FREE),
            unlooked: Cell::new(0),
            promised: Cell::new(0),
        }
    };
}

impl Bound {
    /// Begins here and now, without a deadline of its own.
    pub fn new(bytes: usize) -> Self {
        Self::until(bytes, None)
    }

    /// Begins here and now.
    pub fn until(bytes: usize, deadline: Option<Instant>) -> Self {
        let begin = |thread: &Thread| {
            let before = thread.held.get();
            let most = thread.balance.get().saturating_add(signed(bytes)).min(before.most);
            let until = deadline.into_iter().chain(before.until).min();
            let own = Held { most, until, refused: false, blocked: false, late: false, ..before };
            thread.held.set(own);
            thread.promised.set(0);
            (before, own)
        };
        let (before, own) = THREAD.try_with(begin).unwrap_or((FREE, FREE));
        Self { before, own, thread: PhantomData }
    }

    /// From now on no single block may be larger, until this one ends. For what goes through a block once for each part of
    /// it, and so takes as long as its size squared.
    pub fn no_block_beyond(&self, bytes: usize) {
        let _ = THREAD.try_with(|thread| {
            let held = thread.held.get();
            thread.held.set(Held { block: held.block.min(bytes), ..held });
        });
    }

    /// Whether something was refused for its size since it began.
    pub fn exceeded(&self) -> bool {
        THREAD.try_with(|thread| thread.held.get().refused).unwrap_or(false)
    }

    /// Whether one of these was a single block that was [too large](Self::no_block_beyond).
    pub fn blocked(&self) -> bool {
        THREAD.try_with(|thread| thread.held.get().blocked).unwrap_or(false)
    }

    /// Whether the clock was looked at after its deadline: something was refused for that, or [`late`] said so.
    pub fn overran(&self) -> bool {
        THREAD.try_with(|thread| thread.held.get().late).unwrap_or(false)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = THREAD.try_with(|thread| {
            let held = thread.held.get();
            debug_assert_eq!(held.most, self.own.most, "the last one to begin is the first one to end");
            let refused = self.before.refused || held.refused;
            let late = self.before.late || held.late;
            // Nobody asks whether something was refused that was not bound.
            let free = self.before.most == FREE.most && self.before.until.is_none();
            thread.held.set(if free { FREE } else { Held { refused, late, ..self.before } });
        });
    }
}

/// Whether SQLite may take so many bytes more on this thread. If not, that is a refusal as any other.
pub fn affords(bytes: usize) -> bool {
    THREAD.try_with(|thread| thread.with(bytes).is_some()).unwrap_or(true)
}

/// As [`affords`]; if so, the next so many bytes are given whatever the clock says.
///
/// To be asked where SQLite takes memory in a call that cannot say that there is none.
pub fn promises(bytes: usize) -> bool {
    let promise = |thread: &Thread| {
        let room = thread.with(bytes).is_some();
        thread.promised.set(if room { bytes } else { 0 });
        room
    };
    THREAD.try_with(promise).unwrap_or(true)
}

/// Looks at the clock: whether the deadline on this thread is over, if there is one.
pub fn late() -> bool {
    THREAD.try_with(Thread::late).unwrap_or(false)
}

/// As [`late`], with a look at the clock only once in [`LOOK`] bytes that were worked through or taken.
///
/// To be asked in what works through so many bytes and has SQLite take no memory.
pub fn late_after(bytes: usize) -> bool {
    THREAD.try_with(|thread| thread.looks(bytes) && thread.late()).unwrap_or(false)
}

/// Counts what SQLite wants; says no where that is too much, or too late.
pub(crate) fn take(bytes: usize) -> bool {
    let take = |thread: &Thread| {
        let Some(balance) = thread.with(bytes) else { return false };
        let held = thread.held.get();
        if bytes > held.block {
            thread.held.set(Held { refused: true, blocked: true, ..held });
            return false;
        }
        match thread.promised.get().checked_sub(bytes) {
            Some(left) => thread.promised.set(left),
            None if thread.looks(bytes + BLOCK) && thread.late() => return false,
            None => {}
        }
        thread.balance.set(balance);
        true
    };
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

    /// Whether it is time to look at the clock, after so many bytes more.
    fn looks(&self, bytes: usize) -> bool {
        let unlooked = self.unlooked.get().saturating_add(bytes);
        let looks = unlooked >= LOOK;
        self.unlooked.set(if looks { 0 } else { unlooked });
        looks
    }

    fn late(&self) -> bool {
        let held = self.held.get();
        let late = held.until.is_some_and(|until| Instant::now() >= until);
        if late {
            self.held.set(Held { late, ..held });
        }
        late
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
