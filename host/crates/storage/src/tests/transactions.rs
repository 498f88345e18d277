use std::time::Duration;

use super::*;
use crate::{Entry, SqlError};

/// A statement that would go on for ever, and writes.
const ENDLESS: &str = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
                       INSERT INTO notes (text) SELECT 'x' FROM n WHERE i < 0 OR i % 1000 = 0";

/// An agent whose statements may take a tenth of a second, and that has committed something.
fn new() -> (House, Storage) {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.means.time = Duration::from_millis(100);
    storage.execute("CREATE TABLE notes (text, at TEXT DEFAULT CURRENT_TIMESTAMP)", &[]).unwrap();
    storage.set("before", b"1").unwrap();
    storage.commit().unwrap();
    (house, storage)
}

fn notes(storage: &mut Storage) -> usize {
    storage.query("SELECT text FROM notes", &[]).unwrap().next(usize::MAX).len()
}

/// Closes it and looks at the file as it is then.
fn check(house: &House, mut storage: Storage) {
    storage.close().unwrap();
    let connection = rookery_sqlite::open(house.path("alice")).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

fn is_lost(storage: &mut Storage) -> bool {
    matches!(storage.get("before"), Err(StorageError::Unavailable(text)) if text.contains("had to be undone"))
}

/// Has the transaction undone with a statement that takes too long. On a busy machine its time may be over before it writes
/// anything, and then nothing is undone but the statement.
fn lose(storage: &mut Storage) {
    for _ in 0..100 {
        assert_eq!(storage.execute(ENDLESS, &[]), Err(SqlError::TooSlow));
        if is_lost(storage) {
            return;
        }
    }
    panic!("what was written before still stands");
}

#[test]
fn a_change_that_takes_too_long_is_undone_and_what_was_written_before_stands() {
    let (house, mut storage) = new();
    let insert = "INSERT INTO notes (text, at) VALUES (?, 'then') RETURNING text";
    storage.set("a", b"1").unwrap();
    storage.set_many(&[Entry { key: "b".into(), value: b"2".into() }]).unwrap();
    storage.query(insert, &[text("first")]).unwrap();
    storage.delete("before").unwrap();
    for _ in 0..2 {
        assert_eq!(storage.execute(ENDLESS, &[]), Err(SqlError::TooSlow));
        assert_eq!((storage.get("a"), storage.get("before")), (Ok(Some(b"1".into())), Ok(None)));
        assert_eq!(notes(&mut storage), 1);
    }
    storage.set("c", b"3").unwrap();
    storage.commit().unwrap();
    drop(storage);
    let mut storage = house.agent("alice");
    let all = ["a", "b", "c", "before"].map(|key| storage.get(key).unwrap().is_some());
    assert_eq!((all, notes(&mut storage)), ([true, true, true, false], 1));
    check(&house, storage);
}

#[test]
fn a_change_that_takes_too_long_with_nothing_before_it_leaves_nothing() {
    let (house, mut storage) = new();
    assert_eq!(storage.execute(ENDLESS, &[]), Err(SqlError::TooSlow));
    assert_eq!((notes(&mut storage), storage.commit()), (0, Ok(())));
    assert_eq!(storage.get("before"), Ok(Some(b"1".into())));
    check(&house, storage);
}

#[test]
fn a_query_that_takes_too_long_touches_nothing() {
    let (_house, mut storage) = new();
    storage.execute("INSERT INTO notes (text) VALUES (random())", &[]).unwrap();
    let endless = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    assert_eq!(storage.query(endless, &[]), Err(SqlError::TooSlow));
    assert_eq!(notes(&mut storage), 1);
}

#[test]
fn what_would_come_out_differently_the_second_time_is_lost_and_the_commit_says_so() {
    let random = "INSERT INTO notes (text, at) VALUES (random(), 1)";
    let default = "INSERT INTO notes (text) VALUES (1)";
    let trigger = "INSERT INTO other VALUES (1)";
    for write in [random, default, trigger] {
        let (house, mut storage) = new();
        storage.execute("CREATE TABLE other (a)", &[]).unwrap();
        let made = "CREATE TRIGGER made AFTER INSERT ON other BEGIN \
                    INSERT INTO notes VALUES (hex(randomblob(8)), 1); END";
        storage.execute(made, &[]).unwrap();
        storage.commit().unwrap();
        storage.execute(write, &[]).unwrap();
        lose(&mut storage);
        assert!(matches!(storage.set("a", b""), Err(StorageError::Unavailable(_))));
        assert!(matches!(
            storage.query("SELECT 1", &[]),
            Err(SqlError::Storage(StorageError::Unavailable(_)))
        ));
        assert!(matches!(storage.commit(), Err(SqlError::Storage(StorageError::Unavailable(_)))));
        assert_eq!((notes(&mut storage), storage.get("before")), (0, Ok(Some(b"1".into()))));
        storage.set("a", b"").unwrap();
        storage.commit().unwrap();
        check(&house, storage);
    }
}

#[test]
fn what_is_too_much_to_write_again_is_lost_and_can_be_rolled_back() {
    let (_house, mut storage) = new();
    storage.set("large", &vec![1; 2 * MIB]).unwrap();
    lose(&mut storage);
    storage.rollback();
    assert_eq!(storage.get("before"), Ok(Some(b"1".into())));
    storage.commit().unwrap();
}

#[test]
fn a_statement_that_undoes_the_transaction_undoes_only_itself() {
    let (_house, mut storage) = new();
    storage.execute("CREATE TABLE one (a UNIQUE)", &[]).unwrap();
    storage.set("a", b"1").unwrap();
    let error = storage.execute("INSERT OR ROLLBACK INTO one VALUES (1), (2), (1)", &[]).unwrap_err();
    assert_eq!(error, SqlError::Constraint("UNIQUE constraint failed: one.a".into()));
    assert_eq!(storage.get("a"), Ok(Some(b"1".into())));
    storage.commit().unwrap();
    assert_eq!(storage.get("a"), Ok(Some(b"1".into())));
    assert_eq!(storage.execute("INSERT INTO one VALUES (1)", &[]), Ok(1));
}

#[test]
fn what_would_be_too_large_is_refused_before_it_is_made() {
    let (_house, mut storage) = new();
    for expression in [
        "zeroblob(1000000000)",
        "randomblob(1000000000)",
        "printf('%.*c', 1000000000, 'x')",
        "printf('%1000000000d', 1)",
        "hex(zeroblob(2000000))",
        "replace(hex(zeroblob(500000)), '0', 'xxxxxxxxxxxxxxxx')",
        "hex(zeroblob(1000000)) || hex(zeroblob(1000000))",
        "(SELECT group_concat(hex(zeroblob(100000))) FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11)))",
    ] {
        let error = storage.query(&format!("SELECT {expression}"), &[]).unwrap_err();
        assert!(matches!(error, SqlError::Storage(StorageError::OutOfBounds(_))), "{expression}: {error:?}");
    }
}

#[test]
fn functions_that_could_take_for_ever_do_not() {
    let (_house, mut storage) = new();
    storage.means.time = Duration::from_secs(60);
    let large = "WITH big (x, y) AS (SELECT printf('%.*c', 2000000, 'x'), printf('%.*c', 2000000, 'y'))";
    for (expression, expected) in [
        ("instr(x, substr(x, 1000001) || 'y')", Value::Integer(0)),
        ("length(replace(x, substr(x, 1000001) || 'y', ''))", Value::Integer(2_000_000)),
        ("length(trim(x, y))", Value::Integer(2_000_000)),
        ("length(ltrim(x || 'y', 'xz'))", Value::Integer(1)),
        ("x LIKE '%' || substr(x, 1, 240) || 'y%'", Value::Integer(0)),
    ] {
        let mut rows = storage.query(&format!("{large} SELECT {expression} FROM big"), &[]).unwrap();
        assert_eq!(rows.next(9), [[expected]], "{expression}");
    }
    // And they are SQLite's to the letter; `rusqlite` alone is what they are compared with.
    let sqlite = rookery_sqlite::open_in_memory().unwrap();
    for expression in [
        "instr('héllo', 'l')",
        "instr(x'0102c302', x'02')",
        "instr('abc', '')",
        "instr('', 'a')",
        "instr(123, 2)",
        "instr(NULL, 'a')",
        "instr('a', NULL)",
        "instr(x'6162', 'b')",
        "instr(1.5, '.')",
        "replace('aXbX', 'X', 'yz')",
        "replace('aaa', 'aa', 'b')",
        "replace('a', '', 'b')",
        "replace(NULL, 'a', 'b')",
        "replace('a', NULL, 'b')",
        "replace('a', 'a', NULL)",
        "replace(1213, 1, 'é')",
        "typeof(replace(12, 3, 4))",
        "trim('  a  ', ' ')",
        "trim('éaé', 'é')",
        "ltrim('xxax', 'x')",
        "rtrim('xaxx', 'x')",
        "trim('abc', '')",
        "trim(NULL, 'a')",
        "trim('a', NULL)",
        "trim(1101, 1)",
        "trim('aaa', 'a')",
        "trim(' a ')",
        "ltrim('  a  ') || rtrim('  b  ')",
        "trim(x'20612020')",
        "trim(NULL)",
        "trim(1e16, '1')",
        "instr(1e300, '+')",
        "replace(0.1, '.', 1e-7)",
        "replace(-9e999, 'I', 'i')",
        "replace('', 'a', 'b')",
    ] {
        let statement = format!("SELECT quote({expression})");
        let expected: String = sqlite.query_row(&statement, (), |row| row.get(0)).unwrap();
        assert_eq!(storage.query(&statement, &[]).unwrap().next(1), [[text(&expected)]], "{expression}");
    }
}

#[test]
fn an_agent_that_is_full_is_told_so_keeps_what_it_had_and_deleting_makes_room() {
    let house = House::new();
    let mut storage = house.databases.agent(&agent("alice"), 8 * MIB as u64);
    storage.execute("CREATE TABLE notes (text, n)", &[]).unwrap();
    storage.commit().unwrap();
    let value = vec![7; MIB];
    let mut kept = 0;
    // All in one transaction, and more than would be written again.
    while storage
        .set(&format!("k{kept}"), &value)
        .map_err(|error| assert_eq!(error, StorageError::Full))
        .is_ok()
    {
        kept += 1;
    }
    assert_eq!(kept, 7);
    let many: Vec<_> = (0..9).map(|n| Entry { key: format!("m{n}"), value: vec![1; 200_000] }).collect();
    assert_eq!(storage.set_many(&many), Err(StorageError::Full));
    assert_eq!(storage.get("m0"), Ok(None), "none of them");
    let insert = "INSERT INTO notes (text) VALUES (?)";
    let mut inserted = 0;
    while storage.execute(insert, &[Value::Blob(vec![7; 100_000])]).is_ok() {
        inserted += 1;
    }
    assert!((1..10).contains(&inserted), "{inserted}");
    let full = Err(SqlError::Storage(StorageError::Full));
    assert_eq!(storage.execute(insert, &[Value::Blob(vec![7; 2 * MIB])]), full);
    assert_eq!(
        storage
            .execute(
                "CREATE TABLE more AS SELECT b FROM json_each('[1,2,3]'), (SELECT zeroblob(500000) AS b)",
                &[]
            )
            .err(),
        full.err()
    );
    storage.commit().unwrap();
    let size = std::fs::metadata(house.path("alice")).unwrap().len();
    assert!(size <= 8 * MIB as u64);
    assert_eq!((0..kept).filter(|n| storage.get(&format!("k{n}")).unwrap().is_some()).count(), 7);
    assert_eq!(notes(&mut storage), inserted);
    assert!(storage.delete("k0").unwrap());
    storage.set("k9", &value).unwrap();
    storage.commit().unwrap();
    check(&house, storage);
    assert!(std::fs::metadata(house.path("alice")).unwrap().len() <= 8 * MIB as u64);
}

#[test]
fn a_change_of_many_rows_that_finds_no_room_is_undone_and_what_was_before_stands() {
    let house = House::new();
    let mut storage = house.databases.agent(&agent("alice"), MIB as u64);
    storage.execute("CREATE TABLE notes (text)", &[]).unwrap();
    storage.commit().unwrap();
    storage.set("a", b"1").unwrap();
    let flood = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
                 INSERT INTO notes (text) SELECT zeroblob(100000) FROM n";
    for _ in 0..2 {
        assert_eq!(storage.execute(flood, &[]), Err(SqlError::Storage(StorageError::Full)));
        assert_eq!((storage.get("a"), notes(&mut storage)), (Ok(Some(b"1".into())), 0));
    }
    storage.commit().unwrap();
    check(&house, storage);
}

#[test]
fn a_file_that_has_shrunk_by_much_gives_its_room_back_when_it_is_closed() {
    let (house, mut storage) = new();
    for n in 0..10 {
        storage.set(&format!("k{n}"), &vec![1; MIB]).unwrap();
    }
    storage.commit().unwrap();
    for n in 0..9 {
        storage.delete(&format!("k{n}")).unwrap();
    }
    storage.commit().unwrap();
    check(&house, storage);
    let size = std::fs::metadata(house.path("alice")).unwrap().len();
    assert!(size < 2 * MIB as u64, "{size}");
}

#[test]
fn a_schema_cannot_be_made_larger_than_memory_bears() {
    let (_house, mut storage) = new();
    storage.means.time = Duration::from_secs(60);
    let columns = (0..9_000).map(|n| format!("{n}")).collect::<Vec<_>>().join(", ");
    let view = |n: usize| format!("CREATE VIEW v{n} AS SELECT 1 WHERE 1 IN ({columns})");
    let mut made = 0;
    let error = loop {
        match storage.execute(&view(made), &[]) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, SqlError::Denied(text) if text.contains("512 KiB")), "{error:?}");
    assert!((5..20).contains(&made), "{made}");
    storage.query(&format!("SELECT * FROM v{}", made - 1), &[]).unwrap();
    storage.commit().unwrap();
}

#[test]
fn a_schema_cannot_be_made_larger_by_a_statement_that_failed_at_first() {
    let (_house, mut storage) = new();
    let long = "x".repeat(3900);
    let mut made = 0;
    let error = loop {
        // It is asked what it does only when it is prepared afresh.
        let statement = format!("CREATE TABLE t{made} AS SELECT ? AS {long}");
        storage.execute(&statement, &[]).unwrap_err();
        match storage.execute(&statement, &[text("a")]) {
            Ok(_) if made < 200 => made += 1,
            Ok(_) => panic!("it is {made} tables large"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, SqlError::Denied(text) if text.contains("512 KiB")), "{error:?}");
    assert!((100..140).contains(&made), "{made}");
}
