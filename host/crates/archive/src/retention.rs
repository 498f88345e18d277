//! What is not kept any more: finished runs that are too old, or too many for their agent, or whose agent is removed.
//!
//! Promises: a run that has no outcome is never removed; a run is removed at once for everybody who reads, however long
//! its events take.
//! Bounded by: a step removes at most [`RUNS`] runs with what is in their rows, 4 MiB, and [`BYTES`] of other events, so that
//! the writer is back at its work within some 10 ms.

use std::time::{Duration, SystemTime};

use rookery_core::{AgentId, RunId};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, named_params};

use crate::agents::{ARE_ITS, ENTERED};
use crate::{agents, rows};

/// Removes runs step by step.
pub(crate) struct Sweeper {
    keep_for: Duration,
    keep: usize,
    /// The agent that was looked at last: agents are looked at in turn, a few in a step.
    agent: (String, String),
    /// Whether the step before left something to do.
    more: bool,
}

const RUNS: usize = 200;
const BYTES: usize = 4 << 20;
/// What a row costs whatever its length, in bytes of [`BYTES`].
const ROW: usize = 1024;
const AGENTS: usize = 100;

/// Between two steps when there was nothing to do, and when there was: so a flood of 4 MiB steps is removed at some 40 MiB/s,
/// faster than an agent would write.
const REST: Duration = Duration::from_secs(3);
const BREATH: Duration = Duration::from_millis(100);

/// Free pages are given back to the disk when they are more than so many, and a quarter of all: below that they are used
/// again before long.
const SPARE_PAGES: i64 = 1024;
const PAGES_PER_STEP: i64 = 512;

impl Sweeper {
    pub(crate) fn new(keep_for: Duration, keep: usize) -> Self {
        Self { keep_for, keep, agent: Default::default(), more: false }
    }

    /// How long to wait until the next step.
    pub(crate) fn pause(&self) -> Duration {
        if self.more { BREATH } else { REST }
    }

    /// One step; says whether there may be more to do. Where the database refuses, it is tried again at the next step.
    pub(crate) fn step_or_warn(&mut self, connection: &mut Connection) -> bool {
        let step = self.step(connection, SystemTime::now());
        self.more = step.unwrap_or_else(|error| {
            tracing::warn!(%error, "old runs could not be removed; the next step tries again");
            false
        });
        self.more
    }

    /// One step, seen from `now`; says whether there may be more to do.
    pub(crate) fn step(&mut self, connection: &mut Connection, now: SystemTime) -> rusqlite::Result<bool> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        agents::enter(&transaction)?;
        let aged = self.aged(&transaction, now)?;
        remove(&transaction, &aged)?;
        let crowded = self.crowded(&transaction, RUNS - aged.len())?;
        let events = erase(&transaction)?;
        transaction.commit()?;
        let shrunk = shrink(connection)?;
        Ok(aged.len() == RUNS || crowded || events || shrunk)
    }

    fn aged(&self, connection: &Connection, now: SystemTime) -> rusqlite::Result<Vec<i64>> {
        let Some(until) = now.checked_sub(self.keep_for).map(rows::millis) else { return Ok(Vec::new()) };
        // What had ended by then was older than that: ids sort by age, and of the runs that are passed over, each took its
        // turn across that very moment. So there needs to be no index by the end.
        let [_, _, oldest_kept @ ..] = until.clamp(0, (1 << 48) - 1).to_be_bytes();
        connection
            .prepare_cached("SELECT no FROM runs WHERE id < ? AND ended < ? ORDER BY id LIMIT ?")?
            .query_map((oldest_kept, until, RUNS as i64), |row| row.get(0))?
            .collect()
    }

    /// Removes at most `left` runs of the next agents that have too many; says whether there are agents left.
    fn crowded(&mut self, connection: &Connection, mut left: usize) -> rusqlite::Result<bool> {
        for _ in 0..AGENTS {
            let Some(agent) = next_agent(connection, &self.agent)? else {
                self.agent = Default::default();
                return Ok(false);
            };
            let surplus = surplus(connection, &agent, self.keep)?;
            remove(connection, &oldest(connection, &agent, surplus.min(left))?)?;
            if surplus > left {
                return Ok(true);
            }
            left -= surplus;
            self.agent = agent;
        }
        Ok(true)
    }
}

/// Removes a few runs of an agent that are not live; says how many, and whether there may be more to do. At the end of the
/// last step their events are gone too.
pub(crate) fn forget(
    connection: &mut Connection,
    agent: &AgentId,
    live: impl Fn(&RunId) -> bool,
) -> rusqlite::Result<(u64, bool)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    agents::enter(&transaction)?;
    let runs = over(&transaction, agent, live)?;
    remove(&transaction, &runs)?;
    let events = erase(&transaction)?;
    transaction.commit()?;
    Ok((runs.len() as u64, runs.len() == RUNS || events))
}

