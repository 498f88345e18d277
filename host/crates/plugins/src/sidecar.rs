//! What may be said of a plugin beside it: what it may reach, what its guests may read, how its runs are served, and
//! how much it may use. Each table is a file, with what its keys mean, what they are by default, and how they are read.
//!
//! Promises: a sidecar that parsed is whole, and in bounds; one that did not is told all that is wrong with it, with
//! the lines. No message repeats a value of [http.inject].

mod budget;
mod config;
mod grants;
mod http;
mod lifecycle;
mod limits;
mod models;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rookery_outgoing::Grants;
use rookery_tables::{Entry, Mistake, Mistakes, Table};
use rookery_usage::Budget;
use toml::de::DeTable;

pub use http::Http;
pub use lifecycle::Lifecycle;
pub use limits::Limits;
pub use models::Models;
pub use runs::Runs;

/// A plugin's sidecar. The default is what holds for a plugin without one.
#[derive(Debug, Default)]
pub struct Sidecar {
    /// What it may reach, and what the host adds to its requests.
    pub grants: Grants,
    /// How its requests are made.
    pub http: Http,
    /// The host's models that it may ask.
    pub models: Models,
    /// What it may spend on them.
    pub budget: Budget,
    /// Values that its guests may read.
    pub config: BTreeMap<String, String>,
    /// How runs of its agents are served.
    pub runs: Runs,
    /// How its instances come and go.
    pub lifecycle: Lifecycle,
    /// What its agents may use.
    pub limits: Limits,
}

/// Every table, with every key that it knows. In [config] and below [http.inject] any key is good.
const TABLES: [(&str, &[&str]); 7] = [
    ("http", http::KEYS),
    ("models", models::KEYS),
    ("budget", budget::KEYS),
    ("config", &[]),
    ("runs", runs::KEYS),
    ("lifecycle", lifecycle::KEYS),
    ("limits", limits::KEYS),
];

impl Sidecar {
    /// Reads a sidecar; `env` looks variables up in the host's environment.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, from the top down.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Mistake>> {
        let errors = Mistakes::of(text);
        let document = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| errors.line(span.start));
            let hint =
                "a key stands before its value, `key = \"text\"`, and a table's name in brackets, `[name]`"
                    .into();
            vec![Mistake { line, what: format!("it is no TOML: {}", error.message()), hint }]
        })?;
        let sidecar = read(&Table::root(&errors, document.get_ref()), &errors, env);
        if errors.is_empty() { Ok(sidecar) } else { Err(errors.into_found()) }
    }
}

fn read(root: &Table<'_>, errors: &Mistakes<'_>, env: &dyn Fn(&str) -> Option<String>) -> Sidecar {
    let mut sidecar = Sidecar::default();
    // First, as grants are parsed only where nothing was wrong with their table before.
    if let Some(http) = known(root, "http") {
        sidecar.http = Http::read(&http);
        sidecar.grants = grants::read(&http, root.get("http").map(Entry::line), errors, env);
    }
    if let Some(models) = known(root, "models") {
        sidecar.models = Models::read(&models);
    }
    if let Some(budget) = known(root, "budget") {
        sidecar.budget = budget::read(&budget);
    }
    if let Some(config) = root.table("config") {
        sidecar.config = config::read(&config);
    }
    if let Some(runs) = known(root, "runs") {
        sidecar.runs = Runs::read(&runs, errors);
    }
    if let Some(lifecycle) = known(root, "lifecycle") {
        sidecar.lifecycle = Lifecycle::read(&lifecycle);
    }
    if let Some(limits) = known(root, "limits") {
        sidecar.limits = Limits::read(&limits);
    }
    root.only(&TABLES.map(|(name, _)| name), home);
    sidecar
}

/// A table in which every key is known.
fn known<'a>(root: &'a Table<'a>, name: &str) -> Option<Table<'a>> {
    let table = root.table(name)?;
    let (_, keys) = TABLES.iter().find(|(table, _)| *table == name)?;
    table.only(keys, home);
    Some(table)
}

/// The table that knows this key.
fn home(key: &str) -> Option<&'static str> {
    TABLES.iter().find(|(_, keys)| keys.contains(&key)).map(|(table, _)| *table)
}
