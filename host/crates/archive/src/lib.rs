//! Keeps runs in SQLite.
//!
//! Promises: what is reported as committed is there after the process dies, and with [`Durability::Full`] after the machine
//! does; what was accepted and has no outcome when the database is opened is given one.
//! Bounded by: one thread that writes and a few connections that read; old runs are removed by [`Settings::keep_for`] and
//! [`Settings::keep`], a little at a time.
//! Ends when: [`Runs::close`], or the last handle is dropped; everything that was handed over is written then.

mod agents;
mod encode;
mod error;
mod open;
mod queue;
mod reader;
mod retention;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rookery_agents::archive::{Archive, ArchiveError, Query, Source};
use rookery_core::{AgentId, Durability, Event, Prompt, RunId, RunState};

use crate::open::Opened;
use crate::queue::Queue;
use crate::reader::Readers;
use crate::retention::Sweeper;
use crate::writer::Writer;

pub use rookery_database::OpenError;

/// Where runs are kept, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `runs.db` lives in it. Made where it is missing.
    pub folder: PathBuf,
    /// What a committed event survives.
    pub durability: Durability,
    /// How long after a commit the writer may wait for more before the next one; zero is at once. At most
    /// [`LONGEST_GATHER`] counts.
    pub gather: Duration,
    /// Finished runs are kept for so long.
    pub keep_for: Duration,
    /// And at most so many of one agent.
    pub keep: usize,
}

/// The longest that [`Settings::gather`] can be: a chunk is promised to be in the log 50 ms after it is on the wire, and
/// the commit takes its part of them.
pub const LONGEST_GATHER: Duration = Duration::from_millis(40);

/// How many runs of an agent there are in a folder, whether a host uses it or not. Changes nothing there. Blocks.
///
/// # Errors
///
/// When there is something that cannot be read.
pub fn count(folder: &Path, agent: &AgentId) -> Result<u64, OpenError> {
    open::look(folder, |connection| reader::count_all(connection, agent))
}

/// The runs of a host. A handle; all of them are the same.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    writer: Mutex<Option<JoinHandle<()>>>,
    recovered: usize,
}

impl Settings {
    /// The default settings, for this folder: what survives the process, at most 2 ms between commits, and finished runs
    /// for a week and a thousand of an agent.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            durability: Durability::Normal,
            gather: Duration::from_millis(2),
            keep_for: Duration::from_secs(7 * 24 * 60 * 60),
            keep: 1000,
        }
    }
}

impl Runs {
    /// Opens the runs of a folder, or makes them, and ends every run that has no outcome as
    /// [`Interrupted`](rookery_core::Code::Interrupted). Blocks.
    ///
    /// # Errors
    ///
    /// When somebody else uses the folder, or what is there cannot be used. Nothing was changed then.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let Opened { connection, path, lock, next, recovered } =
            open::open(&settings.folder, settings.durability)?;
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(connection, lock, next);
        let sweeper = Sweeper::new(settings.keep_for, settings.keep);
        let (its, gather) = (queue.clone(), settings.gather.min(LONGEST_GATHER));
        let writer = thread::Builder::new()
            .name("runs".into())
            .spawn(move || writer::run(writer, sweeper, &its, gather))
            .map_err(|error| OpenError::Folder { path: path.clone(), error })?;
        let readers = Arc::new(Readers::new(path));
        Ok(Self(Arc::new(Inner { queue, readers, writer: Mutex::new(Some(writer)), recovered })))
    }

    /// Writes everything that was handed over, and lets go of the folder. What comes later is refused. Blocks until done.
    pub fn close(&self) {
        self.0.close();
    }

    /// How many runs had no outcome when these were opened.
    pub fn recovered(&self) -> usize {
        self.0.recovered
    }

    /// Removes at once what would be removed by and by: finished runs that are too old or too many. Blocks until done, and
    /// nothing is written in the meantime.
    pub fn sweep_now(&self) {
        self.0.queue.sweep();
    }
}

impl Archive for Runs {
    fn wake(&self, source: Arc<dyn Source>) {
        self.0.queue.enter(source);
    }

    fn hurry(&self) {
        self.0.queue.hurry();
    }

    fn read(
        &self,
        run: RunId,
        after: u64,
        bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Event>, ArchiveError>> {
        self.readers().read(move |from| reader::events(from, run, after, bytes)).boxed()
    }

    fn state(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunState>, ArchiveError>> {
        self.readers().read(move |from| reader::state(from, run)).boxed()
    }

    fn by_key(
        &self,
        agent: AgentId,
        key: String,
    ) -> BoxFuture<'static, Result<Option<(RunId, Prompt)>, ArchiveError>> {
        self.readers().read(move |from| reader::by_key(from, &agent, &key)).boxed()
    }

    fn list(&self, query: Query) -> BoxFuture<'static, Result<Vec<RunState>, ArchiveError>> {
        self.readers().read(move |from| reader::list(from, &query)).boxed()
    }

    fn count(&self, agent: AgentId) -> BoxFuture<'static, Result<u64, ArchiveError>> {
        self.readers().read(move |from| reader::count(from, &agent)).boxed()
    }

    fn forget(&self, agent: AgentId) -> BoxFuture<'static, Result<u64, ArchiveError>> {
        let answer = self.0.queue.forget(agent);
        async move { answer.await.unwrap_or_else(|_| Err(error::closed())) }.boxed()
    }
}

impl Runs {
    fn readers(&self) -> Arc<Readers> {
        self.0.readers.clone()
    }
}

impl Inner {
    fn close(&self) {
        self.readers.close();
        self.queue.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.abandon();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
        // A source can hold the last handle, and the writer let go of it: it cannot wait for itself.
        if writer.thread().id() == thread::current().id() {
            return;
        }
        self.close();
        // It panicked if this is an error, and has said so.
        let _ = writer.join();
    }
}
