//! Runs as rows and back: the only place that knows which column means what.
//!
//! Promises: a row that this crate wrote reads back the same, its times to the millisecond; any other is an error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rookery_agents::archive::{Accepted, StateName};
use rookery_core::{
    AgentId, Code, Event, Failure, Generation, Item, Origin, Outcome, Prompt, RunId, RunState, Standing, Stop,
};
use rusqlite::{Connection, Row, named_params};

use crate::encode;
use crate::error::{Damaged, ReadError, WriteError};

/// A block takes events until it has so many bytes. Large enough that a replay is few rows, small enough that a
/// reader who wants a page does not load a long run.
const BLOCK: usize = 64 * 1024;

/// What [`run_state`] and [`prompt`] read. A run that has no outcome has its number of events in the events only, so that an
/// event costs no second row.
pub(crate) const COLUMNS: &str = "id, plugin, name, origin, origin_name, submitted, state, started, generation, \
     ended, code, message, stop, prompt, body, coalesce(events, \
     (SELECT last FROM events WHERE events.run = runs.no ORDER BY first DESC LIMIT 1), 0) AS events";

/// Puts down a run that was accepted, and returns its number.
pub(crate) fn accept(to: &Connection, run: RunId, accepted: &Accepted) -> rusqlite::Result<i64> {
    let Prompt { text, body, origin, .. } = &accepted.prompt;
    let (origin, origin_name) = origin_columns(origin);
    to.prepare_cached(
        "INSERT INTO runs (id, plugin, name, key, origin, origin_name, submitted, state, prompt, body) \
         VALUES (:id, :plugin, :name, :key, :origin, :origin_name, :submitted, :state, :prompt, :body)",
    )?
    .insert(named_params! {
        ":id": run.to_string(),
        ":plugin": accepted.agent.plugin.as_str(),
        ":name": accepted.agent.name.as_str(),
        ":key": accepted.key,
        ":origin": origin,
        ":origin_name": origin_name,
        ":submitted": millis(accepted.at),
        ":state": StateName::Queued.as_str(),
        ":prompt": text,
        ":body": body,
    })
}

/// Puts down that a run's turn came.
pub(crate) fn start(
    to: &Connection,
    no: i64,
    at: SystemTime,
    generation: Generation,
) -> rusqlite::Result<()> {
    to.prepare_cached("UPDATE runs SET state = ?2, started = ?3, generation = ?4 WHERE no = ?1")?
        .execute((no, StateName::Running.as_str(), millis(at), generation.0.cast_signed()))
        .map(drop)
}

/// Puts down how a run ended, with its number of events.
pub(crate) fn end(
    to: &Connection,
    no: i64,
    at: SystemTime,
    outcome: &Outcome,
    events: u64,
) -> rusqlite::Result<()> {
    let (code, message, stop) = match outcome {
        Outcome::Done => (None, None, None),
        Outcome::Failed(failure) => (Some(failure.code.as_str()), Some(failure.message.as_str()), None),
        Outcome::Cancelled(stop) => (None, None, Some(stop.as_str())),
    };
    to.prepare_cached(
        "UPDATE runs SET state = :state, ended = :ended, events = :events, code = :code, message = :message, \
         stop = :stop WHERE no = :no",
    )?
    .execute(named_params! {
        ":no": no,
        ":state": StateName::from(outcome).as_str(),
        ":ended": millis(at),
        ":events": events.cast_signed(),
        ":code": code,
        ":message": message,
        ":stop": stop,
    })
    .map(drop)
}

/// Puts down events, the first of which is due to be number `next`, and returns the number that is due then. `block` is
/// only there so that its memory is used again.
pub(crate) fn append<'a>(
    to: &Connection,
    no: i64,
    mut next: u64,
    events: impl IntoIterator<Item = &'a Event>,
    block: &mut Vec<u8>,
) -> Result<u64, WriteError> {
    let mut insert = to.prepare_cached("INSERT INTO events (run, first, last, items) VALUES (?, ?, ?, ?)")?;
    let mut flush = |block: &mut Vec<u8>, first: u64, next: u64| -> rusqlite::Result<()> {
        insert.execute((no, first.cast_signed(), (next - 1).cast_signed(), block.as_slice()))?;
        block.clear();
        Ok(())
    };
    block.clear();
    let mut first = next;
    let mut ended = false;
    for event in events {
        if ended {
            return Err(WriteError::AfterOutcome);
        }
        if event.id != next {
            return Err(WriteError::Gap { expected: next, found: event.id });
        }
        ended = matches!(event.item, Item::Outcome(_));
        encode::append(block, &event.item);
        next += 1;
        if block.len() >= BLOCK {
            flush(block, first, next)?;
            first = next;
        }
    }
    if !block.is_empty() {
        flush(block, first, next)?;
    }
    Ok(next)
}

/// What an event counts against bounds.
pub(crate) fn size(event: &Event) -> usize {
    match &event.item {
        Item::Chunk(chunk) => chunk.size(),
        // The last one, and small.
        Item::Outcome(_) => 0,
    }
}

/// What a row of [`COLUMNS`] says of a run.
pub(crate) fn run_state(row: &Row<'_>) -> Result<RunState, ReadError> {
    let started: Option<i64> = row.get("started")?;
    let generation: Option<i64> = row.get("generation")?;
    let prompt = prompt(row)?;
    Ok(RunState {
        run: prompt.run,
        agent: agent(row.get_ref("plugin")?.as_str()?, row.get_ref("name")?.as_str()?)?,
        origin: prompt.origin,
        prompt: prompt.text,
        submitted: time(row.get("submitted")?),
        started: started.zip(generation).map(|(at, number)| (time(at), Generation(number.cast_unsigned()))),
        ended: row.get::<_, Option<i64>>("ended")?.map(time),
        standing: standing(row)?,
        events: row.get::<_, i64>("events")?.cast_unsigned(),
    })
}

