//! Looks over SQLite's shoulder while a guest's statement is prepared and run.
//!
//! Promises: a guest's statement is held to [`rules`], ended at its deadline, and given no more memory than [`MEMORY`]; the
//! host's own statements are held to nothing.
//! Ensured by: a look at clock and memory every [`STEPS`] steps of SQLite's machine, and at the clock where SQLite takes memory,
//! see [`Bound`], and where it is told what a statement asks for, which it is while the statement is prepared. SQLite takes its
//! steps without a look where a program does not jump; [steps](crate::steps) sees to those that take neither memory nor a
//! function of ours, and [functions](mod@crate::functions) and [patterns](crate::patterns) replace those that could be made to
//! take long.
//! Costs: about 1 % of a statement that computes. A statement ends a tenth of a second late, or two, in the worst case.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rookery_sqlite::Bound;
use rusqlite::Connection;
use rusqlite::hooks::{AuthContext, Authorization};
use tokio::time::Instant;

use crate::rules::{self, Effect};

/// How much more memory SQLite may have than when the statement began, in bytes: enough to sort a million rows. What the
/// connection has already, its cached pages and prepared statements, has bounds of its own.
pub(crate) const MEMORY: usize = 64 << 20;

/// Between two looks. Most steps take less than a microsecond; what takes longer takes memory, or is ours, and then the clock
/// is looked at within them. The rest takes at most 4 ms, where a text of 2 MiB is read as a number.
const STEPS: i32 = 250;

/// It looks so many times as often at statements whose steps may take long.
const CLOSER: i32 = 10;

/// A statement that has less than this part of its memory left is interrupted at the next look. Refused in the middle of
/// something it would have SQLite undo the whole transaction, where one that only reads and is interrupted undoes nothing.
const SPARE: usize = 32;

/// One per connection; SQLite's callbacks hold it too.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    look: Arc<Mutex<Option<Look>>>,
    pace: Arc<Pace>,
}

/// How often it looks of the times that SQLite asks.
#[derive(Default)]
struct Pace {
    /// Whether it does every time.
    close: AtomicBool,
    /// How often SQLite asked. Nobody asks at the same time.
    asked: AtomicU32,
}

/// What is known of the guest's statement.
#[derive(Debug, Default)]
struct Look {
    /// What is to be left of its memory when it is looked at, in bytes.
    spare: usize,
    findings: Findings,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// What it asked for and may not, if there is such a thing.
    pub(crate) denied: Option<String>,
    /// Whether it was prepared, and not taken from those that are kept. Only then is the rest known.
    pub(crate) afresh: bool,
    /// It makes, changes or removes a table or the like.
    pub(crate) changes_schema: bool,
    /// Run again it may do something else: it asks for the time or for chance.
    pub(crate) fickle: bool,
    /// It has steps that take long.
    pub(crate) long: bool,
    /// It marks what full-text search found.
    pub(crate) marks: bool,
}

/// How much a guest's statement may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    pub(crate) time: Duration,
    /// In bytes.
    pub(crate) memory: usize,
}

/// As long as this lives, it is a guest who asks.
pub(crate) struct Asking<'a> {
    watch: &'a Watch,
    bound: Bound,
}

impl Watch {
    /// Has `connection` ask this before it prepares anything, and while it runs.
    pub(crate) fn over(connection: &mut Connection) -> rusqlite::Result<Self> {
        let watch = Self::default();
        let (judge, look) = (watch.clone(), watch.clone());
        connection.authorizer(Some(move |context: AuthContext<'_>| judge.judge(&context)))?;
        connection.progress_handler(STEPS / CLOSER, Some(move || !look.pace.skips() && look.ends()))?;
        Ok(watch)
    }

    /// From now on looks ten times as often: somebody asks for what may take long in each step.
    pub(crate) fn look_closer(&self) {
        self.pace.close.store(true, Ordering::Relaxed);
    }

    /// From now on a guest asks, who has so much.
    pub(crate) fn guest(&self, means: Means) -> Asking<'_> {
        let deadline = Instant::now().checked_add(means.time);
        let spare = means.memory / SPARE;
        *self.lock() = Some(Look { spare, ..Look::default() });
        Asking { watch: self, bound: Bound::until(means.memory, deadline) }
    }

    fn judge(&self, context: &AuthContext<'_>) -> Authorization {
        let mut look = self.lock();
        let Some(look) = look.as_mut() else { return Authorization::Allow };
        // Views within views are asked about as often as they are named, before the statement has taken a step.
        if rookery_sqlite::late() {
            return Authorization::Deny;
        }
        let findings = &mut look.findings;
        findings.afresh = true;
        findings.long |= rules::is_long(context);
        match rules::judge(context, findings.changes_schema) {
            Ok(Effect::Plain) => {}
            Ok(Effect::ChangesSchema) => findings.changes_schema = true,
            Ok(Effect::Fickle) => findings.fickle = true,
            Ok(Effect::Marks) => findings.marks = true,
            Err(denied) => {
                findings.denied.get_or_insert(denied);
                return Authorization::Deny;
            }
        }
        Authorization::Allow
    }

    fn ends(&self) -> bool {
        let look = self.lock();
        let Some(look) = look.as_ref() else { return false };
        rookery_sqlite::late() || !rookery_sqlite::affords(look.spare)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Look>> {
        // Nothing panics with the lock held; if something did, the look would still be whole.
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// Whether it does not look this time.
    fn skips(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed).wrapping_add(1);
        self.asked.store(asked, Ordering::Relaxed);
        !asked.is_multiple_of(CLOSER as u32) && !self.close.load(Ordering::Relaxed)
    }
}

impl Asking<'_> {
    pub(crate) fn findings(&self) -> Findings {
        self.watch.lock().as_ref().map(|look| look.findings.clone()).unwrap_or_default()
    }

    /// Has no text be larger, nor anything else that is one block of memory.
    pub(crate) fn no_block_beyond(&self, bytes: usize) {
        self.bound.no_block_beyond(bytes);
    }

    /// Whether SQLite was refused memory for its size.
    pub(crate) fn exceeded(&self) -> bool {
        self.bound.exceeded()
    }

    /// Whether that was for [a single block](Self::no_block_beyond).
    pub(crate) fn blocked(&self) -> bool {
        self.bound.blocked()
    }

    /// Whether it was ended at its deadline.
    pub(crate) fn overran(&self) -> bool {
        self.bound.overran()
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        *self.watch.lock() = None;
    }
}
