use std::fs;

use super::*;

/// Rests until there is no more to be done; how often that was.
fn rest(storage: &mut Storage) -> usize {
    let mut times = 1;
    while storage.rest().unwrap() {
        times += 1;
    }
    times
}

#[test]
fn a_file_that_nothing_uses_is_closed_and_is_opened_by_whatever_is_asked_next() {
    let house = House::new();
    let mut alice = house.agent("alice");
    alice.execute("CREATE TABLE notes (text)", &[]).unwrap();
    alice.set("a", b"0").unwrap();
    alice.commit().unwrap();
    let uses: [fn(&mut Storage); 4] = [
        |storage| drop(storage.get("a").unwrap()),
        |storage| drop(storage.query("SELECT * FROM notes", &[]).unwrap()),
        |storage| drop(storage.alarms(None, 9).unwrap()),
        |storage| {
            storage.set("a", b"1").unwrap();
            storage.commit().unwrap();
        },
    ];
    for used in uses {
        used(&mut alice);
        rest(&mut alice);
        assert!(alice.is_open(), "it was used since the last time");
        rest(&mut alice);
        assert!(!alice.is_open());
        assert_eq!(files(&house.folder.path().join("agents/chat")), ["alice.db"]);
    }
    assert_eq!(alice.get("a"), Ok(Some(b"1".into())));
    assert!(alice.is_open());
}

#[test]
fn nothing_is_closed_or_undone_while_something_is_written_that_is_not_committed() {
    let house = House::new();
    let mut alice = house.agent("alice");
    alice.set("a", b"1").unwrap();
    for _ in 0..3 {
        rest(&mut alice);
        assert!(alice.is_open());
    }
    alice.commit().unwrap();
    rest(&mut alice);
    assert!(!alice.is_open(), "it is the use that counts, not the commit");
    assert_eq!(alice.get("a"), Ok(Some(b"1".into())));
    alice.set("a", b"2").unwrap();
    rest(&mut alice);
    rest(&mut alice);
    alice.rollback();
    assert_eq!(alice.get("a"), Ok(Some(b"1".into())), "the transaction was still the same one");
}

#[test]
fn what_a_query_found_is_there_when_the_file_has_been_closed() {
    let house = House::new();
    let mut alice = house.agent("alice");
    alice.set("a", b"1").unwrap();
    alice.commit().unwrap();
    let mut rows = alice.query("WITH n(x) AS (VALUES (1), (2)) SELECT x FROM n", &[]).unwrap();
    assert_eq!(rows.next(1), [[Value::Integer(1)]]);
    rest(&mut alice);
    rest(&mut alice);
    assert!(!alice.is_open());
    assert_eq!(rows.next(9), [[Value::Integer(2)]]);
}

#[test]
fn an_agent_whose_file_was_closed_keeps_its_limit_and_is_told_where_it_cannot_be_opened() {
    let house = House::new();
    let mut alice = house.databases.agent(&agent("alice"), 1 << 20);
    alice.set("a", b"1").unwrap();
    alice.commit().unwrap();
    rest(&mut alice);
    rest(&mut alice);
    assert_eq!(alice.set("b", &[0; 2 << 20]), Err(StorageError::Full));
    alice.set("a", b"2").unwrap();
    alice.commit().unwrap();
    rest(&mut alice);
    rest(&mut alice);
    fs::write(house.path("alice"), "no database ".repeat(1000)).unwrap();
    assert!(matches!(alice.get("a"), Err(StorageError::Unavailable(_))));
    assert!(matches!(alice.set("a", b"3"), Err(StorageError::Unavailable(_))));
}

#[test]
fn an_agent_that_has_no_file_lets_go_of_what_it_read_instead_and_gets_none() {
    let house = House::new();
    let mut alice = house.agent("alice");
    assert_eq!(alice.get("a"), Ok(None));
    rest(&mut alice);
    rest(&mut alice);
    assert_eq!(files(&house.folder.path().join("agents/chat")), Vec::<String>::new());
    assert_eq!(alice.get("a"), Ok(None));
    alice.set("a", b"1").unwrap();
    alice.commit().unwrap();
    assert_eq!(alice.get("a"), Ok(Some(b"1".into())));
}

#[test]
fn what_is_not_used_any_more_is_given_back_little_by_little_before_a_file_is_closed() {
    let house = House::new();
    let mut alice = house.agent("alice");
    for key in 0..200 {
        alice.set(&key.to_string(), &[7; 100_000]).unwrap();
    }
    alice.commit().unwrap();
    for key in 1..200 {
        alice.delete(&key.to_string()).unwrap();
    }
    alice.commit().unwrap();
    assert_eq!(rest(&mut alice), 1, "it was used");
    assert!(alice.rest().unwrap() && alice.is_open());
    assert_eq!(alice.get("0"), Ok(Some(vec![7; 100_000])));
    assert_eq!(rest(&mut alice), 1, "it was used in between, which comes first");
    assert!((2..9).contains(&rest(&mut alice)), "of 20 MiB 4 at a time, until little is left");
    assert!(!alice.is_open());
    let bytes = fs::metadata(house.path("alice")).unwrap().len();
    assert!(bytes < 1 << 20, "there are {bytes} bytes left of 20 MiB");
    assert_eq!(alice.get("0"), Ok(Some(vec![7; 100_000])));
}

#[test]
fn a_file_that_is_being_copied_is_let_go_and_who_copies_it_tidies_up() {
    let house = House::new();
    let mut alice = house.agent("alice");
    alice.set("a", b"1").unwrap();
    alice.commit().unwrap();
    let copier = rookery_sqlite::open(house.path("alice")).unwrap();
    copier.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    alice.set("a", b"2").unwrap();
    alice.commit().unwrap();
    rest(&mut alice);
    rest(&mut alice);
    assert!(!alice.is_open());
    assert_eq!(alice.get("a"), Ok(Some(b"2".into())));
    alice.set("a", b"3").unwrap();
    alice.commit().unwrap();
    rest(&mut alice);
    rest(&mut alice);
    assert!(files(&house.folder.path().join("agents/chat")).len() > 1, "the copy's moment is in the log");
    copier.execute_batch("COMMIT").unwrap();
    copier.close().unwrap();
    assert_eq!(files(&house.folder.path().join("agents/chat")), ["alice.db"]);
    assert_eq!(alice.get("a"), Ok(Some(b"3".into())));
}
