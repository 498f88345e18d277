//! What models were asked and what it cost, and the budgets that bound it. Knows nothing of wasm, HTTP or how models are
//! spoken to.
//!
//! Promises: every call is counted once, from its beginning on; what is counted is in the database at most
//! [`LONGEST_GATHER`] later, so a process that is killed forgets no more than that. By how much a limit may be exceeded
//! is said at [`Meter`].
//! Bounded by: open calls and what is unwritten; one thread that writes. A disk that fails stops nobody: what cannot be
//! written waits, up to some 16 MiB of it, and what is more is given up. It is logged when that begins and when it ends.
//! Ends when: [`Ledger::close`], or the last ledger, meter and charge are dropped; everything that was counted is written
//! then.

mod account;
mod book;
mod budget;
mod counter;
mod database;
mod day;
mod entry;
mod error;
mod meter;
mod models;
mod price;
mod queue;
mod report;
#[cfg(test)]
mod tests;
mod totals;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rookery_core::{AgentId, Durability, PluginName};
use rookery_database::{Opened, reader};

use crate::book::{AgentDay, Book};
use crate::database::USAGE;
use crate::queue::Queue;
use crate::totals::Totals;
use crate::writer::{Sweeping, Writer};

pub use account::RunSpend;
pub use budget::{Budget, Kind, Limits, Over, Refused, Scope, Unpriced};
pub use day::Day;
pub use error::ReportError;
pub use meter::{Charge, Meter};
pub use price::Price;
pub use report::{By, Of, Query, Row, report};
pub use rookery_core::{Money, MoneyError, Spent};
pub use rookery_database::OpenError;
pub use totals::Total;

/// What time it is. It may jump: a call counts for the day that it says when the call begins.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Where usage is kept, and how.
#[derive(Clone)]
pub struct Settings {
    /// `usage.db` lives in it. Made where it is missing.
    pub folder: PathBuf,
    /// What survives of that which is written.
    pub durability: Durability,
    /// How long after something was counted the writer may wait for more before it writes. At most [`LONGEST_GATHER`]
    /// counts.
    pub gather: Duration,
    /// Days before today that are kept. What is older is removed a little at a time, at the start and once an hour.
    pub keep_days: u32,
    /// Says which day it is.
    pub clock: Clock,
}

/// The longest that [`Settings::gather`] can be.
pub const LONGEST_GATHER: Duration = Duration::from_secs(1);

/// What was asked of models. A handle; all of them are the same.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    path: PathBuf,
    clock: Clock,
    book: Mutex<Book>,
    totals: Totals,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Settings {
    /// The default settings, for this folder: what survives the process, written within a second, kept for 400 days, by the
    /// system's clock.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            durability: Durability::Normal,
            gather: LONGEST_GATHER,
            keep_days: 400,
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl Ledger {
    /// Opens the usage of a folder, or makes it. Blocks.
    ///
    /// # Errors
    ///
    /// When somebody else uses the folder, or what is there cannot be used. Nothing was changed then.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let Opened { connection, path, lock } = USAGE.open(&settings.folder, settings.durability)?;
        let book = Mutex::new(Book::new(reader(&path).map_err(|error| USAGE.refused(&path, error))?));
        let queue = Arc::new(Queue::new(settings.gather.min(LONGEST_GATHER)));
        let sweeping = Sweeping { clock: settings.clock.clone(), keep_days: settings.keep_days };
        let (writer, its) = (Writer::new(connection, lock), queue.clone());
        let writer = thread::Builder::new()
            .name("usage".into())
            .spawn(move || writer::run(writer, &sweeping, &its))
            .map_err(|error| OpenError::Folder { path: path.clone(), error })?;
        let (clock, writer) = (settings.clock.clone(), Mutex::new(Some(writer)));
        Ok(Self(Arc::new(Inner { path, clock, book, totals: Totals::default(), queue, writer })))
    }

    /// What counts a plugin's calls against this budget. For a plugin that is loaded again it goes on with what was spent;
    /// calls that are open are still held to the budget that they began with.
    pub fn plugin(&self, plugin: PluginName, budget: Budget) -> Meter {
        let totals = self.0.totals.of(&plugin);
        Meter::new(self.clone(), plugin, budget, totals)
    }

    /// Adds up what was asked, with everything that was counted until now: it is written first. Blocks.
    ///
    /// # Errors
    ///
    /// When it cannot be written or read, or the ledger is closed.
    pub fn report(&self, query: &Query) -> Result<Vec<Row>, ReportError> {
        self.0.queue.flush().map_err(ReportError::Unwritten)?;
        let path = &self.0.path;
        let reader = reader(path).map_err(|error| USAGE.refused(path, error))?;
        Ok(report::read(&reader, path, query)?)
    }

    /// What was asked since the ledger was opened, by plugin and model: at most 65 rows of each plugin. A request is in it as
    /// it begins, its tokens and what they cost when it has ended, so nothing ever goes back.
    pub fn totals(&self) -> Vec<Total> {
        self.0.totals.read()
    }

    /// Writes everything that was counted, and lets go of the folder. Calls may still begin and go on, but are not written
    /// any more; so runs are to be ended first. Blocks until done.
    pub fn close(&self) {
        self.0.queue.close();
    }

    /// An agent's account of today.
    pub(crate) fn agent(&self, agent: &AgentId) -> Arc<AgentDay> {
        let today = Day::of((self.0.clock)());
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner).agent(today, agent)
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It panicked if joining is an error, and has said so.
        let _ = writer.map(JoinHandle::join);
    }
}