/// What a row of [`COLUMNS`] says of the prompt that a run was given.
pub(crate) fn prompt(row: &Row<'_>) -> Result<Prompt, ReadError> {
    Ok(Prompt {
        run: row.get_ref("id")?.as_str()?.parse().map_err(|_| Damaged("a run's id"))?,
        text: row.get("prompt")?,
        body: row.get("body")?,
        origin: origin(row.get_ref("origin")?.as_str()?, row.get("origin_name")?)?,
    })
}

/// A time in milliseconds; one that is too far away is the furthest that there is.
pub(crate) fn millis(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

/// The code of this name.
pub(crate) fn code(name: &str) -> Result<Code, Damaged> {
    CODES.into_iter().find(|code| code.as_str() == name).ok_or(Damaged("a failure's code"))
}

/// The stop of this name.
pub(crate) fn stop(name: &str) -> Result<Stop, Damaged> {
    STOPS.into_iter().find(|stop| stop.as_str() == name).ok_or(Damaged("an outcome"))
}

const STOPS: [Stop; 3] = [Stop::BeforeStart, Stop::Returned, Stop::Dropped];

pub(crate) const CODES: [Code; 19] = [
    Code::Rejected,
    Code::Unavailable,
    Code::Failed,
    Code::Trapped,
    Code::MemoryExceeded,
    Code::DeadlineExceeded,
    Code::OutputTooLarge,
    Code::LaunchFailed,
    Code::Interrupted,
    Code::Cancelled,
    Code::MailboxFull,
    Code::Overloaded,
    Code::Draining,
    Code::UnknownPlugin,
    Code::Internal,
    Code::Busy,
    Code::KeyReused,
    Code::InstanceLost,
    Code::Stalled,
];

fn time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

fn agent(plugin: &str, name: &str) -> Result<AgentId, Damaged> {
    match (plugin.parse(), name.parse()) {
        (Ok(plugin), Ok(name)) => Ok(AgentId { plugin, name }),
        _ => Err(Damaged("an agent's name")),
    }
}

fn origin_columns(origin: &Origin) -> (&'static str, Option<String>) {
    match origin {
        Origin::Client(address) => ("client", address.clone()),
        Origin::Agent(agent) => ("agent", Some(agent.to_string())),
        Origin::Schedule(name) => ("schedule", Some(name.clone())),
    }
}

fn origin(kind: &str, name: Option<String>) -> Result<Origin, Damaged> {
    match (kind, name) {
        ("client", address) => Ok(Origin::Client(address)),
        ("schedule", Some(name)) => Ok(Origin::Schedule(name)),
        ("agent", Some(name)) => {
            let (plugin, name) = name.split_once('/').ok_or(Damaged("an agent's name"))?;
            agent(plugin, name).map(Origin::Agent)
        }
        _ => Err(Damaged("a run's origin")),
    }
}

fn standing(row: &Row<'_>) -> Result<Standing, ReadError> {
    let name = row.get_ref("state")?.as_str()?;
    let state = StateName::ALL.into_iter().find(|state| state.as_str() == name);
    Ok(match state.ok_or(Damaged("a run's state"))? {
        // The place in the queue changes with every run before it; only the agent knows it.
        StateName::Queued => Standing::Queued(0),
        StateName::Running => Standing::Running,
        StateName::Done => Standing::Ended(Outcome::Done),
        StateName::Failed => Standing::Ended(Outcome::Failed(Failure {
            code: code(row.get_ref("code")?.as_str()?)?,
            message: row.get("message")?,
        })),
        StateName::Cancelled => Standing::Ended(Outcome::Cancelled(stop(row.get_ref("stop")?.as_str()?)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_kept_to_the_millisecond_and_never_overflows() {
        let some = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        assert_eq!(time(millis(some)), UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
        for extreme in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX] {
            millis(time(extreme));
        }
        assert_eq!(millis(time(-1500)), -1500);
    }

    #[test]
    fn a_code_or_stop_that_is_added_is_not_forgotten() {
        // A new one does not compile here; give it its place in the table too.
        let place = |code| match code {
            Code::Rejected => 0,
            Code::Unavailable => 1,
            Code::Failed => 2,
            Code::Trapped => 3,
            Code::MemoryExceeded => 4,
            Code::DeadlineExceeded => 5,
            Code::OutputTooLarge => 6,
            Code::LaunchFailed => 7,
            Code::Interrupted => 8,
            Code::Cancelled => 9,
            Code::MailboxFull => 10,
            Code::Overloaded => 11,
            Code::Draining => 12,
            Code::UnknownPlugin => 13,
            Code::Internal => 14,
            Code::Busy => 15,
            Code::KeyReused => 16,
            Code::InstanceLost => 17,
            Code::Stalled => 18,
        };
        for (at, known) in CODES.into_iter().enumerate() {
            assert_eq!(place(known), at);
            assert_eq!(code(known.as_str()).unwrap(), known);
        }
        let place = |stop| match stop {
            Stop::BeforeStart => 0,
            Stop::Returned => 1,
            Stop::Dropped => 2,
        };
        for (at, known) in STOPS.into_iter().enumerate() {
            assert_eq!(place(known), at);
            assert_eq!(stop(known.as_str()).unwrap(), known);
        }
    }
}
