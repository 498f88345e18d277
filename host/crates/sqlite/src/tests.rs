use rusqlite::{Connection, ErrorCode};

use crate::{Bound, affords, open_in_memory};

const MIB: usize = 1 << 20;

fn length(connection: &Connection, statement: &str) -> rusqlite::Result<i64> {
    connection.query_row(statement, (), |row| row.get(0))
}

/// Has SQLite hold so many bytes and a little.
fn hold(connection: &Connection, bytes: usize) -> rusqlite::Result<i64> {
    length(connection, &format!("SELECT length(hex(randomblob({bytes} / 2)))"))
}

fn is_out_of_memory<T: std::fmt::Debug>(result: rusqlite::Result<T>) -> bool {
    result.expect_err("too much").sqlite_error_code() == Some(ErrorCode::OutOfMemory)
}

#[test]
fn a_statement_that_takes_more_than_the_bound_fails_and_the_next_one_goes_on() {
    let connection = open_in_memory().unwrap();
    let bound = Bound::new(4 * MIB);
    assert_eq!(hold(&connection, MIB), Ok(MIB as i64));
    assert!(!bound.exceeded());
    assert!(is_out_of_memory(hold(&connection, 8 * MIB)));
    assert!(bound.exceeded());
    assert_eq!(hold(&connection, MIB), Ok(MIB as i64));
    assert!(bound.exceeded(), "it was");
    drop(bound);
    assert_eq!(hold(&connection, 8 * MIB), Ok(8 * MIB as i64));
}

#[test]
fn without_a_bound_nothing_is_refused_and_another_threads_bound_is_none() {
    let connection = open_in_memory().unwrap();
    let _bound = Bound::new(0);
    let other = std::thread::scope(|scope| {
        let there = || (hold(&open_in_memory().unwrap(), 64 * MIB), affords(usize::MAX >> 1));
        scope.spawn(there).join().unwrap()
    });
    assert_eq!(other, (Ok(64 * MIB as i64), true));
    assert!(is_out_of_memory(hold(&connection, MIB)));
}

#[test]
fn the_bound_is_exact_and_what_is_given_back_makes_room() {
    let _bound = Bound::new(MIB);
    assert!(affords(MIB) && !affords(MIB + 1));
    let connection = open_in_memory().unwrap();
    assert!(!affords(MIB), "a connection takes something");
    drop(connection);
    // What SQLite keeps from its first connection on is none of that one's.
    let left = (0..=MIB).rev().find(|bytes| affords(*bytes)).unwrap();
    assert!(left > MIB - (16 << 10), "{left}");
}

#[test]
fn what_was_there_before_does_not_count_and_makes_room_when_it_goes() {
    let connection = open_in_memory().unwrap();
    connection
        .execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES (randomblob(8000000))")
        .unwrap();
    let bound = Bound::new(MIB);
    assert_eq!(length(&connection, "SELECT count(*) FROM notes"), Ok(1));
    assert!(!affords(2 * MIB));
    drop(connection);
    assert!(affords(8 * MIB));
    assert!(bound.exceeded());
}

#[test]
fn one_within_another_is_held_to_both_and_what_is_refused_counts_for_both() {
    let outer = Bound::new(4 * MIB);
    let inner = Bound::new(MIB);
    assert!(!affords(2 * MIB));
    assert!(inner.exceeded());
    drop(inner);
    assert!(outer.exceeded());
    assert!(affords(4 * MIB));
    let inner = Bound::new(8 * MIB);
    assert!(!inner.exceeded(), "not yet");
    assert!(affords(4 * MIB) && !affords(5 * MIB));
    drop(inner);
    drop(outer);
    assert!(!Bound::new(MIB).exceeded());
    assert!(affords(usize::MAX >> 1));
}

#[test]
fn memory_that_is_moved_counts_twice_while_both_are_there() {
    let connection = open_in_memory().unwrap();
    let joined = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1200) \
                  SELECT length(group_concat(printf('%.*c', 1000, 'x'), '')) FROM n";
    let bound = Bound::new(5 * MIB);
    assert_eq!(length(&connection, joined), Ok(1_200_000));
    drop(bound);
    // The text grows from one MiB to two.
    let bound = Bound::new(2 * MIB + MIB / 2);
    assert!(is_out_of_memory(length(&connection, joined)));
    assert!(bound.exceeded());
}

#[test]
fn blocks_keep_what_is_in_them_whatever_their_size() {
    let connection = open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE notes (text)").unwrap();
    let mut insert = connection.prepare("INSERT INTO notes VALUES (?)").unwrap();
    let text = |length: usize| (0..length).map(|at| char::from(b'a' + (at % 26) as u8)).collect::<String>();
    let lengths = [0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 4095, 4096, 4097, 70_000, 3 * MIB];
    for length in lengths {
        insert.execute([text(length)]).unwrap();
    }
    let mut select = connection.prepare("SELECT text || text FROM notes ORDER BY rowid").unwrap();
    let mut rows = select.query(()).unwrap();
    for length in lengths {
        let found: String = rows.next().unwrap().unwrap().get(0).unwrap();
        assert!(found == text(length).repeat(2), "{length}");
    }
}
