use rusqlite::Connection;

use super::*;
use crate::OpenError;

fn refusal(folder: &Path) -> OpenError {
    Runs::open(&settings(folder)).err().unwrap()
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().starts_with("another rookery uses the data folder"), "{error}");
    runs.close();
    let again = open(folder.path());
    drop(runs);
    assert!(matches!(refusal(folder.path()), OpenError::InUse(_)), "the old handle holds nothing");
    drop(again);
    open(folder.path());
}

#[test]
fn the_folder_is_made_and_nobody_else_can_look_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    open(&inner);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let garbage = "my notes\n".repeat(1000);
    std::fs::write(&path, &garbage).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::NotRuns(_)), "{error}");
    assert!(error.hint().contains("move the file away"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), garbage);
}

#[test]
fn somebody_elses_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE runs (a)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(refusal(folder.path()), OpenError::NotRuns(_)));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close();
    let path = folder.path().join("runs.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Newer { found: 99, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("newer rookery"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refusal(&file.join("data"));
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn the_database_is_set_up_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    for (durability, synchronous) in [(crate::Durability::Normal, 1), (crate::Durability::Full, 2)] {
        let opened = crate::open::open(folder.path(), durability).unwrap();
        let pragma = |name: &str| {
            opened.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(pragma("synchronous"), synchronous);
        assert_eq!(pragma("auto_vacuum"), 2, "incremental");
        assert_eq!(pragma("user_version"), 1);
        let mode: String =
            opened.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }
}

#[test]
fn every_question_finds_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let opened = crate::open::open(folder.path(), crate::Durability::Normal).unwrap();
    for (conditions, index) in [
        ("id < '~' ORDER BY id DESC LIMIT 9", "sqlite_autoindex_runs_1"),
        ("id < '~' AND plugin = 'a' AND name = 'b' ORDER BY id DESC LIMIT 9", "runs_of_agent"),
        ("id < '~' AND state = 'done' ORDER BY id DESC LIMIT 9", "runs_in_state"),
        ("plugin = 'a' AND name = 'b' AND key = 'c'", "runs_by_key"),
        ("plugin = 'a' AND name = 'b' AND ended IS NOT NULL ORDER BY id LIMIT 9", "runs_to_keep"),
        ("ended IS NOT NULL AND (plugin, name) > ('a', 'b') ORDER BY plugin, name LIMIT 1", "runs_to_keep"),
        ("ended < 1 ORDER BY ended LIMIT 9", "runs_by_end"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN SELECT no FROM runs WHERE {conditions}");
        let mut explain = opened.connection.prepare(&sql).unwrap();
        let plan: Vec<String> =
            explain.query_map((), |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(plan.len() == 1 && plan[0].contains(index), "{conditions}: {plan:?}");
    }
}
