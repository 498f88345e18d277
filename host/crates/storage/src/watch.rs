//! Looks over SQLite's shoulder while a guest's statement is prepared and run.
//!
//! Promises: a guest's statement is held to [`rules`], ended at its deadline, and given no more memory than [`MEMORY`]; the
//! host's own statements are held to nothing.
//! Costs: a look at clock and memory every [`STEPS`] steps of SQLite's machine, about 1 % of a statement that computes. One step
//! cannot be interrupted; [functions](mod@crate::functions) replaces those that could be made to take long.

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

/// Between two looks. Most steps take less than a microsecond; what takes longest is `LIKE` over a text of 2 MiB, half a
/// second, and a statement of many of them is ended that many seconds late.
const STEPS: i32 = 250;

/// A statement that has less than this part of its memory left is interrupted at the next look. Refused in the middle of
/// something it would have SQLite undo the whole transaction, where one that only reads and is interrupted undoes nothing.
const SPARE: usize = 32;

/// One per connection; SQLite's callbacks hold it too.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Option<Look>>>);

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
        connection.progress_handler(STEPS, Some(move || look.ends()))?;
        Ok(watch)
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
        match rules::judge(context, findings.changes_schema) {
            Ok(Effect::Plain) => {}
            Ok(Effect::ChangesSchema) => findings.changes_schema = true,
            Ok(Effect::Fickle) => findings.fickle = true,
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking<'_> {
    pub(crate) fn findings(&self) -> Findings {
        self.watch.lock().as_ref().map(|look| look.findings.clone()).unwrap_or_default()
    }

    /// Whether SQLite was refused memory for its size.
    pub(crate) fn exceeded(&self) -> bool {
        self.bound.exceeded()
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
