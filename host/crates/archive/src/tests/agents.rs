//! Which runs an agent has, however many of them are entered. There is no thread here that would enter them by itself.

use rookery_core::{Code, StateName};

use super::*;
use crate::agents::{MANY, count, enter};
use crate::reader;
use crate::retention::Sweeper;
use crate::writer::Writer;

fn writer(folder: &Path) -> Writer {
    let opened = crate::open::open(folder, crate::Durability::Normal).unwrap();
    Writer::new(opened.connection, opened.lock, opened.next)
}

/// Writes a run that is over.
fn put(writer: &mut Writer, agent: &str, ended: SystemTime, outcome: Outcome) -> RunId {
    let tape = Tape::with(agent, None, ended);
    tape.end_at(outcome, ended);
    writer.write(vec![tape.clone()]);
    assert_eq!(tape.committed(), [1]);
    tape.run
}

/// How many runs are entered, and up to which number.
fn entered(writer: &Writer) -> (i64, i64) {
    let both = "SELECT (SELECT count(*) FROM of_agent), up_to FROM entered";
    writer.connection.query_row(both, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn found(writer: &Writer, query: &Query) -> Vec<RunId> {
    reader::list(&writer.connection, query).unwrap().into_iter().map(|state| state.run).collect()
}

fn alice() -> Query {
    Query { agent: Some(agent("chat/alice")), ..EVERYTHING }
}

#[test]
fn the_runs_of_an_agent_are_found_in_order_whether_they_are_entered_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let failed = || Outcome::Failed(Failure::new(Code::Failed, "no"));
    let second = put(&mut writer, "chat/alice", at(2), Outcome::Done);
    put(&mut writer, "chat/bob", at(3), Outcome::Done);
    let fourth = put(&mut writer, "chat/alice", at(4), failed());
    enter(&writer.connection).unwrap();
    // Two of these are older than some that are entered: what was accepted first need not be written first.
    let [first, third] = [1, 3].map(|second| put(&mut writer, "chat/alice", at(second), Outcome::Done));
    let fifth = put(&mut writer, "chat/alice", at(5), failed());
    put(&mut writer, "chat/carol", at(6), Outcome::Done);
    assert_eq!(entered(&writer), (3, 3));

    let all = [fifth, fourth, third, second, first];
    for _ in 0..2 {
        assert_eq!(found(&writer, &alice()), all);
        for (at, before) in all.into_iter().enumerate() {
            let page = Query { before: Some(before), limit: 2, ..alice() };
            assert_eq!(found(&writer, &page), all[at + 1..].iter().copied().take(2).collect::<Vec<_>>());
        }
        let state = |state| Query { state: Some(state), ..alice() };
        assert_eq!(found(&writer, &state(StateName::Failed)), [fifth, fourth]);
        assert_eq!(found(&writer, &state(StateName::Done)), [third, second, first]);
        let counts = ["alice", "bob", "carol", "dave"].map(|name| count(&writer.connection, "chat", name));
        assert_eq!(counts.map(Result::unwrap), [5, 1, 1, 0]);
        assert_eq!(crate::count(folder.path(), &agent("chat/alice")).unwrap(), 5);
        enter(&writer.connection).unwrap();
        assert_eq!(entered(&writer), (7, 7));
    }
}

#[test]
fn runs_are_entered_when_they_are_many() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let mut tapes: Vec<Arc<Tape>> = (0..MANY).map(|n| Tape::new(&format!("chat/user-{}", n % 100))).collect();
    let last = tapes.pop().unwrap();
    writer.write(tapes.into_iter().map(|tape| tape as Arc<dyn Source>).collect());
    writer.enter_many();
    assert_eq!(entered(&writer), (0, 0));
    writer.write(vec![last]);
    writer.enter_many();
    assert_eq!(entered(&writer), (MANY, MANY));
}

#[test]
fn a_run_that_is_removed_is_entered_no_more_and_its_number_is_not_taken_for_one_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut former = writer(folder.path());
    for _ in 0..3 {
        put(&mut former, "chat/alice", at(5), Outcome::Done);
    }
    let mut sweeper = Sweeper::new(Duration::ZERO, 0);
    while sweeper.step(&mut former.connection, SystemTime::now()).unwrap() {}
    assert_eq!(entered(&former), (0, 3));
    drop(former);
    let mut writer = writer(folder.path());
    let new = put(&mut writer, "chat/alice", at(6), Outcome::Done);
    assert_eq!(found(&writer, &alice()), [new]);
}

#[test]
fn what_was_not_entered_when_the_process_died_is_found_and_entered_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut former = writer(folder.path());
    let run = put(&mut former, "chat/alice", at(5), Outcome::Done);
    let copy = crash(folder.path());
    let again = writer(copy.path());
    assert_eq!((entered(&again), found(&again, &alice())), ((0, 0), vec![run]));
    enter(&again.connection).unwrap();
    assert_eq!((entered(&again), found(&again, &alice())), ((1, 1), vec![run]));
}
