//! Runs as rows and back: the only place that knows which column means what.
//!
//! Promises: a row that this crate wrote reads back the same, its times to the millisecond; any other is an error.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rookery_agents::archive::Accepted;
use rookery_core::{
    AgentId, Code, Event, Failure, Generation, Item, LISTED_PROMPT, Origin, Outcome, Prompt, RunId, RunState,
    Spent, Standing, StateName, Stop,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::encode;
use crate::error::{Damaged, ReadError, WriteError};

/// A block takes events until it has so many bytes. Large enough that a replay is few rows, small enough that a
/// reader who wants a page does not load a long run.
const BLOCK: usize = 64 * 1024;

/// A prompt and a body are in their run's row up to so many bytes each, so that what a list reads fits a page. The formats
/// know this number too.
const IN_ROW: usize = 1024;

/// The events of a run that is written when it has ended are in its row up to so many bytes, after everything that a list
/// reads. So much that most answers are one row, so little that a step of [removing](crate::retention) is not long.
const EVENTS_IN_ROW: usize = 16 * 1024;
const _: () = assert!(IN_ROW == LISTED_PROMPT, "what a list shows is what a row has");

/// The prompt, where all of it is wanted.
const WHOLE_PROMPT: &str =
    "coalesce((SELECT items FROM events WHERE run = no AND first = -1), prompt) AS prompt";

/// What [`run_state`] reads for a list: nothing that is long. The run's id, by which it is sorted, is this column.
pub(crate) fn listed(id: &str) -> String {
    columns(id, "prompt, cut")
}

/// What [`run_state`] reads of a single run.
pub(crate) fn whole() -> String {
    columns("id", &format!("{WHOLE_PROMPT}, 0 AS cut"))
}

/// What [`prompt`] reads.
pub(crate) fn given() -> String {
    let body = "coalesce((SELECT items FROM events WHERE run = no AND first = 0), body) AS body";
    format!("id, origin, origin_name, {WHOLE_PROMPT}, {body}")
}

/// A run that has no outcome has its number of events in the events only, so that an event costs no second row.
fn columns(id: &str, prompt: &str) -> String {
    format!(
        "{id} AS id, plugin, name, origin, origin_name, submitted, state, started, generation, ended, code, message, stop, \
         coalesce(events, (SELECT last FROM events WHERE run = no AND first > 0 ORDER BY first DESC LIMIT 1), 0) \
         AS events, spent, {prompt}"
    )
}

/// How a run ended.
pub(crate) struct End<'a> {
    pub(crate) at: SystemTime,
    pub(crate) outcome: &'a Outcome,
    /// The number of its last event.
    pub(crate) events: u64,
    /// What it asked of models.
    pub(crate) spent: Spent,
}

/// When a run's turn came, and with which instance.
pub(crate) type Start = (SystemTime, Generation);

/// Puts down a run that was accepted; and, as far as they are known, its start, its end and its [`encode`]d events.
pub(crate) fn insert(
    to: &Connection,
    no: i64,
    run: RunId,
    accepted: &Accepted,
    start: Option<Start>,
    end: Option<&End<'_>>,
    items: Option<&[u8]>,
) -> rusqlite::Result<()> {
    let Prompt { text, body, origin, .. } = &accepted.prompt;
    let (head, cut) = RunState::listed(text);
    if cut {
        put_long(to, no, PROMPT, text)?;
    }
    let short = body.as_deref().filter(|body| body.len() <= IN_ROW);
    if let (Some(body), None) = (body, short) {
        put_long(to, no, BODY, body)?;
    }
    let (origin, origin_name) = origin_columns(origin);
    let state = match (start, end) {
        (_, Some(end)) => StateName::from(end.outcome),
        (Some(_), None) => StateName::Running,
        (None, None) => StateName::Queued,
    };
    let (code, message, stop) = end.map_or((None, None, None), |end| outcome_columns(end.outcome));
    to.prepare_cached(
        "INSERT INTO runs (no, id, plugin, name, key, origin, origin_name, submitted, state, started, generation, \
         ended, events, code, message, stop, prompt, cut, body, items, spent) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        no,
        run.to_bytes(),
        accepted.agent.plugin.as_str(),
        accepted.agent.name.as_str(),
        accepted.key,
        origin,
        origin_name,
        millis(accepted.at),
        state.as_str(),
        start.map(|(at, _)| millis(at)),
        start.map(|(_, generation)| generation.0.cast_signed()),
        end.map(|end| millis(end.at)),
        end.map(|end| end.events.cast_signed()),
        code,
        message,
        stop,
        head,
        cut,
        short,
        items,
        end.and_then(|end| spent_column(end.spent)),
    ])
    .map(drop)
}

