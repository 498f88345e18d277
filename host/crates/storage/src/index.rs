//! Which agents have alarms that ring some day, and not later than when: so that a host that starts need not open all files.
//!
//! Promise: no time is later than when the agent's first alarm rings, also after a crash between two writes. So it is
//! written here before it is committed in the agent's file, and made later only after that. Too early a time costs one look.
//! Bounded by: one row for each agent that has such alarms.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rookery_core::AgentId;
use rusqlite::{Connection, OptionalExtension};

use crate::error::{FileError, StorageError};
use rookery_core::Durability;

/// Beside the plugins' folders. No plugin's name has a dot.
const NAME: &str = "alarms.db";

type Listener = Box<dyn Fn(&AgentId, u64) + Send + Sync>;

/// The index of one folder of agents.
pub(crate) struct Index {
    path: PathBuf,
    durability: Durability,
    /// Opened when it is first needed.
    connection: Mutex<Option<Connection>>,
    listener: OnceLock<Listener>,
}

impl Index {
    pub(crate) fn new(folder: &Path, durability: Durability) -> Arc<Self> {
        let path = folder.join(NAME);
        Arc::new(Self { path, durability, connection: Mutex::default(), listener: OnceLock::new() })
    }

    /// Who is told when an alarm was set. The first one counts.
    pub(crate) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    pub(crate) fn tell(&self, agent: &AgentId, at: u64) {
        if let Some(listener) = self.listener.get() {
            listener(agent, at);
        }
    }

    /// An alarm of this agent will ring at this time.
    pub(crate) fn lower(&self, agent: &AgentId, at: u64) -> Result<(), StorageError> {
        self.with(|index| {
            let statement = "INSERT INTO due (plugin, name, at) VALUES (?, ?, ?) \
                             ON CONFLICT DO UPDATE SET at = excluded.at WHERE excluded.at < at";
            index.prepare_cached(statement)?.execute(row(agent, at)).map(drop)
        })
    }

    /// The agent's first alarm rings at this time, as its file says; or it has none.
    pub(crate) fn put(&self, agent: &AgentId, at: Option<u64>) -> Result<(), StorageError> {
        self.with(|index| match at {
            Some(at) => {
                let statement = "INSERT OR REPLACE INTO due (plugin, name, at) VALUES (?, ?, ?)";
                index.prepare_cached(statement)?.execute(row(agent, at)).map(drop)
            }
            None => {
                let statement = "DELETE FROM due WHERE plugin = ? AND name = ?";
                let names = (agent.plugin.as_str(), agent.name.as_str());
                index.prepare_cached(statement)?.execute(names).map(drop)
            }
        })
    }

    /// Agents in the order of their ids, after this one and at most so many; fewer only at the end.
    pub(crate) fn page(
        &self,
        after: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<(AgentId, u64)>, StorageError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let (plugin, name) = after.map_or(("", ""), |after| (after.plugin.as_str(), after.name.as_str()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.with(|index| {
            let statement = "SELECT plugin, name, at FROM due WHERE (plugin, name) > (?, ?) \
                             ORDER BY plugin, name LIMIT ?";
            let mut statement = index.prepare_cached(statement)?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
            };
            let rows = statement.query_map((plugin, name, limit), read)?;
            let named = |(plugin, name, at): (String, String, i64)| {
                let agent = AgentId { plugin: plugin.parse().ok()?, name: name.parse().ok()? };
                Some((agent, at.unsigned_abs()))
            };
            rows.filter_map(|row| row.map(named).transpose()).collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StorageError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => self.open(),
        };
        let worked = open.and_then(|open| work(connection.insert(open)));
        worked.map_err(|error| {
            tracing::error!(path = %self.path.display(), "the index of alarms cannot be used: {error}");
            if crate::database::is_full(&error) {
                return StorageError::Full;
            }
            StorageError::Unavailable(
                "the host cannot write down when its alarms ring; its log says why".into(),
            )
        })
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = rookery_sqlite::open(&self.path)?;
        let synchronous = self.durability.synchronous();
        let mode: Option<String> =
            connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0)).optional()?;
        tracing::debug!(?mode, "opened the index of alarms");
        connection.execute_batch(&format!(
            "PRAGMA synchronous = {synchronous}; \
             CREATE TABLE IF NOT EXISTS due (plugin TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, \
             PRIMARY KEY (plugin, name)) STRICT, WITHOUT ROWID"
        ))?;
        Ok(connection)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("path", &self.path).finish_non_exhaustive()
    }
}

fn row(agent: &AgentId, at: u64) -> (&str, &str, i64) {
    (agent.plugin.as_str(), agent.name.as_str(), i64::try_from(at).unwrap_or(i64::MAX))
}

impl crate::Databases {
    /// Who is told, after each commit that set alarms, when the first of them rings. To be said once, before any agent is used.
    pub fn on_alarm(&self, listener: impl Fn(&AgentId, u64) + Send + Sync + 'static) {
        self.index.listen(Box::new(listener));
    }

    /// Agents that have alarms that ring some day, in the order of their ids, after this one and at most so many; fewer only
    /// at the end. With each a time that is not later than when its first alarm rings.
    ///
    /// # Errors
    ///
    /// When the index cannot be read.
    pub fn alarms(&self, after: Option<&AgentId>, limit: usize) -> Result<Vec<(AgentId, u64)>, StorageError> {
        self.index.page(after, limit)
    }

    /// Writes anew when an agent's first alarm rings, and tells it, where its file has come to be in another way than by
    /// the agent's own writing.
    pub(crate) fn index(&self, agent: &AgentId) -> Result<(), FileError> {
        let failed = |error: StorageError| FileError::Io {
            path: self.file(agent),
            error: std::io::Error::other(error.to_string()),
        };
        let first = self.agent(agent, u64::MAX).first_ring(&[]).map_err(failed)?;
        self.index.put(agent, first).map_err(failed)?;
        if let Some(first) = first {
            self.index.tell(agent, first);
        }
        Ok(())
    }
}
