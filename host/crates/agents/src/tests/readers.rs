//! Readers that come, leave and come back, and what a run costs in memory meanwhile.

use super::*;
use crate::state::WINDOW;

/// Checks that these are all events of the run after this one: its archive is asked.
fn assert_rest(seen: &[Event], after: u64, archive: &FakeArchive, run: RunId) {
    let all = archive.events(run);
    assert!(matches!(all.last(), Some(Event { item: Item::Outcome(_), .. })));
    assert!(all[usize::try_from(after).unwrap()..] == *seen, "after {after}: {} events", seen.len());
}

fn chunk() -> u64 {
    Chunk::Text("x".repeat(1000)).size() as u64
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_joins_before_during_or_after_the_run_sees_every_event_once_and_in_order() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let text = "say a, take 1s, say b, say c, take 1s, say d";
    let mut run = host.submit("alice", text).unwrap();
    let mut readers = vec![(0, run.events.again())];
    for moment in 0..5 {
        settle().await;
        for after in 0..=moment {
            readers.push((after, host.follow(run.run, after).await));
        }
        match moment {
            // It has its outcome in the end, which waits for the commit.
            0 => assert_eq!(next_text(&mut run.events).await, "a"),
            3 => archive.commit(),
            _ => tokio::time::sleep(seconds(1)).await,
        }
    }
    archive.commit();
    settle().await;
    for after in 0..=5 {
        readers.push((after, host.follow(run.run, after).await));
    }
    for (after, mut reader) in readers {
        assert_rest(&rest(&mut reader).await, after.min(5), &archive, run.run);
    }
    assert_rest(&rest(&mut run.events).await, 1, &archive, run.run);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_of_one_live_run_each_see_all_of_it() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let run = host.submit("alice", "take 1s, pour 80, take 1s, pour 5, take 1s, say end").unwrap().run;
    let mut reading = tokio::task::JoinSet::new();
    for number in 0..1000_u64 {
        let mut reader = host.follow(run, number % 7).await;
        reading.spawn(async move { (number % 7, rest(&mut reader).await) });
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    for (after, seen) in reading.join_all().await {
        // After that many events if there were as many when it came, and after those that there were otherwise.
        let first = seen[0].id - 1;
        assert!(first <= after);
        assert_rest(&seen, first, &archive, run);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_far_behind_reads_from_the_archive_and_catches_up_with_the_live_run() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let mut run = host.submit("alice", "pour 500, take 1s, say live, stuck").unwrap();
    settle().await;
    archive.commit();
    assert_eq!(archive.reads(), 0);
    archive.set_readable(false);
    assert!(run.events.next().now_or_never().is_none(), "an archive may take its time");
    tokio::time::sleep(seconds(2)).await;
    archive.set_readable(true);
    for id in 1..=501 {
        let event = in_time(run.events.next()).await.unwrap().unwrap();
        assert_eq!(event.id, id);
    }
    let (reads, window) = (archive.reads() as u64, WINDOW as u64 / chunk());
    assert!((500 - window - 1..=500 - window + 1).contains(&reads), "the window's {window} were in memory");
    assert!(run.events.next().now_or_never().is_none(), "nothing more for now");
    host.cancel(run.run).await;
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Dropped));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_behind_when_the_run_ends_reads_on_to_the_end() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let mut run = host.submit("alice", "pour 500").unwrap();
    settle().await;
    assert_eq!(host.directory.unsettled_count(), 0);
    assert_rest(&rest(&mut run.events).await, 0, &archive, run.run);
    assert!(archive.reads() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_readers_that_left_in_the_middle_comes_back_and_misses_nothing() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let mut run = host.submit("alice", "pour 200, take 10s, pour 200").unwrap();
    let (mut seen, mut events) = (Vec::new(), host.follow(run.run, 0).await);
    loop {
        // Away after every third event, for a while.
        for _ in 0..3 {
            let event = in_time(events.next()).await.unwrap();
            seen.extend(event.map(|event| (*event).clone()));
        }
        let last: &Event = seen.last().unwrap();
        if let Item::Outcome(_) = last.item {
            break;
        }
        drop(events);
        tokio::time::sleep(Duration::from_millis(100)).await;
        events = host.follow(run.run, last.id).await;
    }
    assert_rest(&seen, 0, &archive, run.run);
    assert_rest(&rest(&mut run.events).await, 0, &archive, run.run);
}

#[tokio::test(start_paused = true)]
async fn a_long_run_takes_no_more_memory_than_its_window_and_what_is_not_committed() {
    let archive = FakeArchive::held();
    let host = Host::archived(Policy { output: 64 << 20, ..POLICY }, &archive);
    // Readers of every kind of slowness: one that reads nothing, one that has read one event, one that left.
    let mut run = host.submit("alice", "pour 20000").unwrap();
    let _slow = run.events.again();
    drop(run.events.again());
    settle().await;
    run.events.next().await.unwrap();
    let mut most = 0;
    while host.directory.running() > 0 {
        let (kept, ahead) = host.directory.kept(run.run).unwrap();
        assert!(kept <= WINDOW + ahead, "{kept} bytes are kept, {ahead} are not committed");
        most = most.max(kept);
        archive.take();
        settle().await;
        archive.write();
        let (kept, ahead) = host.directory.kept(run.run).unwrap();
        assert!(kept <= WINDOW + ahead, "{kept} bytes are kept, {ahead} are not committed");
        settle().await;
    }
    assert!(most < 3 << 20, "{most}");
    archive.release();
    assert_rest(&rest(&mut run.events).await, 1, &archive, run.run);
}

#[tokio::test(start_paused = true)]
async fn an_event_larger_than_the_window_is_read_from_the_archive_like_any_other() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let mut run = host.submit("alice", "write 300000, say end").unwrap();
    settle().await;
    let mut again = run.events.again();
    assert_rest(&rest(&mut run.events).await, 0, &archive, run.run);
    assert_rest(&rest(&mut again).await, 0, &archive, run.run);
    assert_eq!(archive.events(run.run).len(), 300_000_usize.div_ceil(64 * 1024) + 2);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_run_that_was_removed_meanwhile_is_cut_off_and_does_not_wait() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let run = host.submit("alice", "say a, say b").unwrap().run;
    settle().await;
    let mut reader = host.follow(run, 0).await;
    assert_eq!(next_text(&mut reader).await, "a");
    archive.remove(run);
    assert!(in_time(reader.next()).await.is_err());
    assert!(host.directory.follow(run, 0).await.unwrap().is_none());
}