/// Puts down that a run's turn came.
pub(crate) fn start(to: &Connection, no: i64, (at, generation): Start) -> rusqlite::Result<()> {
    to.prepare_cached("UPDATE runs SET state = ?, started = ?, generation = ? WHERE no = ?")?
        .execute((StateName::Running.as_str(), millis(at), generation.0.cast_signed(), no))
        .map(drop)
}

/// Puts down how a run ended, and that its turn came, if that is new too.
pub(crate) fn end(to: &Connection, no: i64, start: Option<Start>, end: &End<'_>) -> rusqlite::Result<()> {
    let (code, message, stop) = outcome_columns(end.outcome);
    to.prepare_cached(
        "UPDATE runs SET state = ?, started = coalesce(?, started), generation = coalesce(?, generation), ended = ?, \
         events = ?, code = ?, message = ?, stop = ?, spent = ? WHERE no = ?",
    )?
    .execute(params![
        StateName::from(end.outcome).as_str(),
        start.map(|(at, _)| millis(at)),
        start.map(|(_, generation)| generation.0.cast_signed()),
        millis(end.at),
        end.events.cast_signed(),
        code,
        message,
        stop,
        spent_column(end.spent),
        no,
    ])
    .map(drop)
}

/// Puts down events, the first of which is due to be number `next`, and returns the number that is due then. `block` is
/// only there so that its memory is used again.
pub(crate) fn append<'a>(
    to: &Connection,
    no: i64,
    next: u64,
    events: impl IntoIterator<Item = &'a Event>,
    block: &mut Vec<u8>,
) -> Result<u64, WriteError> {
    block.clear();
    let mut first = next;
    let mut due = Due { next, ended: false };
    for event in events {
        encode::append(block, due.check(event)?);
        if block.len() >= BLOCK {
            put_block(to, no, first, due.next - 1, block)?;
            block.clear();
            first = due.next;
        }
    }
    if !block.is_empty() {
        put_block(to, no, first, due.next - 1, block)?;
    }
    Ok(due.next)
}

/// As [`append`], but the events are only put into the block, for the run's row.
pub(crate) fn encode<'a>(
    next: u64,
    events: impl IntoIterator<Item = &'a Event>,
    block: &mut Vec<u8>,
) -> Result<u64, WriteError> {
    block.clear();
    let mut due = Due { next, ended: false };
    for event in events {
        encode::append(block, due.check(event)?);
    }
    Ok(due.next)
}

/// Whether all these events fit into their run's row.
pub(crate) fn are_few(events: &[Arc<Event>]) -> bool {
    let length = |event: &Arc<Event>| match &event.item {
        Item::Outcome(Outcome::Failed(failure)) => failure.message.len(),
        _ => size(event),
    };
    events.iter().map(length).sum::<usize>() <= EVENTS_IN_ROW
}

/// Sees to it that events go on where they should.
struct Due {
    next: u64,
    ended: bool,
}

impl Due {
    fn check<'a>(&mut self, event: &'a Event) -> Result<&'a Item, WriteError> {
        if self.ended {
            return Err(WriteError::AfterOutcome);
        }
        if event.id != self.next {
            return Err(WriteError::Gap { expected: self.next, found: event.id });
        }
        self.next += 1;
        self.ended = matches!(event.item, Item::Outcome(_));
        Ok(&event.item)
    }
}

