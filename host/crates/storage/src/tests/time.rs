//! Here time stands still, but where a statement has it pass: so each of these is ended where it is said, and nobody waits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use rusqlite::functions::FunctionFlags;

use super::*;
use crate::SqlError;

const LARGE: usize = 2_000_000;

/// An agent whose statements may call `pass()`, after which their time is over, and `next()`, which is counted.
fn new() -> (House, Storage, Arc<AtomicUsize>) {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text)", &[]).unwrap();
    storage.commit().unwrap();
    let connection = &storage.reading().unwrap().connection;
    let flags = FunctionFlags::SQLITE_UTF8;
    let pass = |_: &mut rusqlite::functions::Context<'_>| {
        // It passes at once; what is to be awaited is that others see it.
        let passed = pin!(tokio::time::advance(Duration::from_secs(3)));
        let _ = passed.poll(&mut Context::from_waker(Waker::noop()));
        Ok(1)
    };
    connection.create_scalar_function("pass", 0, flags, pass).unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    let counted = called.clone();
    let next = move |_: &mut rusqlite::functions::Context<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(1)
    };
    connection.create_scalar_function("next", 0, flags, next).unwrap();
    (house, storage, called)
}

#[tokio::test(start_paused = true)]
async fn a_statement_is_ended_within_a_row_by_whatever_takes_long() {
    let (_house, mut storage, called) = new();
    let letters = text(&"a".repeat(LARGE));
    let few = text(&"a".repeat(30_000));
    let json = Value::Text(format!("[{}1]", "1,".repeat(LARGE / 2 - 9)));
    let pattern = text(&format!("%{}b", "a".repeat(2000)));
    let set = text(&format!("*[{}]b", "^b-z".repeat(10_000)));
    let none = Value::Null;
    for (slow, first, second) in [
        ("upper(?1)", &letters, &none),
        ("hex(substr(?1, 2, 900000))", &letters, &none),
        ("quote(?1)", &letters, &none),
        ("printf('%s', ?1)", &letters, &none),
        ("unistr(?1)", &letters, &none),
        ("?1 || 'a'", &letters, &none),
        ("CAST(?1 AS BLOB) || 'a'", &letters, &none),
        ("strftime(replace(?1, 'a', '%'))", &letters, &none),
        ("randomblob(2000000)", &none, &none),
        ("json(?1)", &json, &none),
        ("json_valid(?1)", &json, &none),
        ("json_extract(?1, '$[7]')", &json, &none),
        ("(SELECT count(*) FROM json_each(?1))", &json, &none),
        ("(SELECT sum(length(fullkey)) FROM json_tree(?1))", &json, &none),
        (
            "(SELECT max(i) FROM (WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n))",
            &none,
            &none,
        ),
        ("instr(?1, 'b')", &letters, &none),
        ("replace(?1, 'a', 'b')", &letters, &none),
        ("trim(?1)", &letters, &none),
        ("rtrim(?1, 'b')", &letters, &none),
        ("?1 LIKE 'b'", &letters, &none),
        ("?1 GLOB '*b'", &letters, &none),
        // Nothing here is large, and to compare them takes long all the same.
        ("?1 LIKE ?2", &few, &pattern),
        ("like(?2, ?1, 'x')", &few, &pattern),
        ("?1 GLOB ?2", &few, &set),
    ] {
        for (passes, expected) in [("1", 1), ("pass()", 0)] {
            called.store(0, Ordering::Relaxed);
            // In a CASE nothing is computed ahead.
            let statement = format!("SELECT CASE WHEN {passes} THEN length({slow}) END, next(), ?1 IS ?2");
            if expected == 1 && (slow.contains("RECURSIVE") || second != &none) {
                continue;
            }
            let ran = storage.query(&statement, &[first.clone(), second.clone()]);
            assert_eq!(called.load(Ordering::Relaxed), expected, "{statement}: {ran:?}");
            assert_eq!(ran.err(), (expected == 0).then_some(SqlError::TooSlow), "{statement}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_statement_is_ended_while_it_is_prepared() {
    let (_house, mut storage, _) = new();
    storage.means.time = Duration::ZERO;
    for column in ["id", "text", "id + 1", "text || id", "id, text", "text, id"] {
        let ran = storage.query(&format!("SELECT {column} FROM notes"), &[]);
        assert_eq!(ran.err(), Some(SqlError::TooSlow), "{column}");
    }
    assert_eq!(storage.execute("CREATE TABLE more (a)", &[]), Err(SqlError::TooSlow));
    storage.means.time = Duration::from_secs(2);
    assert!(storage.query("SELECT id FROM notes", &[]).is_ok());
    assert!(storage.query("SELECT * FROM more", &[]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_ended_within_a_row_changes_nothing_and_what_was_before_stands() {
    let (house, mut storage, _) = new();
    storage.execute("CREATE VIRTUAL TABLE search USING fts5 (text)", &[]).unwrap();
    storage.commit().unwrap();
    storage.set("a", b"1").unwrap();
    let insert = "INSERT INTO notes (text) VALUES (?)";
    storage.execute(insert, &[text("before")]).unwrap();
    for slow in [
        "INSERT INTO notes (text) SELECT CASE WHEN pass() THEN upper(?1) END",
        "INSERT INTO notes (text) VALUES ('b'), (pass()), (upper(?1))",
        "INSERT INTO notes (text) VALUES (?1), (pass()), (?1 LIKE '%b')",
        "UPDATE notes SET text = CASE WHEN pass() THEN trim(?1) END",
        "DELETE FROM notes WHERE CASE WHEN pass() THEN quote(?1) ELSE 0 END",
        "INSERT INTO search (text) SELECT CASE WHEN pass() THEN ?1 END",
        "CREATE TABLE copy AS SELECT CASE WHEN pass() THEN upper(printf('%.*c', 2000000, 'a')) END AS text",
    ] {
        let parameters: &[Value] = if slow.contains('?') { &[text(&"a".repeat(LARGE))] } else { &[] };
        assert_eq!(storage.execute(slow, parameters), Err(SqlError::TooSlow), "{slow}");
        assert_eq!(storage.get("a"), Ok(Some(b"1".into())), "{slow}");
        let found = storage.query("SELECT text FROM notes UNION ALL SELECT text FROM search", &[]);
        assert_eq!(found.unwrap().next(9), [[text("before")]], "{slow}");
    }
    storage.commit().unwrap();
    storage.close().unwrap();
    let connection = rookery_sqlite::open(house.path("alice")).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test(start_paused = true)]
async fn steps_that_may_take_long_are_looked_at_more_often() {
    let (_house, mut storage, called) = new();
    for (step, most) in [("length(i)", 50), ("json_extract(i, '$')", 4)] {
        called.store(0, Ordering::Relaxed);
        let rows = format!(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
             SELECT count(CASE i WHEN 1 THEN pass() END), count(next()), count({step}) FROM n"
        );
        assert_eq!(storage.query(&rows, &[]).err(), Some(SqlError::TooSlow), "{step}");
        let called = called.load(Ordering::Relaxed);
        assert!(called <= most, "{step}: {called} rows after its time was over");
    }
}

#[test]
fn a_statement_of_many_steps_works_with_no_large_values() {
    let (_house, mut storage, _) = new();
    let large = Value::Text("1".repeat(LARGE));
    storage.execute("INSERT INTO notes (text) VALUES (?)", std::slice::from_ref(&large)).unwrap();
    let many = |step: &str, join: &str, count: usize| vec![step; count].join(join);
    let paths = |count: usize| many("'$[7]'", ", ", count);
    for expression in [
        many("text", "+", 150),
        many("CAST(text AS REAL)", ", ", 150),
        many("text = id", ", ", 150),
        many("length(text)", ", ", 150),
        many(&format!("json_extract(text, {})", paths(60)), ", ", 3),
        format!("id IN ({})", many("text", ", ", 150)),
    ] {
        // Also where it is not the first thing that is known of the statement.
        for before in ["", "; /* ; */ ;"] {
            let statement = format!("{before}SELECT {expression} FROM notes");
            let error = storage.query(&statement, &[]).unwrap_err();
            let told = error.to_string();
            assert!(told.contains("steps that compute or compare"), "{statement:.99}: {told}");
            storage.execute("UPDATE notes SET text = '12' /* short */", &[]).unwrap();
            assert!(storage.query(&statement, &[]).is_ok(), "{statement:.99}");
            storage.execute("UPDATE notes SET text = ?", std::slice::from_ref(&large)).unwrap();
        }
    }
    let asks = format!("SELECT {} FROM notes_search WHERE notes_search MATCH 'a'", many("rank", ", ", 65));
    storage.execute("CREATE VIRTUAL TABLE notes_search USING fts5 (text)", &[]).unwrap();
    assert!(matches!(storage.query(&asks, &[]), Err(SqlError::Denied(_))));
}

#[test]
fn a_statement_of_many_steps_that_do_not_work_has_any_values() {
    let (_house, mut storage, _) = new();
    let large = Value::Text("1".repeat(LARGE));
    storage.execute("INSERT INTO notes (text) VALUES (?)", std::slice::from_ref(&large)).unwrap();
    let numbers: Vec<_> = (0..1000).map(Value::Integer).collect();
    let marks = vec!["?"; 1000].join(", ");
    let found = |rows: Result<crate::Rows, SqlError>| rows.unwrap().next(9).len();
    let listed = format!("SELECT id FROM notes WHERE id IN ({marks})");
    assert_eq!(found(storage.query(&listed, &numbers)), 1);
    // It is kept prepared, and is not the same with large ones.
    let texts = vec![Value::Text("1".repeat(20_000)); 1000];
    let mut one_large = numbers.clone();
    one_large[7] = Value::Text("1".repeat(400_000));
    assert_eq!(found(storage.query(&listed, &texts)), 0);
    assert!(storage.query(&listed, &one_large).unwrap_err().to_string().contains("steps that compute"));
    assert_eq!(found(storage.query(&listed, &numbers)), 1);
    assert_eq!(found(storage.query(&format!("SELECT text FROM notes WHERE id IN ({marks})"), &numbers)), 1);
    let listed = (0..9000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(found(storage.query(&format!("SELECT text FROM notes WHERE id IN ({listed})"), &[])), 1);
    let mut many = vec![Value::Integer(7); 999];
    many.push(large);
    let insert = format!("INSERT INTO notes (text) VALUES {}", vec!["(?)"; 1000].join(", "));
    assert_eq!(storage.execute(&insert, &many), Ok(1000));
}

#[test]
fn what_full_text_search_found_is_marked_in_no_large_text_and_not_often() {
    let (_house, mut storage, _) = new();
    storage.execute("CREATE VIRTUAL TABLE search USING fts5 (text)", &[]).unwrap();
    let marks = ["highlight(search, 0, '[', ']')", "snippet(search, 0, '[', ']', '', 9)"];
    for (words, fine) in [(4000, true), (60_000, false), (1_000_000, false)] {
        storage.execute("DELETE FROM search", &[]).unwrap();
        storage.execute("INSERT INTO search VALUES (?)", &[text(&"a ".repeat(words))]).unwrap();
        storage.commit().unwrap();
        for mark in marks {
            for times in [1, 2] {
                let marks = vec![mark; times].join(", ");
                let statement = format!("SELECT {marks} FROM search WHERE search MATCH 'a'");
                let told = storage.query(&statement, &[]).map_err(|error| error.to_string()).err();
                let expected = "highlight() and snippet() work with texts of at most 96 KiB".to_owned();
                assert_eq!(told, (!fine).then_some(expected), "{words} words, {times} times {mark}");
            }
        }
    }
    for mark in marks {
        let statement = format!("SELECT {} FROM search WHERE search MATCH 'a'", [mark; 3].join(", "));
        assert!(matches!(storage.query(&statement, &[]), Err(SqlError::Denied(_))), "{mark}");
    }
    assert!(storage.query("SELECT text FROM search WHERE search MATCH 'a'", &[]).is_ok());
}
