use rusqlite::Connection;

use super::*;
use crate::open::Opened;
use crate::writer::Writer;
use crate::{open, reader};
use rookery_core::Durability;

fn writer(folder: &Path) -> Writer {
    let Opened { connection, lock, next, .. } = open::open(folder, Durability::Normal).unwrap();
    Writer::new(connection, lock, next)
}

fn write(writer: &mut Writer, tapes: &[&Arc<Tape>]) {
    writer.write(tapes.iter().map(|tape| (*tape).clone() as Arc<dyn Source>).collect());
}

fn events(writer: &Writer, tape: &Tape) -> Vec<Event> {
    reader::events(&writer.connection, tape.run, 0, usize::MAX).unwrap()
}

fn check(connection: &Connection) {
    let sound: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[test]
fn a_run_that_cannot_be_written_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let first = Tape::with("chat/alice", Some("key"), at(1));
    write(&mut writer, &[&first]);
    let [before, after] = [0, 1].map(|_| Tape::new("chat/bob"));
    let twin = Tape::with("chat/alice", Some("key"), at(1));
    let unknown = Tape::new("chat/bob");
    unknown.take();
    for tape in [&before, &twin, &unknown, &after] {
        tape.text("hello");
    }
    write(&mut writer, &[&before, &twin, &unknown, &after]);
    for tape in [&before, &after] {
        assert_eq!((tape.committed(), tape.lost()), (vec![1], None));
        assert_eq!(events(&writer, tape), tape.events());
    }
    for tape in [&twin, &unknown] {
        assert!(tape.lost().unwrap().starts_with(&format!("run {} could not be written down", tape.run)));
        assert_eq!((tape.committed(), events(&writer, tape)), (vec![], vec![]));
    }
}

#[test]
fn a_gap_or_an_event_after_the_outcome_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let (gap, late, later) = (Tape::new("chat/a"), Tape::new("chat/b"), Tape::new("chat/c"));
    gap.text("1");
    later.end();
    write(&mut writer, &[&gap, &later]);
    gap.text("2");
    gap.take();
    gap.text("3");
    late.end();
    late.text("after the end");
    later.text("after the end");
    write(&mut writer, &[&gap, &late, &later]);
    assert!(gap.lost().unwrap().ends_with("event 3 was handed over where event 2 was due"));
    assert!(late.lost().unwrap().ends_with("something was handed over after the outcome"));
    assert!(later.lost().unwrap().ends_with("its log has ended"));
    assert_eq!([&gap, &late, &later].map(|tape| events(&writer, tape).len()), [1, 0, 1]);
}

#[test]
fn on_a_full_disk_runs_are_lost_the_database_stays_sound_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let old = Tape::new("chat/alice");
    old.text("before");
    write(&mut writer, &[&old]);
    let pages = |writer: &Writer, number: i64| {
        let set = |_: &rusqlite::Row<'_>| Ok(());
        writer.connection.pragma_update_and_check(None, "max_page_count", number, set).unwrap();
    };
    pages(&writer, 40);
    let (large, small) = (Tape::new("chat/bob"), Tape::new("chat/carol"));
    large.text(&"x".repeat(1 << 20));
    small.text("small");
    write(&mut writer, &[&large, &small]);
    assert!(large.lost().unwrap().ends_with("the disk is full"), "{:?}", large.lost());
    assert_eq!(small.committed(), [1], "there was room for this one");
    assert_eq!((events(&writer, &large), events(&writer, &old)), (vec![], old.events()));

    large.text("more");
    write(&mut writer, &[&large]);
    assert!(large.lost().unwrap().ends_with("its log has ended"), "nothing more of a lost run is written");
    pages(&writer, 1 << 30);
    let new = Tape::new("chat/bob");
    new.text(&"x".repeat(1 << 20));
    old.end();
    write(&mut writer, &[&new, &old]);
    assert_eq!((new.committed(), old.committed()), (vec![1], vec![1, 2]));
    check(&writer.connection);
}

#[test]
fn a_flood_is_written_after_the_others_and_both_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let (flood, small) = (Tape::new("chat/flood"), Tape::new("chat/small"));
    for _ in 0..200 {
        flood.text(&"x".repeat(64 * 1024));
    }
    small.end();
    write(&mut writer, &[&flood, &small]);
    let numbers = "SELECT no FROM runs WHERE name = ?";
    let number = |name: &str| writer.connection.query_row(numbers, [name], |row| row.get::<_, i64>(0));
    assert!(number("small").unwrap() < number("flood").unwrap());
    assert_eq!(events(&writer, &flood), flood.events());
    let largest: i64 =
        writer.connection.query_row("SELECT max(length(items)) FROM events", (), |row| row.get(0)).unwrap();
    assert!(largest < 2 * 64 * 1024 + 100, "a reader of a page does not load the flood");
}

#[test]
fn after_the_end_sources_and_readers_are_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let runs = super::open(folder.path());
    let known = done_run(&runs, "chat/alice", at(5));
    runs.close();
    runs.close();
    let late = Tape::new("chat/alice");
    late.wake(&runs);
    assert!(late.wait_lost().contains("the host is stopping"));
    assert!(wait(runs.read(known.run, 0, 1)).unwrap_err().0.contains("the host is stopping"));
    runs.sweep_now();
}
