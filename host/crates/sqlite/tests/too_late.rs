//! SQLite is set up once for a process, so this is a process of its own.
#![allow(clippy::disallowed_methods, reason = "what is disallowed is what it is about")]

use rusqlite::{Connection, ErrorCode};

#[test]
fn where_sqlite_was_in_use_before_nothing_is_opened() {
    let folder = std::env::temp_dir();
    let before = Connection::open_in_memory().unwrap();
    let opened = [rookery_sqlite::open_in_memory(), rookery_sqlite::open(folder.join("rookery-too-late.db"))];
    for refused in opened.into_iter().chain([rookery_sqlite::open_in_memory()]) {
        let error = refused.expect_err("memory would be without a bound");
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::ApiMisuse));
        assert!(error.to_string().contains("before its memory could be bounded"), "{error}");
    }
    assert!(!folder.join("rookery-too-late.db").exists());
    assert_eq!(before.query_row("SELECT 1", (), |row| row.get(0)), Ok(1));
}
