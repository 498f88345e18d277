use rusqlite::Connection;

use super::*;
use crate::retention::Sweeper;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn count(connection: &Connection, table: &str) -> i64 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
}

#[test]
fn finished_runs_go_when_they_are_too_old_and_unfinished_ones_never() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::open(&Settings { keep_for: DAY, ..settings(folder.path()) }).unwrap();
    let now = SystemTime::now();
    let old = done_run(&runs, "chat/alice", now - DAY - Duration::from_secs(60));
    let young = done_run(&runs, "chat/alice", now - DAY + Duration::from_secs(60));
    let unfinished = Tape::with("chat/alice", None, now - 2 * DAY);
    unfinished.start(1);
    unfinished.text("still here");
    unfinished.settle(&runs);
    let took_long = Tape::with("chat/alice", None, now - 2 * DAY);
    took_long.end_at(Outcome::Done, now - DAY + Duration::from_secs(60));
    took_long.settle(&runs);
    runs.sweep_now();
    assert_eq!((state(&runs, old.run), replay(&runs, old.run)), (None, vec![]));
    assert_eq!(list(&runs, EVERYTHING), [young.run, took_long.run, unfinished.run]);
    for kept in [young, took_long] {
        assert_eq!(replay(&runs, kept.run), kept.events());
    }
    assert_eq!(replay(&runs, unfinished.run), unfinished.events());
    unfinished.end_at(Outcome::Done, now);
    unfinished.settle(&runs);
}

#[test]
fn of_each_agent_the_newest_finished_runs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::open(&Settings { keep: 3, ..settings(folder.path()) }).unwrap();
    let mut kept = Vec::new();
    // More agents than a step looks at, some with too many runs.
    for n in 0..150 {
        let agent = format!("chat/user-{n}");
        let unfinished = Tape::new(&agent);
        unfinished.settle(&runs);
        kept.push(unfinished.run);
        let all: Vec<_> = (0..n % 6).map(|_| done_run(&runs, &agent, at(5)).run).collect();
        kept.extend(&all[all.len().saturating_sub(3)..]);
    }
    runs.sweep_now();
    kept.sort();
    kept.reverse();
    assert_eq!(list(&runs, EVERYTHING), kept);
}

#[test]
fn a_key_is_free_again_when_its_run_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::open(&Settings { keep: 0, ..settings(folder.path()) }).unwrap();
    for _ in 0..2 {
        let tape = Tape::with("chat/alice", Some("key"), at(1));
        tape.end();
        tape.settle(&runs);
        runs.sweep_now();
        assert_eq!(wait(runs.by_key(agent("chat/alice"), "key".into())).unwrap(), None);
    }
}

#[test]
fn a_step_removes_little_and_what_is_half_removed_is_seen_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let large = Tape::with("chat/large", None, at(1));
    for _ in 0..320 {
        large.text(&"x".repeat(64 * 1024));
    }
    large.end_at(Outcome::Done, at(1));
    large.settle(&runs);
    for _ in 0..500 {
        done_run(&runs, "chat/small", at(5));
    }
    runs.close();
    let path = folder.path().join("runs.db");
    let mut connection = rookery_sqlite::open(&path).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    let mut sweeper = Sweeper::new(DAY, 1000);
    let (mut steps, mut blocks) = (0, count(&connection, "events"));
    loop {
        let (all, more) =
            (count(&connection, "runs"), sweeper.step(&mut connection, SystemTime::now()).unwrap());
        assert!(all - count(&connection, "runs") <= 200);
        // Of 4 MiB, by 64 KiB; the small ones are bounded by their number.
        let left = count(&connection, "events");
        assert!(blocks - left <= 64 || count(&connection, "removed") == 0 || blocks - left <= 4096);
        blocks = left;
        steps += 1;
        if steps == 1 {
            assert!(blocks > 200, "the large one is there in part");
            assert_eq!(crate::reader::state(&connection, large.run).unwrap(), None);
            assert_eq!(crate::reader::events(&connection, large.run, 0, 1).unwrap(), []);
        }
        if !more {
            break;
        }
    }
    assert!(steps >= 5, "{steps}");
    assert_eq!(["runs", "events", "removed"].map(|table| count(&connection, table)), [0, 0, 0]);
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < size / 2, "the disk gets its space back");
}

#[test]
fn a_number_is_never_used_again_while_there_are_events_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::open(&Settings { keep: 0, ..settings(folder.path()) }).unwrap();
    let first = done_run(&runs, "chat/alice", at(5));
    runs.sweep_now();
    let second = Tape::new("chat/alice");
    second.text("mine");
    second.settle(&runs);
    assert_eq!(replay(&runs, first.run), []);
    assert_eq!(replay(&runs, second.run), second.events());
}

#[test]
fn old_runs_go_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::open(&Settings { keep: 1, ..settings(folder.path()) }).unwrap();
    for _ in 0..3 {
        done_run(&runs, "chat/alice", at(5));
    }
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    while list(&runs, EVERYTHING).len() > 1 {
        assert!(tokio::time::Instant::now() < patience);
        wait(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }
}