/// Before a run's events, in the place of a number: what it was given, where that is long.
const PROMPT: i64 = -1;
const BODY: i64 = 0;

fn put_long(to: &Connection, no: i64, which: i64, text: &str) -> rusqlite::Result<()> {
    put_items(to, no, (which, which), text.as_bytes())
}

fn put_block(to: &Connection, no: i64, first: u64, last: u64, block: &[u8]) -> rusqlite::Result<()> {
    put_items(to, no, (first.cast_signed(), last.cast_signed()), block)
}

fn put_items(to: &Connection, no: i64, (first, last): (i64, i64), items: &[u8]) -> rusqlite::Result<()> {
    to.prepare_cached("INSERT INTO events (run, first, last, items) VALUES (?, ?, ?, ?)")?
        .execute((no, first, last, items))
        .map(drop)
}

/// What an event counts against bounds.
pub(crate) fn size(event: &Event) -> usize {
    match &event.item {
        Item::Chunk(chunk) => chunk.size(),
        // The last one, and small.
        Item::Outcome(_) => 0,
    }
}

/// What a row of [`listed`] or [`whole`] says of a run.
pub(crate) fn run_state(row: &Row<'_>) -> Result<RunState, ReadError> {
    let started: Option<i64> = row.get("started")?;
    let generation: Option<i64> = row.get("generation")?;
    Ok(RunState {
        run: run(row)?,
        agent: agent(row.get_ref("plugin")?.as_str()?, row.get_ref("name")?.as_str()?)?,
        origin: origin(row.get_ref("origin")?.as_str()?, row.get("origin_name")?)?,
        prompt: text(row.get_ref("prompt")?)?,
        prompt_cut: row.get("cut")?,
        submitted: time(row.get("submitted")?),
        started: started.zip(generation).map(|(at, number)| (time(at), Generation(number.cast_unsigned()))),
        ended: row.get::<_, Option<i64>>("ended")?.map(time),
        standing: standing(row)?,
        events: row.get::<_, i64>("events")?.cast_unsigned(),
        spent: match row.get_ref("spent")? {
            ValueRef::Null => Spent::default(),
            spent => encode::read_spent(spent.as_blob()?)?,
        },
    })
}

/// What a row of [`given`] says of the prompt that a run was given.
pub(crate) fn prompt(row: &Row<'_>) -> Result<Prompt, ReadError> {
    let body = row.get_ref("body")?;
    Ok(Prompt {
        run: run(row)?,
        text: text(row.get_ref("prompt")?)?,
        body: if body == ValueRef::Null { None } else { Some(text(body)?) },
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

pub(crate) const CODES: [Code; 21] = [
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
    Code::NotStored,
    Code::OverBudget,
];

fn time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

fn run(row: &Row<'_>) -> Result<RunId, ReadError> {
    let id = row.get_ref("id")?.as_blob()?;
    Ok(RunId::from_bytes(id.try_into().map_err(|_| Damaged("a run's id"))?))
}

/// A text that is in its run's row, or too long for that.
fn text(value: ValueRef<'_>) -> Result<String, ReadError> {
    let bytes = value.as_bytes()?;
    Ok(String::from_utf8(bytes.to_vec()).map_err(|_| Damaged("a text"))?)
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

type OutcomeColumns<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn outcome_columns(outcome: &Outcome) -> OutcomeColumns<'_> {
    match outcome {
        Outcome::Done => (None, None, None),
        Outcome::Failed(failure) => (Some(failure.code.as_str()), Some(&failure.message), None),
        Outcome::Cancelled(stop) => (None, None, Some(stop.as_str())),
    }
}

fn spent_column(spent: Spent) -> Option<Vec<u8>> {
    (!spent.is_nothing()).then(|| encode::spent(spent))
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
    Ok(match name.parse().map_err(|_| Damaged("a run's state"))? {
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
            Code::NotStored => 19,
            Code::OverBudget => 20,
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
