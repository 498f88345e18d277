use rusqlite::Connection;
use tokio::time::Instant;

use super::*;
use crate::entry::Entry;
use crate::queue::{MOST, Next, Queue};
use crate::writer::Writer;

fn writer(folder: &Path) -> (Writer, Connection) {
    let opened = USAGE.open(folder, Durability::Normal).unwrap();
    let other = rookery_sqlite::open(&opened.path).unwrap();
    (Writer::new(opened.connection, opened.lock), other)
}

fn entry(agent: &str) -> Arc<Entry> {
    let entry = Entry::new(TODAY, super::agent(agent), "m".into());
    entry.tally.requests.add(1);
    entry.tally.input.add(10);
    Arc::new(entry)
}

fn sums(connection: &Connection) -> (i64, i64, i64) {
    let sums = "SELECT count(*), total(requests), total(input) FROM usage";
    let number = |row: &rusqlite::Row<'_>, at| row.get::<_, f64>(at).map(|number| number as i64);
    connection.query_row(sums, (), |row| Ok((row.get(0)?, number(row, 1)?, number(row, 2)?))).unwrap()
}

/// Makes writing fail, as a disk does, or work again.
fn fail(connection: &Connection, on: bool) {
    let sql = "CREATE TRIGGER full BEFORE INSERT ON usage BEGIN SELECT raise(ABORT, 'no disk'); END";
    connection.execute_batch(if on { sql } else { "DROP TRIGGER full" }).unwrap();
}

#[test]
fn what_could_not_be_written_is_written_later_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, other) = writer(folder.path());
    let [alice, bob] = ["chat/alice", "chat/bob"].map(entry);
    assert!(writer.write(vec![alice.clone()]).1.is_none());
    fail(&other, true);
    alice.tally.input.add(5);
    let (left, failed) = writer.write(vec![alice.clone(), bob.clone()]);
    assert_eq!((left.len(), failed.as_deref()), (2, Some("no disk")));
    assert_eq!(sums(&other), (1, 1, 10), "all or nothing");
    alice.tally.input.sub(8);
    let (left, _) = writer.write(left);
    fail(&other, false);
    let (left, failed) = writer.write(left);
    assert!(left.is_empty() && failed.is_none());
    assert_eq!(sums(&other), (2, 2, 17));
    writer.write(vec![alice, bob]);
    assert_eq!(sums(&other), (2, 2, 17));
}

#[test]
fn an_entry_that_was_counted_in_while_writing_failed_is_not_kept_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, other) = writer(folder.path());
    let queue = Queue::new(Duration::from_secs(1));
    let alice = entry("chat/alice");
    alice.mark(&queue);
    fail(&other, true);
    let left = writer.write(vec![alice.clone()]).0;
    assert_eq!(left.len(), 1);
    alice.mark(&queue);
    assert_eq!(Arc::strong_count(&alice), 3, "one here, one left, one in the queue from before");
}

#[test]
fn while_the_disk_fails_so_many_entries_wait_and_the_oldest_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, other) = writer(folder.path());
    fail(&other, true);
    let entries: Vec<_> = (0..MOST + 10).map(|number| entry(&format!("chat/a{number}"))).collect();
    let (left, _) = writer.write(entries.clone());
    assert_eq!(left.len(), MOST);
    fail(&other, false);
    assert!(writer.write(left).0.is_empty());
    assert_eq!(sums(&other).0, MOST as i64);
    // What is counted from then on is written of those too.
    entries[0].tally.requests.add(1);
    assert!(writer.write(vec![entries[0].clone()]).0.is_empty());
    assert_eq!(sums(&other), (MOST as i64 + 1, MOST as i64 + 1, MOST as i64 * 10));
}

#[test]
fn calls_go_on_and_limits_hold_while_the_disk_fails() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let other = rookery_sqlite::open(folder.path().join("usage.db")).unwrap();
    fail(&other, true);
    let meter = ledger.plugin(plugin("chat"), Budget { agent: tokens(100), ..Budget::default() });
    let mut charge = meter.begin(&name("alice"), &run(), "m", None, 60).unwrap();
    let error = ledger.report(&query(By::Day)).unwrap_err();
    assert_eq!(error.to_string(), "what models were asked could not be written down: no disk");
    charge.output(5).unwrap();
    assert!(ledger.report(&query(By::Day)).is_err());
    drop(charge);
    assert_eq!(over(meter.begin(&name("alice"), &run(), "m", None, 60)).spent, 65);
    fail(&other, false);
    assert_eq!(all(&ledger), spent(1, 60, 5, 0));
}

#[test]
fn a_table_that_cannot_be_read_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let other = rookery_sqlite::open(folder.path().join("usage.db")).unwrap();
    other.execute_batch("ALTER TABLE usage RENAME TO gone").unwrap();
    let meter = ledger.plugin(plugin("chat"), Budget { agent: requests(1), ..Budget::default() });
    drop(meter.begin(&name("alice"), &run(), "m", None, 60).unwrap());
    over(meter.begin(&name("alice"), &run(), "m", None, 60));
    other.execute_batch("ALTER TABLE gone RENAME TO usage").unwrap();
    assert_eq!(all(&ledger), spent(1, 60, 0, 0));
}

#[test]
fn after_the_end_calls_go_on_unwritten_and_reports_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    let run = run();
    let mut charge = meter.begin(&name("alice"), &run, "m", None, 1).unwrap();
    ledger.close();
    ledger.close();
    charge.output(5).unwrap();
    drop(meter.begin(&name("bob"), &run, "m", None, 1).unwrap());
    assert_eq!(run.read(), spent(2, 2, 5, 0));
    assert!(ledger.report(&query(By::Day)).unwrap_err().to_string().contains("the host is stopping"));
    let again = open(folder.path());
    assert_eq!(all(&again), spent(1, 1, 0, 0));
}

#[test]
fn what_is_not_written_yet_keeps_its_agent_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let other = rookery_sqlite::open(folder.path().join("usage.db")).unwrap();
    fail(&other, true);
    let meter = ledger.plugin(plugin("chat"), Budget { agent: requests(1), ..Budget::default() });
    for number in 0..3000 {
        drop(meter.begin(&name(&format!("a{number}")), &run(), "m", None, 1).unwrap());
    }
    for number in [0, 1, 1500, 2999] {
        assert_eq!(over(meter.begin(&name(&format!("a{number}")), &run(), "m", None, 1)).spent, 1);
    }
    fail(&other, false);
    assert_eq!(all(&ledger).requests, 3000);
}

#[test]
fn at_the_end_it_is_tried_once_and_said_what_is_lost() {
    let queue = Queue::new(Duration::from_secs(1));
    let [alice, bob] = ["chat/alice", "chat/bob"].map(entry);
    alice.mark(&queue);
    std::thread::scope(|scope| {
        scope.spawn(|| queue.close());
        let later = Instant::now() + Duration::from_secs(3600);
        let (Next::Write(entries), asked) = queue.next(later) else { panic!("there is one to write") };
        assert_eq!(entries.len(), 1);
        // Until the second ends or the host does: only the end is in question here.
        let left = match queue.next(later) {
            (Next::Stop, _) => entries,
            (Next::Write(none), _) => [entries, none].concat(),
            (Next::Sweep, _) => panic!("it is not due"),
        };
        bob.mark(&queue);
        assert_eq!(queue.wrote(asked, left, Some("no disk".into())), 1);
        assert!(matches!(queue.next(later), (Next::Stop, _)));
        queue.closed();
    });
}
