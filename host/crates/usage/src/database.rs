//! Which database usage is kept in.

use rookery_database::Database;

pub(crate) const USAGE: Database = Database {
    holds: "usage",
    // "Rous".
    application: 0x526f_7573,
    page: 4096,
    migrations: &[include_str!("formats/1.sql")],
    tune: |connection| connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(())),
    anew: "a new one is made then, and budgets begin anew",
};
