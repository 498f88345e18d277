use std::path::Path;

use rookery_core::Durability;
use rusqlite::Connection;

use crate::{Database, OpenError, Opened, reader};

/// A database of letters, which has come to its second format.
const LETTERS: Database = Database {
    holds: "letters",
    application: 0x5465_7374,
    page: 4096,
    migrations: &[FIRST, SECOND],
    tune: |connection| connection.pragma_update_and_check(None, "journal_size_limit", 4096, |_| Ok(())),
    anew: "they are written again then",
};

const FIRST: &str = "CREATE TABLE letters (text)";
const SECOND: &str = "ALTER TABLE letters ADD COLUMN sent";

fn open(folder: &Path) -> Opened {
    LETTERS.open(folder, Durability::Normal).unwrap()
}

fn refusal(folder: &Path) -> OpenError {
    LETTERS.open(folder, Durability::Normal).err().unwrap()
}

fn number(connection: &Connection, pragma: &str) -> i64 {
    connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap()
}

#[test]
fn a_second_writer_is_refused_until_the_first_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().starts_with("another rookery uses the data folder"), "{error}");
    drop(opened);
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
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refusal(&file.join("data"));
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn a_database_is_set_up_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    for (durability, synchronous) in [(Durability::Normal, 1), (Durability::Full, 2)] {
        let Opened { connection, .. } = LETTERS.open(folder.path(), durability).unwrap();
        assert_eq!(number(&connection, "synchronous"), synchronous);
        assert_eq!(number(&connection, "auto_vacuum"), 2, "incremental");
        assert_eq!(number(&connection, "user_version"), 2);
        assert_eq!(number(&connection, "application_id"), LETTERS.application);
        assert_eq!(number(&connection, "journal_size_limit"), 4096, "as it was tuned");
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters.db");
    let garbage = "my notes\n".repeat(1000);
    std::fs::write(&path, &garbage).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    let expected = format!("{} holds no letters: it is not a database of rookery", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.hint(), "move the file away; they are written again then");
    assert!(matches!(LETTERS.look(folder.path()), Err(OpenError::NotOurs { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), garbage);
}

#[test]
fn somebody_elses_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters.db");
    rookery_sqlite::open(&path).unwrap().execute_batch("CREATE TABLE letters (text)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(refusal(folder.path()), OpenError::NotOurs { .. }));
    assert!(matches!(LETTERS.look(folder.path()), Err(OpenError::NotOurs { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_damaged_beyond_reading_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("letters.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // The header stands, and the schema after it does not.
    bytes[100..4096].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(refusal(folder.path()), OpenError::NotOurs { .. }));
    assert!(matches!(LETTERS.look(folder.path()), Err(OpenError::NotOurs { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let newer = |format: i64| {
        let Opened { connection, path, .. } = open(folder.path());
        connection.pragma_update(None, "user_version", format).unwrap();
        drop(connection);
        let before = std::fs::read(&path).unwrap();
        let error = refusal(folder.path());
        assert!(matches!(error, OpenError::Newer { found, known: 2, .. } if found == format), "{error}");
        assert!(error.to_string().contains("newer rookery"), "{error}");
        assert!(matches!(LETTERS.look(folder.path()), Err(OpenError::Newer { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_file(&path).unwrap();
    };
    [3, 99, -1].into_iter().for_each(newer);
}

#[test]
fn an_earlier_format_is_brought_to_the_newest_and_keeps_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let first = Database { migrations: &[FIRST], ..LETTERS };
    let former = first.open(folder.path(), Durability::Normal).unwrap();
    former.connection.execute("INSERT INTO letters (text) VALUES ('Dear Alice')", ()).unwrap();
    drop(former);
    let Opened { connection, .. } = open(folder.path());
    let found: (String, Option<i64>) = connection
        .query_row("SELECT text, sent FROM letters", (), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(found, ("Dear Alice".into(), None));
}

#[test]
fn a_format_that_cannot_be_reached_whole_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    const THIRD: &str = "CREATE TABLE stamps (price); INSERT INTO no_such_table VALUES (1)";
    let broken = Database { migrations: &[FIRST, SECOND, THIRD], ..LETTERS };
    let error = broken.open(folder.path(), Durability::Normal).err().unwrap();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
    let Opened { connection, .. } = open(folder.path());
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn looking_finds_what_a_writer_has_committed_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("data");
    assert!(LETTERS.look(&inner).unwrap().is_none());
    assert!(!inner.exists());

    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("letters.db"), "").unwrap();
    assert!(LETTERS.look(&inner).unwrap().is_none(), "nothing is in it yet");

    let Opened { connection, path, lock } = open(&inner);
    connection.execute("INSERT INTO letters (text) VALUES ('Dear Alice')", ()).unwrap();
    let (looker, found) = LETTERS.look(&inner).unwrap().unwrap();
    assert_eq!(found, path);
    for from in [looker, reader(&path).unwrap()] {
        let text: String = from.query_row("SELECT text FROM letters", (), |row| row.get(0)).unwrap();
        assert_eq!(text, "Dear Alice");
        from.execute("DELETE FROM letters", ()).expect_err("a reader writes nothing");
    }
    drop(lock);
}
