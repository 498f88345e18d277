//! Agents that are removed, and their runs with them.

use super::*;

fn forget(runs: &Runs, name: &str) -> Result<u64, ArchiveError> {
    wait(runs.forget(agent(name)))
}

fn count(runs: &Runs, name: &str) -> u64 {
    wait(runs.count(agent(name))).unwrap()
}

/// How many rows there are in each table.
fn rows_in(folder: &Path) -> [i64; 3] {
    let connection = rookery_sqlite::open(folder.join("runs.db")).unwrap();
    ["runs", "events", "removed"].map(|table| {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
    })
}

#[test]
fn of_an_agent_that_is_forgotten_nothing_is_left_and_others_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let other = done_run(&runs, "chat/bob", at(5));
    let same_name = done_run(&runs, "notes/alice", at(5));
    // More than a step removes, one of them with more events than a step removes.
    let large = Tape::with("chat/alice", Some("key"), at(1));
    for _ in 0..160 {
        large.text(&"x".repeat(64 * 1024));
    }
    large.end();
    large.settle(&runs);
    let mine: Vec<_> = (0..450).map(|_| done_run(&runs, "chat/alice", at(5)).run).collect();
    assert_eq!(count(&runs, "chat/alice"), 451);

    assert_eq!(forget(&runs, "chat/alice").unwrap(), 451);
    assert_eq!((count(&runs, "chat/alice"), forget(&runs, "chat/alice").unwrap()), (0, 0));
    assert_eq!((state(&runs, mine[0]), replay(&runs, large.run)), (None, vec![]));
    assert_eq!(wait(runs.by_key(agent("chat/alice"), "key".into())).unwrap(), None);
    assert_eq!(list(&runs, EVERYTHING), [same_name.run, other.run]);
    assert_eq!(replay(&runs, other.run), other.events());
    runs.close();
    assert_eq!(rows_in(folder.path()), [2, 0, 0], "nor is there anything that nobody sees");
}

#[test]
fn a_run_that_goes_on_is_not_forgotten_and_one_whose_log_was_lost_is() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let lost = Tape::new("chat/alice");
    lost.settle(&runs);
    // Its log has a gap, so nothing more of it is written.
    lost.write(Item::Outcome(Outcome::Done));
    lost.text("after the end");
    lost.wake(&runs);
    lost.wait_lost();
    let live = Tape::new("chat/alice");
    live.text("one");
    live.settle(&runs);

    assert_eq!(forget(&runs, "chat/alice").unwrap(), 1);
    assert_eq!(list(&runs, EVERYTHING), [live.run]);
    live.text("two");
    live.end();
    live.settle(&runs);
    assert_eq!(replay(&runs, live.run), live.events());
}

#[test]
fn who_forgets_and_who_writes_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    for _ in 0..450 {
        done_run(&runs, "chat/alice", at(5));
    }
    let forgetting = runs.forget(agent("chat/alice"));
    let tape = Tape::new("chat/bob");
    for n in 0..20 {
        tape.text(&format!("event {n}"));
        tape.settle(&runs);
    }
    assert_eq!(wait(forgetting).unwrap(), 450);
    assert_eq!(replay(&runs, tape.run), tape.events());
}

#[test]
fn after_the_end_nothing_is_forgotten_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    done_run(&runs, "chat/alice", at(5));
    runs.close();
    assert!(forget(&runs, "chat/alice").unwrap_err().to_string().contains("stopping"));
    assert_eq!(count(&open(folder.path()), "chat/alice"), 1);
}

#[test]
fn how_many_runs_there_are_is_told_beside_the_host_that_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let alice = agent("chat/alice");
    assert_eq!(crate::count(folder.path(), &alice).unwrap(), 0, "there are none at all");
    assert!(!folder.path().join("runs.db").exists());
    let runs = open(folder.path());
    done_run(&runs, "chat/alice", at(5));
    assert_eq!(crate::count(folder.path(), &alice).unwrap(), 1);
    runs.close();
    assert_eq!(crate::count(folder.path(), &alice).unwrap(), 1);
    std::fs::write(folder.path().join("runs.db"), "my notes\n".repeat(1000)).unwrap();
    assert!(matches!(crate::count(folder.path(), &alice), Err(crate::OpenError::NotOurs { .. })));
}
