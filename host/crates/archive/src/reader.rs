//! Reading what is committed, beside the writer and never in its way.
//!
//! Promises: an answer is from one moment of the database; something damaged is an error.
//! Bounded by: [`CONNECTIONS`] reads at a time; who comes later waits for one of them, and each of them reads a bounded
//! page.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_agents::archive::{ArchiveError, Query};
use rookery_core::{AgentId, Event, Prompt, RunId, RunState, StateName};
use rookery_database::reader;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::agents::{ARE_ITS, ARE_NEW, ENTERED};
use crate::encode::Items;
use crate::error::{Damaged, ReadError, closed};
use crate::{agents, rows};

/// Connections for reading.
pub(crate) struct Readers {
    path: PathBuf,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// So many reads at a time. A read is some 100 µs of computing, for the pages are in memory mostly; more than the cores of
/// a small machine would only take turns.
const CONNECTIONS: usize = 4;

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, places: Arc::new(Semaphore::new(CONNECTIONS)), idle: Mutex::default() }
    }

    /// Does `work` with a connection, on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let place = self.places.clone().acquire_owned().await.map_err(|_| closed())?;
        let reading = spawn_blocking(move || {
            // Kept until the connection is back, also when nobody waits for the answer any more.
            let _place = place;
            let connection = self.connection()?;
            let answer = work(&connection);
            self.put_back(connection);
            answer
        });
        match reading.await {
            Ok(answer) => answer.map_err(ArchiveError::from),
            Err(error) => Err(ArchiveError(format!("a read of the runs ended early: {error}"))),
        }
    }

    /// Lets go of the database. Reads that are under way end by themselves, later ones are refused.
    pub(crate) fn close(&self) {
        self.places.close();
        self.idle().clear();
    }

    fn connection(&self) -> Result<Connection, ReadError> {
        let idle = self.idle().pop();
        idle.map_or_else(|| Ok(reader(&self.path)?), Ok)
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if !self.places.is_closed() {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // Nothing panics with the lock held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events of a run that come after the event `after`, until they count `bytes` or more.
pub(crate) fn events(
    from: &Connection,
    run: RunId,
    after: u64,
    bytes: usize,
) -> Result<Vec<Event>, ReadError> {
    // Past the largest number that is stored there is nothing.
    let Some(wanted) = after.checked_add(1).and_then(|next| i64::try_from(next).ok()) else {
        return Ok(Vec::new());
    };
    // Where the events are in the run's row there are none elsewhere, and they are numbered from 1.
    let mut find = from.prepare_cached(
        "SELECT coalesce(first, 1), coalesce(last, runs.events), coalesce(events.items, runs.items) \
         FROM runs LEFT JOIN events ON run = no AND first >= coalesce( \
         (SELECT max(first) FROM events WHERE run = no AND first BETWEEN 1 AND ?2), 1) WHERE id = ?1 ORDER BY first",
    )?;
    let mut found = find.query((run.to_bytes(), wanted))?;
    let mut page = Page { events: Vec::new(), wanted: wanted.cast_unsigned(), left: bytes, full: false };
    while let Some(row) = found.next()? {
        if row.get_ref(2)? != ValueRef::Null {
            page.take(row)?;
        }
        if page.full {
            break;
        }
    }
    Ok(page.events)
}

/// What is known of a run.
pub(crate) fn state(from: &Connection, run: RunId) -> Result<Option<RunState>, ReadError> {
    let columns = rows::whole();
    let mut find = from.prepare_cached(&format!("SELECT {columns} FROM runs WHERE id = ?"))?;
    find.query([run.to_bytes()])?.next()?.map(rows::run_state).transpose()
}

/// The run that this key names, and what it was given.
pub(crate) fn by_key(
    from: &Connection,
    agent: &AgentId,
    key: &str,
) -> Result<Option<(RunId, Prompt)>, ReadError> {
    let columns = rows::given();
    let mut find = from
        .prepare_cached(&format!("SELECT {columns} FROM runs WHERE plugin = ? AND name = ? AND key = ?"))?;
    let mut found = find.query((agent.plugin.as_str(), agent.name.as_str(), key))?;
    let prompt = found.next()?.map(rows::prompt).transpose()?;
    Ok(prompt.map(|prompt| (prompt.run, prompt)))
}

/// How many runs of this agent there are.
pub(crate) fn count(from: &Connection, agent: &AgentId) -> Result<u64, ReadError> {
    Ok(agents::count(from, agent.plugin.as_str(), agent.name.as_str())?.cast_unsigned())
}

/// The same in a database of any format, by a look at every run.
pub(crate) fn count_all(from: &Connection, agent: &AgentId) -> Result<u64, ReadError> {
    let count = "SELECT count(*) FROM runs WHERE plugin = ? AND name = ?";
    let count: i64 = from.query_row(count, (agent.plugin.as_str(), agent.name.as_str()), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

/// The runs that match, newest first.
pub(crate) fn list(from: &Connection, query: &Query) -> Result<Vec<RunState>, ReadError> {
    let before = query.before.map(RunId::to_bytes);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":limit", &limit)];
    if let Some(before) = &before {
        values.push((":before", before));
    }
    let agent = query.agent.as_ref().map(|agent| (agent.plugin.as_str(), agent.name.as_str()));
    if let Some((plugin, name)) = &agent {
        values.extend([(":plugin", plugin as &dyn ToSql), (":name", name)]);
    }
    let state = query.state.map(StateName::as_str);
    if let Some(state) = &state {
        values.push((":state", state));
    }
    let mut find = from.prepare_cached(&listing(query))?;
    let mut found = find.query(values.as_slice())?;
    let mut states = Vec::new();
    while let Some(row) = found.next()? {
        states.push(rows::run_state(row)?);
    }
    Ok(states)
}

/// The statement for a list. It has only the conditions that there are, and names the index wherever the database, which does
/// not know how few runs are live and how many are done, could take one where it has to pass over most of them.
pub(crate) fn listing(query: &Query) -> String {
    use StateName::{Cancelled, Done, Failed, Queued, Running};
    let state = query.state.map(|state| match state {
        Queued | Running => "state = :state AND ended IS NULL",
        Failed | Cancelled => "state = :state AND state IN ('failed', 'cancelled')",
        Done => "state = :state",
    });
    let select = |id: &str, from: &str, agent: Option<&str>| {
        let before = query.before.map(|_| format!("{id} < :before"));
        let conditions: Vec<_> =
            ["true"].into_iter().chain(agent).chain(state).chain(before.as_deref()).collect();
        format!("SELECT {} FROM {from} WHERE {}", rows::listed(id), conditions.join(" AND "))
    };
    let agent = query.agent.as_ref().map(|_| "plugin = :plugin AND name = :name");
    let found = match (agent, query.state) {
        (_, Some(Queued | Running)) => select("id", "runs INDEXED BY runs_live", agent),
        (Some(_), _) => {
            let (entered, new) =
                (select("run", ENTERED, Some(ARE_ITS)), select("id", "runs NOT INDEXED", Some(ARE_NEW)));
            format!("{entered} UNION ALL {new}")
        }
        (None, Some(Failed | Cancelled)) => select("id", "runs INDEXED BY runs_failed", None),
        (None, Some(Done) | None) => select("id", "runs", None),
    };
    format!("{found} ORDER BY id DESC LIMIT :limit")
}

struct Page {
    events: Vec<Event>,
    /// The first event that is wanted.
    wanted: u64,
    /// How many bytes there is room for.
    left: usize,
    full: bool,
}

impl Page {
    /// Takes the wanted events of a block, until the page is full.
    fn take(&mut self, row: &Row<'_>) -> Result<(), ReadError> {
        let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
        let mut items = Items::new(row.get_ref(2)?.as_blob()?);
        for id in first.cast_unsigned()..=last.cast_unsigned() {
            if id < self.wanted {
                items.pass()?;
                continue;
            }
            let item = items.next().ok_or(Damaged("a block of events"))??;
            let event = Event { id, item };
            self.left = self.left.saturating_sub(rows::size(&event));
            self.events.push(event);
            if self.left == 0 {
                self.full = true;
                return Ok(());
            }
        }
        match items.next() {
            None => Ok(()),
            Some(_) => Err(Damaged("a block of events").into()),
        }
    }
}
