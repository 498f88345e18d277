//! The agent's own SQL.
//!
//! Promises: a statement that fails has changed nothing; one is one statement; it is held to the [rules](crate::rules), to
//! its time and to its memory. What it finds is bounded by [`RESULT_BYTES`](crate::RESULT_BYTES).

use std::time::Duration;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, CachedStatement, Error, ErrorCode, Row, StatementStatus, ffi};
use tokio::time::Instant;

use crate::database::{Database, HOSTS, ROW, is_full};
use crate::error::{SqlError, StorageError, bound};
use crate::rows::{Rows, Value};
use crate::schema;
use crate::steps::{self, Steps};
use crate::storage::Storage;
use crate::transaction::Write;
use crate::watch::{Asking, Findings, MEMORY, Means};

/// A statement has at most so many bytes.
pub(crate) const STATEMENT: usize = 100_000;
/// And so many parameters.
pub(crate) const PARAMETERS: usize = 1000;
/// And may take so much.
pub(crate) const MEANS: Means = Means { time: Duration::from_secs(2), memory: MEMORY };
/// A text or blob has at most so many bytes.
const VALUE: usize = 2 << 20;

/// Statements up to so many bytes are kept prepared. What is longer is hardly asked twice, and takes memory.
const KEPT: usize = 4096;
/// And as long as they take no more than so many bytes, as many views can make of a short one.
const KEPT_MEMORY: i32 = 256 << 10;

/// What a statement did.
pub(crate) struct Ran {
    pub(crate) rows: Rows,
    pub(crate) changed: u64,
    pub(crate) findings: Findings,
    pub(crate) took: Duration,
}

/// What kind of statement it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    writes: bool,
    finds: bool,
}

impl Storage {
    /// Runs one statement that changes something, with its parameters in order. Says how many rows it inserted, updated or
    /// deleted.
    ///
    /// # Errors
    ///
    /// Any of [`SqlError`]; nothing has changed then.
    pub fn execute(&mut self, statement: &str, parameters: &[Value]) -> Result<u64, SqlError> {
        let kind = self.inspect(statement, parameters)?;
        if !kind.writes && kind.finds {
            return Err(SqlError::Invalid("this statement changes nothing: run it with `query`".into()));
        }
        self.run(kind, statement, parameters).map(|ran| ran.changed)
    }

    /// Runs one statement that finds rows: `SELECT`, or a change with `RETURNING`.
    ///
    /// # Errors
    ///
    /// Any of [`SqlError`]; nothing has changed then.
    pub fn query(&mut self, statement: &str, parameters: &[Value]) -> Result<Rows, SqlError> {
        let kind = self.inspect(statement, parameters)?;
        if !kind.finds {
            return Err(SqlError::Invalid("this statement finds no rows: run it with `execute`".into()));
        }
        self.run(kind, statement, parameters).map(|ran| ran.rows)
    }

    fn inspect(&mut self, statement: &str, parameters: &[Value]) -> Result<Kind, SqlError> {
        check(statement, parameters)?;
        let means = self.means;
        self.read(|database| {
            let asking = database.watch.guest(means);
            let prepared = prepare(database, statement, &asking)?;
            let expected = prepared.parameter_count();
            let kind = Kind { writes: !prepared.readonly(), finds: prepared.column_count() > 0 };
            let findings = asking.findings();
            let light = !findings.afresh || statement.len() > KEPT || {
                let steps = count(database, &prepared, statement, parameters, &findings);
                matches!(steps.map_err(|error| refused(database, &asking, error))?, Steps::Few)
            };
            put_back(prepared, statement, &findings, light);
            if expected != parameters.len() {
                let given = parameters.len();
                return Err(SqlError::Invalid(format!(
                    "the statement has {expected} parameters, not {given}"
                )));
            }
            Ok(kind)
        })
    }

    fn run(&mut self, kind: Kind, statement: &str, parameters: &[Value]) -> Result<Ran, SqlError> {
        let means = self.means;
        if !kind.writes {
            return self.read(|database| run(database, statement, parameters, means));
        }
        let ran = self.change(true, |database| {
            database.within_limit(|| {
                let ran = run(database, statement, parameters, means)?;
                if ran.findings.changes_schema {
                    check_schema(database)?;
                }
                Ok(ran)
            })
        })?;
        self.remember(size(statement, parameters), ran.took, || Write::Run {
            statement: statement.into(),
            parameters: parameters.into(),
            changed: ran.changed,
        });
        Ok(ran)
    }
}

