//! An archive that cannot write, or that was closed in the middle.

use super::*;

fn items(events: Vec<Event>) -> Vec<Item> {
    events.into_iter().map(|event| event.item).collect()
}

fn text(text: &str) -> Item {
    Item::Chunk(Chunk::Text(text.into()))
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_log_is_lost_fails_once_and_its_readers_hear_of_it_and_the_host_goes_on() {
    let archive = FakeArchive::held();
    let (host, clock) = (Host::archived(POLICY, &archive), clock());
    let run = begun(&host, "alice", "open, say refused").await;
    let mut second = run.events.again();
    archive.commit();
    archive.fail();
    let bobs = begun(&host, "bob", "open").await;
    archive.commit();
    assert_eq!(host.directory.unsettled_count(), 1, "`alice` has nothing to write yet");
    assert_eq!(code(&outcome(bobs).await), Some(Code::Internal));
    settle().await;
    assert_eq!(host.cancel(run.run).await, Cancelling::Told);
    settle().await;
    archive.commit();
    assert_eq!(code(&outcome(run).await), Some(Code::Internal), "the end that was hidden has changed");
    let seen = rest(&mut second).await;
    assert_eq!(seen.iter().map(|event| event.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((host.directory.unsettled_count(), host.directory.running()), (0, 0));
    assert_eq!(clock(), seconds(0), "the guests were told");
    let next = host.submit("alice", "count").unwrap();
    archive.commit();
    assert_eq!(end(next).await.code(), Code::Internal);
    assert_eq!(host.guests.launches().len(), 2, "both guests returned, and kept their instances");
}

#[tokio::test(start_paused = true)]
async fn an_archive_may_lose_a_log_in_the_very_call_that_wakes_it() {
    let host = Host::archived(POLICY, &FakeArchive::broken());
    let run = host.submit("alice", "count").unwrap();
    in_time(run.events.accepted()).await;
    assert_eq!(end(run).await.code(), Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn a_strict_host_takes_back_what_it_could_not_commit() {
    let archive = FakeArchive::held();
    let host = Host::keeping(Fake::new(POLICY), LIMITS, Some(archiving(&archive, true)));
    let mut run = host.submit("alice", "say a, take 1s, say b").unwrap();
    settle().await;
    archive.commit();
    assert_eq!(next_text(&mut run.events).await, "a");
    tokio::time::sleep(seconds(2)).await;
    archive.fail();
    archive.commit();
    let seen = rest(&mut run.events).await;
    assert!(matches!(&seen[..], [Event { id: 2, item: Item::Outcome(Outcome::Failed(_)) }]), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_lost_stays_lost_and_nothing_more_of_it_is_handed_over() {
    for strict in [false, true] {
        let archive = FakeArchive::held();
        let host = Host::keeping(Fake::new(POLICY), LIMITS, Some(archiving(&archive, strict)));
        let mut run = host.submit("alice", "say a, take 1s, say b, take 1s, say c").unwrap();
        settle().await;
        archive.take();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        archive.take();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        archive.fail();
        archive.write();
        archive.write();
        archive.recover();
        archive.commit();
        assert_eq!(archive.runs(), [], "not the rest of it without its beginning");
        let seen = items(rest(&mut run.events).await);
        let ends = seen.iter().filter(|item| matches!(item, Item::Outcome(_))).count();
        assert_eq!((ends, seen.len()), (1, if strict { 1 } else { 4 }));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_log_was_lost_reads_what_was_written_and_an_end() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let run = host.submit("alice", "say a, take 1s, say b").unwrap().run;
    settle().await;
    archive.commit();
    archive.fail();
    tokio::time::sleep(seconds(2)).await;
    archive.commit();
    let seen = rest(&mut host.follow(run, 0).await).await;
    assert_eq!(seen.iter().map(|event| event.id).collect::<Vec<_>>(), [1, 2]);
    let items = items(seen);
    assert_eq!(items[0], text("a"));
    assert!(matches!(&items[1], Item::Outcome(Outcome::Failed(failure)) if failure.code == Code::Internal));
    let mut late = host.follow(run, 3).await;
    assert_eq!(rest(&mut late).await.len(), 1, "it has seen `b`, and no end");
    assert_eq!(rest(&mut late.again()).await.len(), 2);
    assert_eq!(rest(&mut host.follow(run, 2).await).await, []);
    assert!(matches!(host.standing(run).await, Standing::Ended(Outcome::Failed(_))));
    assert_eq!(host.cancel(run).await, Cancelling::Over);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_crash_interrupted_has_an_end_for_everybody_also_for_who_saw_more_than_was_written() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let mut run = begun(&host, "alice", "take 1s, say b, say c, stuck").await;
    let queued = host.submit("alice", "count").unwrap().run;
    archive.commit();
    assert_eq!(next_text(&mut run.events).await, "b");
    assert_eq!(next_text(&mut run.events).await, "c");
    let host = Host::archived(POLICY, &archive.reopened());
    for (after, ids) in [(0, vec![1, 2]), (1, vec![2]), (2, vec![]), (3, vec![2]), (u64::MAX, vec![2])] {
        let seen = rest(&mut host.follow(run.run, after).await).await;
        assert_eq!(seen.iter().map(|event| event.id).collect::<Vec<_>>(), ids, "after {after}");
        let last = seen.last().map(|event| &event.item);
        assert!(last.is_none_or(|last| matches!(last, Item::Outcome(Outcome::Failed(_)))));
    }
    assert_eq!(rest(&mut host.follow(queued, 0).await).await.len(), 1);
    assert!(!host.guests.began("count"), "it is not started again");
}
