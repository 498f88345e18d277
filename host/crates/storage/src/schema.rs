//! The host's tables in an agent's file, and what may stand beside them.
//!
//! Promises: a file is taken for an agent's only if the host's tables in it are the host's own to the letter, and nothing
//! else bears their name or is made upon them. So nothing that is in a file acts when the host reads or writes a key.

use std::path::Path;

use rookery_core::AgentId;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::database::{bytes, failed};
use crate::error::FileError;
use crate::rules::is_hosts;

/// Says in the file's header whose it is: "Roag".
pub(crate) const APPLICATION: i64 = 0x526f_6167;

/// The format that is written, and the newest that is known.
const FORMAT: i64 = 1;

const TABLES: &str = include_str!("schema.sql");

/// All statements that the schema consists of have at most so many bytes: SQLite keeps them in memory in a form that is up
/// to fifty times as large.
const BYTES: usize = 512 << 10;

/// What an agent's file is before anything is in it.
pub(crate) fn image(agent: &AgentId) -> rusqlite::Result<Vec<u8>> {
    let mut connection = rookery_sqlite::open_in_memory()?;
    // Only before the first table. Without it a file would never become smaller.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    fill(&connection, agent)?;
    let mut image = bytes(&mut connection)?;
    // Two bytes of the header say which journal the file has; in memory there is none. 2 is the write-ahead log
    // (https://www.sqlite.org/fileformat2.html#file_format_version_numbers).
    if let Some(versions) = image.get_mut(18..20) {
        versions.fill(2);
    }
    Ok(image)
}

/// Makes the host's tables.
pub(crate) fn fill(connection: &Connection, agent: &AgentId) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute(
        "INSERT INTO rookery_agent (format, plugin, name) VALUES (?, ?, ?)",
        (FORMAT, agent.plugin.as_str(), agent.name.as_str()),
    )?;
    connection.pragma_update(None, "application_id", APPLICATION)
}

/// Whose file this is; an error if it is not one of ours.
pub(crate) fn identify(connection: &Connection, path: &Path) -> Result<AgentId, FileError> {
    let failed = |error| failed(path, error);
    let not = |reason: &str| FileError::NotOurs { path: path.into(), reason: reason.into() };
    let application: i64 =
        connection.query_row("PRAGMA application_id", (), |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION {
        return Err(not("it is not a file of rookery's agents"));
    }
    let encoding: String = connection.query_row("PRAGMA encoding", (), |row| row.get(0)).map_err(failed)?;
    if encoding != "UTF-8" {
        return Err(not("its texts are not UTF-8"));
    }
    if let Some(fault) = fault(connection).map_err(failed)? {
        return Err(not(&fault));
    }
    let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?));
    let found = connection
        .query_row("SELECT format, plugin, name FROM rookery_agent", (), columns)
        .optional()
        .map_err(failed)?;
    let (format, plugin, name) = found.ok_or_else(|| not("it does not say whose it is"))?;
    if format != FORMAT {
        return Err(FileError::Newer { path: path.into(), found: format, known: FORMAT });
    }
    match (plugin.parse(), name.parse()) {
        (Ok(plugin), Ok(name)) => Ok(AgentId { plugin, name }),
        _ => Err(not("it does not say whose it is")),
    }
}

/// Makes the file another agent's.
pub(crate) fn rename(connection: &Connection, agent: &AgentId) -> rusqlite::Result<()> {
    connection
        .execute(
            "UPDATE rookery_agent SET plugin = ?, name = ?",
            (agent.plugin.as_str(), agent.name.as_str()),
        )
        .map(drop)
}

/// What is wrong with the schema, if something is.
pub(crate) fn fault(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement =
        connection.prepare_cached("SELECT type, name, tbl_name, sql FROM sqlite_schema /*rookery*/")?;
    let mut objects = statement.query(())?;
    let (mut tables, mut bytes) = (0, 0);
    while let Some(object) = objects.next()? {
        let mut texts = [""; 4];
        for (at, text) in texts.iter_mut().enumerate() {
            *text = match object.get_ref(at)? {
                ValueRef::Text(text) => match std::str::from_utf8(text) {
                    Ok(text) => text,
                    Err(_) => return Ok(Some("a statement in its schema is not UTF-8".into())),
                },
                _ => "",
            };
        }
        let [kind, name, table, sql] = texts;
        bytes += sql.len();
        let made = format!("CREATE {} ", kind.to_ascii_uppercase());
        if is_hosts(name) && sql.starts_with(&made) && TABLES.contains(sql) {
            tables += 1;
        } else if is_hosts(name) || (is_hosts(table) && !sql.is_empty()) {
            return Ok(Some(format!("names that begin with `rookery_` are the host's: `{name}`")));
        }
    }
    if tables != TABLES.matches("CREATE ").count() {
        return Ok(Some("the host's tables are not in it".into()));
    }
    if bytes > BYTES {
        return Ok(Some(format!("the statements of a schema are together at most {} KiB", BYTES >> 10)));
    }
    Ok(None)
}