/// Runs a statement as a guest's.
pub(crate) fn run(
    database: &Database,
    statement: &str,
    parameters: &[Value],
    means: Means,
) -> Result<Ran, SqlError> {
    let began = Instant::now();
    let before = database.connection.total_changes();
    let asking = database.watch.guest(means);
    let mut prepared = prepare(database, statement, &asking)?;
    let asked = asking.findings();
    // What is kept prepared was found to have few steps, if its parameters are short.
    let unknown = asked.afresh || steps::longest(parameters) > steps::SHORT;
    let steps = match unknown {
        true => count(database, &prepared, statement, parameters, &asked)
            .map_err(|error| refused(database, &asking, error))?,
        false => Steps::Few,
    };
    if let Steps::TooMany = steps {
        return Err(SqlError::Denied(steps::TOO_MANY.into()));
    }
    if asked.marks {
        asking.no_block_beyond(steps::MARKED);
    }
    let found = find(database, &mut prepared, parameters, &asking);
    let findings = asking.findings();
    put_back(prepared, statement, &findings, matches!(steps, Steps::Few));
    let rows = found.map_err(|error| match (error, steps) {
        (SqlError::Storage(StorageError::OutOfBounds(text)), Steps::Many(narrow)) if text == TOO_LARGE => {
            narrow.error()
        }
        (error, _) => error,
    })?;
    // SQLite leaves the number as it was where a statement is none of these three.
    let counts = !findings.changes_schema && database.connection.total_changes() != before;
    let changed = if counts { database.connection.changes() } else { 0 };
    Ok(Ran { rows, changed, findings, took: began.elapsed() })
}

fn find(
    database: &Database,
    prepared: &mut CachedStatement<'_>,
    parameters: &[Value],
    asking: &Asking<'_>,
) -> Result<Rows, SqlError> {
    let refused = |error| refused(database, asking, error);
    let columns = (0..prepared.column_count()).map(|at| prepared.column_name(at).map(Into::into));
    let mut rows = Rows::new(columns.collect::<Result<_, _>>().map_err(refused)?)?;
    for (at, value) in parameters.iter().enumerate() {
        prepared.raw_bind_parameter(at + 1, value).map_err(refused)?;
    }
    let mut found = prepared.raw_query();
    while let Some(row) = found.next().map_err(refused)? {
        take(row, &mut rows)?;
    }
    Ok(rows)
}

/// What remembering a statement takes, in bytes.
pub(crate) fn size(statement: &str, parameters: &[Value]) -> usize {
    statement.len() + parameters.iter().map(|value| size_of::<Value>() + value.len()).sum::<usize>()
}

/// What a failure of the host's own statement is, where it may be the guest's: an error in a constraint that was deferred.
pub(crate) fn failure(database: &Database, error: Error) -> SqlError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => SqlError::Constraint(text(&error)),
        _ => SqlError::Storage(database.failure(&error)),
    }
}

fn check(statement: &str, parameters: &[Value]) -> Result<(), SqlError> {
    if statement.len() > STATEMENT {
        bound(format!("a statement has at most {STATEMENT} bytes, not {}", statement.len()))?;
    }
    if parameters.len() > PARAMETERS {
        bound(format!("a statement has at most {PARAMETERS} parameters, not {}", parameters.len()))?;
    }
    if let Some(large) = parameters.iter().map(Value::len).find(|length| *length > VALUE) {
        bound(format!("a text or blob has at most {VALUE} bytes (2 MiB), not {large}"))?;
    }
    // SQLite would take either of these for the end of the statement.
    if statement.contains(HOSTS) || statement.contains('\0') {
        return Err(SqlError::Invalid(format!("a statement contains no `{HOSTS}` and no byte 0")));
    }
    Ok(())
}

/// Prepares a guest's statement, or takes one that was. Is it one, and is it allowed?
fn prepare<'a>(
    database: &'a Database,
    statement: &str,
    asking: &Asking<'_>,
) -> Result<CachedStatement<'a>, SqlError> {
    let refused = |error| refused(database, asking, error);
    // Asks for nothing and is nothing that SQLite would refuse before it runs.
    if first_word(statement).eq_ignore_ascii_case("VACUUM") {
        return Err(SqlError::Denied("VACUUM is not allowed: the host sees to the file's size".into()));
    }
    let end = |letter: char| letter == ';' || letter.is_whitespace();
    // rusqlite prepares what follows a statement in order to say that there is something, and what follows that one, and so
    // on, each on a stack frame of its own; so two are told apart before.
    if statement.trim_end_matches(end).contains(';') {
        let mut statements = Batch::new(&database.connection, statement);
        let first = statements.next().map_err(refused)?;
        if first.is_some() && statements.next().map_err(refused)?.is_some() {
            return Err(SqlError::Invalid("one statement at a time".into()));
        }
    }
    let prepared = database.connection.prepare_cached(statement).map_err(refused)?;
    if asking.findings().long {
        database.watch.look_closer();
    }
    Ok(prepared)
}

fn count<'a>(
    database: &'a Database,
    prepared: &CachedStatement<'_>,
    statement: &str,
    parameters: &[Value],
    findings: &Findings,
) -> rusqlite::Result<Steps<'a>> {
    let longest = steps::longest(parameters);
    steps::narrow(&database.connection, prepared, body(statement), (longest, findings.marks))
}

/// Leaves a statement prepared for the next time, or not. `light` is whether it may have any values then.
fn put_back(prepared: CachedStatement<'_>, statement: &str, findings: &Findings, light: bool) {
    // What changes the schema is always prepared afresh, so that it is always known to.
    let large = || findings.afresh && prepared.get_status(StatementStatus::MemUsed) > KEPT_MEMORY;
    if statement.len() > KEPT
        || findings.changes_schema
        || (findings.afresh && !light)
        || findings.marks
        || large()
    {
        prepared.discard();
    }
}

