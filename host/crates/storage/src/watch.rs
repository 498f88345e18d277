//! Looks over SQLite's shoulder while a guest's statement is prepared and run.
//!
//! Promises: a guest's statement is held to [`rules`] and ended at its deadline or at [`MEMORY`]; the host's own
//! statements are held to nothing.
//! Costs: a look every [`STEPS`] steps of SQLite's machine, about 1 % of a statement that computes. One step cannot be
//! interrupted; [functions](mod@crate::functions) replaces those that could be made to take long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::{Connection, ffi};
use tokio::time::Instant;

use crate::rules::{self, Effect};

/// How much more memory SQLite may use than when the statement began, in bytes: enough to sort a million rows. It is
/// counted for the whole process, since SQLite counts no other way; where many statements compute at once they share it,
/// and one that is ended for another's memory may be tried again.
pub(crate) const MEMORY: i64 = 64 << 20;

/// Between two looks. A step handles at most a row of 2 MiB, and a row takes some ten steps, so that a statement that
/// collects rows is at most some 50 MiB over its bound when it is ended.
const STEPS: i32 = 250;

/// One per connection; SQLite's callbacks hold it too.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Option<Look>>>);

/// What is known of the guest's statement.
#[derive(Debug, Default)]
struct Look {
    deadline: Option<Instant>,
    memory: i64,
    findings: Findings,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Why it was ended, if it was.
    pub(crate) ended: Option<Ended>,
    /// What it asked for and may not, if there is such a thing.
    pub(crate) denied: Option<String>,
    /// It makes, changes or removes a table or the like. Only known where it was prepared afresh.
    pub(crate) changes_schema: bool,
    /// Run again it may do something else: it asks for the time or for chance. Only known where it was prepared afresh.
    pub(crate) fickle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    TooSlow,
    TooMuchMemory,
}

/// As long as this lives, it is a guest who asks.
pub(crate) struct Asking<'a>(&'a Watch);

impl Watch {
    /// Has `connection` ask this before it prepares anything, and while it runs.
    pub(crate) fn over(connection: &mut Connection) -> rusqlite::Result<Self> {
        let watch = Self::default();
        let (judge, look) = (watch.clone(), watch.clone());
        connection.authorizer(Some(move |context: AuthContext<'_>| judge.judge(&context)))?;
        connection.progress_handler(STEPS, Some(move || look.ends()))?;
        Ok(watch)
    }

    /// From now on a guest asks, who has so much time.
    pub(crate) fn guest(&self, time: Duration) -> Asking<'_> {
        let deadline = Instant::now().checked_add(time);
        *self.lock() = Some(Look { deadline, memory: memory() + MEMORY, ..Look::default() });
        Asking(self)
    }

    fn judge(&self, context: &AuthContext<'_>) -> Authorization {
        let mut look = self.lock();
        let Some(look) = look.as_mut() else { return Authorization::Allow };
        let findings = &mut look.findings;
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
        let mut look = self.lock();
        let Some(look) = look.as_mut() else { return false };
        if memory() > look.memory {
            look.findings.ended = Some(Ended::TooMuchMemory);
        } else if look.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            look.findings.ended = Some(Ended::TooSlow);
        }
        look.findings.ended.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Look>> {
        // Nothing panics with the lock held; if something did, the look would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking<'_> {
    pub(crate) fn findings(&self) -> Findings {
        self.0.lock().as_ref().map(|look| look.findings.clone()).unwrap_or_default()
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// How many bytes SQLite uses in this process.
#[allow(unsafe_code, reason = "rusqlite has no safe name for it; it takes nothing and only reads a counter")]
fn memory() -> i64 {
    // SAFETY: may be called at any time from any thread, also from within SQLite's callbacks.
    unsafe { ffi::sqlite3_memory_used() }
}
