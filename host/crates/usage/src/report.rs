//! What was asked of models, added up as somebody wants to see it.

use std::path::Path;

use rookery_core::{AgentId, AgentName, Money, PluginName, Spent};
use rookery_database::OpenError;
use rusqlite::types::Type;
use rusqlite::{Connection, ToSql};
use serde::{Serialize, Serializer};

use crate::counter::LARGEST;
use crate::database::USAGE;
use crate::day::Day;

/// What a report is to be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whose calls.
    pub of: Of,
    /// The first day.
    pub from: Day,
    /// The last day, which is part of it.
    pub to: Day,
    /// What has a row of its own.
    pub by: By,
    /// At most so many rows.
    pub limit: usize,
}

/// Whose calls a report is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// Everybody's.
    All,
    /// All agents' of a plugin.
    Plugin(PluginName),
    /// One agent's.
    Agent(AgentId),
}

/// What has a row of its own in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Each day, the latest first.
    Day,
    /// Each plugin; as with the following, the dearest first, and where it costs the same the one of most tokens.
    Plugin,
    /// Each agent.
    Agent,
    /// Each model, as it was asked for.
    Model,
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The day, in a report by day.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub day: Option<Day>,
    /// The plugin, in a report by plugin or agent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub plugin: Option<PluginName>,
    /// The agent, in a report by agent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub agent: Option<AgentId>,
    /// The model, in a report by model. A guest may have chosen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it comes to.
    #[serde(flatten)]
    pub spent: Spent,
}

/// Reports on a folder, whether a host uses it or not; what that counted in the last second may be missing. Without a file
/// it is empty. Changes nothing there. Blocks.
///
/// # Errors
///
/// When there is something that cannot be read.
pub fn report(folder: &Path, query: &Query) -> Result<Vec<Row>, OpenError> {
    let Some((connection, path)) = USAGE.look(folder)? else { return Ok(Vec::new()) };
    read(&connection, &path, query)
}

pub(crate) fn read(from: &Connection, path: &Path, query: &Query) -> Result<Vec<Row>, OpenError> {
    rows(from, query).map_err(|error| match error {
        // A name that is none: the table was written by somebody else.
        rusqlite::Error::FromSqlConversionFailure(..) => USAGE.not_ours(path),
        error => USAGE.refused(path, error),
    })
}

impl Row {
    /// As a line of JSON, without its end.
    pub fn json(&self) -> String {
        // It has nothing that could not be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn shown<T: std::fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn rows(from: &Connection, query: &Query) -> rusqlite::Result<Vec<Row>> {
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let largest = LARGEST as f64;
    let mut values: Vec<(&str, &dyn ToSql)> =
        vec![(":from", &query.from.0), (":to", &query.to.0), (":limit", &limit), (":largest", &largest)];
    let (plugin, name) = match &query.of {
        Of::All => (None, None),
        Of::Plugin(plugin) => (Some(plugin.as_str()), None),
        Of::Agent(agent) => (Some(agent.plugin.as_str()), Some(agent.name.as_str())),
    };
    if let Some(plugin) = &plugin {
        values.push((":plugin", plugin));
    }
    if let Some(name) = &name {
        values.push((":agent", name));
    }
    let mut find = from.prepare(&statement(query))?;
    let found = find.query_map(values.as_slice(), |row| {
        let key = |at| row.get::<_, String>(at);
        let mut made = Row { day: None, plugin: None, agent: None, model: None, spent: spent(row, 2)? };
        match query.by {
            By::Day => made.day = Some(Day(row.get(0)?)),
            By::Plugin => made.plugin = Some(parsed(&key(0)?)?),
            By::Agent => {
                let plugin: PluginName = parsed(&key(0)?)?;
                let name: AgentName = parsed(&key(1)?)?;
                made.agent = Some(AgentId { plugin: plugin.clone(), name });
                made.plugin = Some(plugin);
            }
            By::Model => made.model = Some(key(0)?),
        }
        Ok(made)
    })?;
    found.collect()
}

/// The statement for a report. It has only the conditions that there are.
pub(crate) fn statement(query: &Query) -> String {
    let (keys, group) = match query.by {
        By::Day => ("day, NULL", "day"),
        By::Plugin => ("plugin, NULL", "plugin"),
        By::Agent => ("plugin, agent", "plugin, agent"),
        By::Model => ("model, NULL", "model"),
    };
    let of = match query.of {
        Of::All => "",
        Of::Plugin(_) => " AND plugin = :plugin",
        Of::Agent(_) => " AND plugin = :plugin AND agent = :agent",
    };
    let order = match query.by {
        By::Day => "day DESC".into(),
        _ => format!("total(micros) DESC, total(input + output) DESC, {group}"),
    };
    format!(
        "SELECT {keys}, {SUMS} FROM usage WHERE day BETWEEN :from AND :to{of} GROUP BY {group} \
         ORDER BY {order} LIMIT :limit"
    )
}

/// An integer sum would be an error where it does not fit; this one ends at the largest number, below which it is exact.
const SUMS: &str = "\
CAST(min(total(requests), :largest) AS INTEGER) AS requests, CAST(min(total(input), :largest) AS INTEGER) AS input, \
CAST(min(total(output), :largest) AS INTEGER) AS output, CAST(min(total(micros), :largest) AS INTEGER) AS micros";

fn spent(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Spent> {
    // The table has nothing below zero.
    let number = |column: usize| row.get::<_, i64>(at + column).map(|number| number.max(0).cast_unsigned());
    Ok(Spent {
        requests: number(0)?,
        input_tokens: number(1)?,
        output_tokens: number(2)?,
        money: Money(number(3)?),
    })
}

fn parsed<T: std::str::FromStr>(text: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

/// What an agent's calls came to on a day, by model.
pub(crate) fn of_agent(
    from: &Connection,
    day: Day,
    agent: &AgentId,
) -> rusqlite::Result<Vec<(String, Spent)>> {
    let mut find = from.prepare_cached(OF_AGENT)?;
    let found = find.query_map((day.0, agent.plugin.as_str(), agent.name.as_str()), |row| {
        Ok((row.get(0)?, spent(row, 1)?))
    })?;
    found.collect()
}

/// What a plugin's calls came to on a day.
pub(crate) fn of_plugin(from: &Connection, day: Day, plugin: &PluginName) -> rusqlite::Result<Spent> {
    let sums = SUMS.replace(":largest", "?3");
    let mut find =
        from.prepare_cached(&format!("SELECT {sums} FROM usage WHERE day = ?1 AND plugin = ?2"))?;
    find.query_row((day.0, plugin.as_str(), LARGEST as f64), |row| spent(row, 0))
}

pub(crate) const OF_AGENT: &str = "\
SELECT model, requests, input, output, micros FROM usage WHERE day = ? AND plugin = ? AND agent = ?";