/// Runs of an agent of which nothing more will be written: they have an outcome, or their log was lost.
fn over(
    connection: &Connection,
    agent: &AgentId,
    live: impl Fn(&RunId) -> bool,
) -> rusqlite::Result<Vec<i64>> {
    let mut find = connection
        .prepare_cached(&format!("SELECT no, id, ended IS NOT NULL FROM {ENTERED} WHERE {ARE_ITS}"))?;
    let agent = [(":plugin", agent.plugin.as_str()), (":name", agent.name.as_str())];
    let runs = find.query_map(&agent, |row| {
        Ok((row.get::<_, i64>(0)?, RunId::from_bytes(row.get(1)?), row.get::<_, bool>(2)?))
    })?;
    let over = runs.filter_map(|run| match run {
        Ok((no, id, ended)) => (ended || !live(&id)).then_some(Ok(no)),
        Err(error) => Some(Err(error)),
    });
    over.take(RUNS).collect()
}

type Agent = (String, String);

fn next_agent(connection: &Connection, after: &Agent) -> rusqlite::Result<Option<Agent>> {
    connection
        .prepare_cached(
            "SELECT of_plugin, of_name FROM of_agent WHERE (of_plugin, of_name) > (?, ?) \
             ORDER BY of_plugin, of_name LIMIT 1",
        )?
        .query_row((&after.0, &after.1), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// How many finished runs of an agent there are beyond `keep`. Counted in the indexes alone.
fn surplus(connection: &Connection, agent: &Agent, keep: usize) -> rusqlite::Result<usize> {
    let all = agents::count(connection, &agent.0, &agent.1).map(amount)?;
    if all <= keep {
        return Ok(0);
    }
    let live = connection
        .prepare_cached(
            "SELECT count(*) FROM runs INDEXED BY runs_live WHERE plugin = ? AND name = ? AND ended IS NULL",
        )?
        .query_row((&agent.0, &agent.1), |row| row.get(0))
        .map(amount)?;
    Ok(all.saturating_sub(live).saturating_sub(keep))
}

fn oldest(connection: &Connection, (plugin, name): &Agent, count: usize) -> rusqlite::Result<Vec<i64>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    connection
        .prepare_cached(&format!(
            "SELECT no FROM {ENTERED} WHERE {ARE_ITS} AND ended IS NOT NULL ORDER BY run LIMIT :count"
        ))?
        .query_map(named_params! { ":plugin": plugin, ":name": name, ":count": count as i64 }, |row| {
            row.get(0)
        })?
        .collect()
}

/// The runs are gone afterwards; their events are nobody's, and go by and by.
fn remove(connection: &Connection, runs: &[i64]) -> rusqlite::Result<()> {
    let mut note = connection.prepare_cached("INSERT INTO removed (run) VALUES (?)")?;
    let mut delete = connection.prepare_cached("DELETE FROM runs WHERE no = ?")?;
    for run in runs {
        note.execute([run])?;
        delete.execute([run])?;
    }
    Ok(())
}

/// Erases events of removed runs; says whether there are some left.
fn erase(connection: &Connection) -> rusqlite::Result<bool> {
    let mut find = connection.prepare_cached("SELECT run FROM removed LIMIT 1")?;
    let mut delete = connection.prepare_cached("DELETE FROM events WHERE run = ? AND first <= ?")?;
    let mut done = connection.prepare_cached("DELETE FROM removed WHERE run = ?")?;
    let mut left = BYTES;
    while let Some(run) = find.query_row((), |row| row.get::<_, i64>(0)).optional()? {
        let (up_to, all) = affordable(connection, run, &mut left)?;
        delete.execute((run, up_to))?;
        if !all {
            return Ok(true);
        }
        done.execute([run])?;
    }
    Ok(false)
}

/// Up to which event the first rows of a run go that `left` pays for, and whether these are all.
fn affordable(connection: &Connection, run: i64, left: &mut usize) -> rusqlite::Result<(i64, bool)> {
    let mut rows =
        connection.prepare_cached("SELECT first, length(items) FROM events WHERE run = ? ORDER BY first")?;
    let mut rows = rows.query([run])?;
    let mut up_to = i64::MIN;
    while let Some(row) = rows.next()? {
        if *left == 0 {
            return Ok((up_to, false));
        }
        up_to = row.get(0)?;
        *left = left.saturating_sub(ROW + amount(row.get(1)?));
    }
    Ok((up_to, true))
}

/// A count or a length, which is never negative.
fn amount(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// Gives a few free pages back to the disk if there are too many; says whether it did.
fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (free, all) = (number("freelist_count")?, number("page_count")?);
    let due = free > SPARE_PAGES && free * 4 > all;
    if due {
        connection.pragma(None, "incremental_vacuum", PAGES_PER_STEP, |_| Ok(()))?;
    }
    Ok(due)
}
