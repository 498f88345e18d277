//! What a guest's statement may ask for.
//!
//! Promises: what is not named here is refused. A statement stays within the agent's own database, leaves the host's
//! tables alone, and begins and ends no transaction.

use rusqlite::hooks::{AuthAction, AuthContext};

/// What is to be known of something that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Plain,
    /// It makes, changes or removes a table or the like.
    ChangesSchema,
    /// Asked again it may answer otherwise.
    Fickle,
    /// It marks what full-text search found, and must not do so in a large text.
    Marks,
}

/// Whether a name is one of the host's.
pub(crate) fn is_hosts(name: &str) -> bool {
    begins(name, "rookery_")
}

/// What may be asked of a database; those with `true` may also be set.
const PRAGMAS: [(&str, bool); 10] = [
    ("table_info", false),
    ("table_xinfo", false),
    ("table_list", false),
    ("index_list", false),
    ("index_info", false),
    ("foreign_key_list", false),
    ("foreign_key_check", false),
    ("user_version", true),
    // What SQLite's own full-text search and R-trees ask for in the name of who uses them.
    ("data_version", false),
    ("page_size", false),
];

/// These pragmas take the name of a table or index, which looks like a value.
const WITH_NAME: [&str; 7] = [
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "foreign_key_list",
    "foreign_key_check",
];

const MODULES: [&str; 4] = ["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// Tables that are there without being made, and are not the guest's business.
const TABLES: [&str; 5] = ["dbstat", "sqlite_dbpage", "sqlite_stmt", "fts3tokenize", "pragma_database_list"];

/// Functions that reach out of the database, or take time that nobody can bound: `json_patch` of two objects of a MiB takes
/// a minute.
const FUNCTIONS: [&str; 8] = [
    "load_extension",
    "fts3_tokenizer",
    "sqlite_log",
    "readfile",
    "writefile",
    "edit",
    "json_patch",
    "jsonb_patch",
];

/// Functions of full-text search that compare each place that they found with every other, or read what they have written
/// as often as they write more: for hours, where a text of 2 MiB has a million places.
const MARKS: [&str; 2] = ["highlight", "snippet"];

/// Functions whose answer depends on more than the database.
const FICKLE: [&str; 14] = [
    "random",
    "randomblob",
    "date",
    "time",
    "datetime",
    "julianday",
    "unixepoch",
    "strftime",
    "timediff",
    "current_date",
    "current_time",
    "current_timestamp",
    "changes",
    "total_changes",
];

/// Functions that take a long time for a step: they go through a large JSON once for each of their paths.
const LONG: [&str; 14] = [
    "json_array_insert",
    "json_extract",
    "json_insert",
    "json_remove",
    "json_replace",
    "json_set",
    "jsonb_array_insert",
    "jsonb_extract",
    "jsonb_insert",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "highlight",
    "snippet",
];

/// Whether one call of a function may take a tenth of a second.
pub(crate) fn is_long(context: &AuthContext<'_>) -> bool {
    matches!(context.action, AuthAction::Function { function_name } if among(&LONG, function_name))
}

/// Says what is refused, in the words of who wrote the statement. `schema` is whether the statement is known to change
/// the schema: then it writes to SQLite's own tables.
pub(crate) fn judge(context: &AuthContext<'_>, schema: bool) -> Result<Effect, String> {
    let writes = |table: &str| writes(table, schema);
    let temporary = || Err("temporary tables are not allowed".into());
    let changes = |names: &[&str]| match context.database_name {
        // A table can also be called `temp.name`.
        Some("temp") => temporary(),
        _ => changes(names),
    };
    match context.action {
        AuthAction::Select | AuthAction::Recursive => Ok(Effect::Plain),
        AuthAction::Read { table_name, .. } => read(table_name),
        // ANALYZE of one table begins with this, before it says that it is ANALYZE.
        AuthAction::Delete { table_name } if among(&["sqlite_stat1", "sqlite_stat4"], table_name) => {
            Ok(Effect::Plain)
        }
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => writes(table_name),
        AuthAction::Function { function_name } => function(function_name),
        AuthAction::Pragma { pragma_name, pragma_value } => pragma(pragma_name, pragma_value),
        AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. } => changes(&[table_name]),
        AuthAction::CreateIndex { index_name, table_name }
        | AuthAction::DropIndex { index_name, table_name } => changes(&[index_name, table_name]),
        AuthAction::CreateTrigger { trigger_name, table_name }
        | AuthAction::DropTrigger { trigger_name, table_name } => changes(&[trigger_name, table_name]),
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } => changes(&[view_name]),
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => temporary(),
        AuthAction::CreateVtable { table_name, module_name } => {
            if !among(&MODULES, module_name) {
                return Err(format!("virtual tables of `{module_name}` are not allowed"));
            }
            changes(&[table_name])
        }
        AuthAction::DropVtable { table_name, .. } => changes(&[table_name]),
        AuthAction::Reindex { .. } | AuthAction::Analyze { .. } => Ok(Effect::ChangesSchema),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Err("transactions are the host's: what is written between two awaits is one".into())
        }
        AuthAction::Attach { .. } => Err("ATTACH is not allowed".into()),
        AuthAction::Detach { .. } => Err("DETACH is not allowed".into()),
        _ => Err("this kind of statement is not allowed".into()),
    }
}

fn read(table: &str) -> Result<Effect, String> {
    if is_hosts(table) || among(&TABLES, table) {
        return Err(format!("the table `{table}` is not the agent's"));
    }
    Ok(Effect::Plain)
}

fn writes(table: &str, schema: bool) -> Result<Effect, String> {
    // SQLite itself keeps its table of tables from being written to, and asks even where it does so itself.
    let own = among(&["sqlite_schema", "sqlite_master", "sqlite_temp_schema", "sqlite_temp_master"], table);
    if is_hosts(table) || (begins(table, "sqlite_") && !own && !schema) {
        return Err(format!("the table `{table}` is not the agent's"));
    }
    Ok(Effect::Plain)
}

fn changes(names: &[&str]) -> Result<Effect, String> {
    match names.iter().find(|name| is_hosts(name)) {
        Some(name) => Err(format!("names that begin with `rookery_` are the host's: `{name}`")),
        None => Ok(Effect::ChangesSchema),
    }
}

fn function(name: &str) -> Result<Effect, String> {
    match among(&FUNCTIONS, name) {
        true => Err(format!("the function `{name}` is not allowed")),
        false if among(&FICKLE, name) => Ok(Effect::Fickle),
        false if among(&MARKS, name) => Ok(Effect::Marks),
        false => Ok(Effect::Plain),
    }
}

fn pragma(name: &str, value: Option<&str>) -> Result<Effect, String> {
    let allowed = PRAGMAS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    match allowed {
        Some((_, true)) => Ok(Effect::Plain),
        Some(_) if value.is_none() || among(&WITH_NAME, name) => Ok(Effect::Plain),
        _ => Err(format!("PRAGMA {name} is not allowed")),
    }
}

fn among(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn begins(name: &str, with: &str) -> bool {
    name.as_bytes().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
}