/// The first word of a statement.
fn first_word(statement: &str) -> &str {
    let body = body(statement);
    let end = body.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(body.len());
    &body[..end]
}

/// What follows the spaces and comments that a statement begins with.
fn body(statement: &str) -> &str {
    let mut rest = statement;
    loop {
        rest = rest.trim_start_matches(|letter: char| letter == ';' || letter.is_whitespace());
        let comment = if rest.starts_with("--") {
            rest.split_once('\n')
        } else if rest.starts_with("/*") {
            rest.split_once("*/")
        } else {
            return rest;
        };
        match comment {
            Some((_, after)) => rest = after,
            None => return "",
        }
    }
}

/// What reading a value may take: the value, and the end of a text.
pub(crate) const READING: usize = ROW + 64;

fn take(row: &Row<'_>, rows: &mut Rows) -> Result<(), SqlError> {
    let columns = rows.columns().len();
    let mut bytes = size_of::<Vec<Value>>() + columns * size_of::<Value>();
    let mut values = Vec::with_capacity(columns);
    for at in 0..columns {
        // SQLite may have to copy the value before it is read, and rusqlite panics where there is no room.
        if !rookery_sqlite::promises(READING) {
            return Err(out_of_memory(false));
        }
        let value = row.get_ref(at).map_err(|error| SqlError::Invalid(error.to_string()))?;
        if let ValueRef::Text(held) | ValueRef::Blob(held) = value {
            bytes += held.len();
        }
        rows.afford(bytes)?;
        values.push(match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Blob(held) => Value::Blob(held.into()),
            ValueRef::Text(held) => Value::Text(utf8(held, &rows.columns()[at])?),
        });
    }
    rows.push(values, bytes);
    Ok(())
}

/// SQLite keeps any bytes as a text; there is no such text here.
fn utf8(bytes: &[u8], column: &str) -> Result<String, SqlError> {
    String::from_utf8(bytes.into()).map_err(|_| {
        SqlError::Invalid(format!(
            "a text in the column `{column}` is not UTF-8: ask for it AS BLOB with CAST"
        ))
    })
}

fn check_schema(database: &Database) -> Result<(), SqlError> {
    let fault = schema::fault(&database.connection);
    match fault.map_err(|error| database.failure(&error))? {
        Some(fault) => Err(SqlError::Denied(fault)),
        None => Ok(()),
    }
}

/// What a failure of the guest's statement is.
fn refused(database: &Database, asking: &Asking<'_>, error: Error) -> SqlError {
    let findings = asking.findings();
    if let Some(denied) = findings.denied {
        return SqlError::Denied(denied);
    }
    match (asking.overran(), asking.exceeded()) {
        // Some of SQLite's functions that were refused memory go on, and fail when all rows have been.
        (true, true) => return out_of_memory(asking.blocked()),
        (true, false) => return SqlError::TooSlow,
        _ => {}
    }
    let Some(code) = error.sqlite_error() else {
        return SqlError::Invalid(match error {
            // It points at a place in the statement, and rusqlite would repeat the statement beside it.
            Error::SqlInputError { msg, .. } => msg,
            Error::MultipleStatement => "one statement at a time".into(),
            Error::Empty => "there is no statement".into(),
            other => other.to_string(),
        });
    };
    match code.code {
        ErrorCode::ConstraintViolation => SqlError::Constraint(text(&error)),
        ErrorCode::TooBig => StorageError::OutOfBounds(TOO_LARGE.into()).into(),
        ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted if asking.exceeded() => {
            out_of_memory(asking.blocked())
        }
        // SQLite's word for an error in the statement.
        ErrorCode::Unknown if code.extended_code & 0xff == ffi::SQLITE_ERROR => {
            SqlError::Invalid(text(&error))
        }
        ErrorCode::TypeMismatch
        | ErrorCode::ParameterOutOfRange
        | ErrorCode::DatabaseLocked
        | ErrorCode::SchemaChanged
        | ErrorCode::OperationAborted
        | ErrorCode::AuthorizationForStatementDenied => SqlError::Invalid(text(&error)),
        // A full-text index over the agent's own table that does not fit what is in it: the file is sound.
        _ if code.extended_code == ffi::SQLITE_CORRUPT_VTAB => SqlError::Invalid(text(&error)),
        _ if is_full(&error) => StorageError::Full.into(),
        _ => database.unusable(&error).into(),
    }
}

const TOO_LARGE: &str = "a row is at most 2 MiB";

fn out_of_memory(blocked: bool) -> SqlError {
    let (most, marked) = (MEMORY >> 20, steps::MARKED >> 10);
    StorageError::OutOfBounds(match blocked {
        true => format!("highlight() and snippet() work with texts of at most {marked} KiB"),
        false => format!("a statement may use {most} MiB of memory"),
    })
    .into()
}

fn text(error: &Error) -> String {
    match error {
        Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}
