use rusqlite::{Connection, ErrorCode};

use tokio::time::Instant;

use crate::{Bound, LOOK, affords, late, late_after, open_in_memory, promises, written};

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

#[test]
fn after_the_deadline_what_is_asked_for_at_a_look_is_refused_and_what_is_small_is_not() {
    let connection = open_in_memory().unwrap();
    connection.execute_batch("SELECT 1").unwrap();
    let ample = 64 * MIB;
    let later = Instant::now().checked_add(std::time::Duration::from_secs(3600));
    let bound = Bound::until(ample, later);
    assert_eq!(hold(&connection, MIB), Ok(MIB as i64));
    assert!(!late() && !bound.overran());
    drop(bound);
    let bound = Bound::until(ample, Some(Instant::now()));
    // Whatever was taken before, the next look is no further than that.
    assert!(late_after(LOOK));
    assert!(bound.overran());
    drop(bound);
    let bound = Bound::until(ample, Some(Instant::now()));
    assert!(!late_after(LOOK / 2) && !bound.overran());
    assert_eq!(length(&connection, "SELECT length('a' || 'b')"), Ok(2));
    assert!(!bound.overran());
    assert!(is_out_of_memory(hold(&connection, MIB)));
    assert!(bound.overran() && !bound.exceeded());
    drop(bound);
    assert!(!late());
    assert_eq!(hold(&connection, MIB), Ok(MIB as i64));
}

#[test]
fn many_small_blocks_are_looked_at_too() {
    let connection = open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE notes (text)").unwrap();
    let insert = format!("INSERT INTO notes VALUES {}", vec!["(1)"; 2000].join(", "));
    let bound = Bound::until(64 * MIB, Some(Instant::now()));
    assert!(is_out_of_memory(connection.prepare(&insert).map(|_| ())));
    assert!(bound.overran());
}

#[test]
fn what_was_promised_is_given_after_the_deadline_too() {
    let connection = open_in_memory().unwrap();
    let mut statement = connection.prepare("SELECT length(hex(zeroblob(500000)))").unwrap();
    let _bound = Bound::until(64 * MIB, Some(Instant::now()));
    assert!(affords(4 * MIB) && promises(4 * MIB));
    assert_eq!(statement.query_row((), |row| row.get(0)), Ok(1_000_000));
    assert!(promises(MIB / 4));
    assert!(is_out_of_memory(statement.query_row((), |row| row.get::<_, i64>(0))));
}

#[test]
fn one_within_another_is_held_to_both_deadlines() {
    let connection = open_in_memory().unwrap();
    let outer = Bound::until(64 * MIB, Some(Instant::now()));
    let inner = Bound::new(64 * MIB);
    assert!(is_out_of_memory(hold(&connection, MIB)));
    assert!(inner.overran());
    drop(inner);
    assert!(outer.overran());
}

#[test]
fn numbers_are_written_as_sqlite_writes_them() {
    let connection = open_in_memory().unwrap();
    let largest = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, f64::INFINITY, f64::NEG_INFINITY];
    let usual = [0.0, -0.0, 0.1, 1.0, -2.5, 1e15, 1e16, 123_456_789_012_345_680.0, 1e-5, 1.0 / 3.0, 1e100];
    for real in largest.into_iter().chain(usual) {
        let text = connection.query_row("SELECT ?1 || ''", [real], |row| row.get::<_, String>(0));
        assert_eq!(text, Ok(written(real)));
    }
}

#[test]
fn a_block_that_is_larger_than_one_may_be_is_refused_until_the_bound_ends() {
    let connection = open_in_memory().unwrap();
    let bound = Bound::new(64 * MIB);
    assert_eq!(hold(&connection, MIB), Ok(MIB as i64));
    bound.no_block_beyond(MIB / 2);
    assert_eq!(hold(&connection, MIB / 4), Ok(MIB as i64 / 4));
    assert!(!affords(64 * MIB) && bound.exceeded() && !bound.blocked());
    assert!(is_out_of_memory(hold(&connection, MIB)));
    assert!(bound.blocked());
    assert!(affords(MIB), "all together may be more");
    drop(bound);
    assert_eq!(hold(&connection, MIB), Ok(MIB as i64));
}
