//! Plugins that want a run cancelled when its last reader leaves.

use super::*;

const CANCELLING: Policy = Policy { cancel_on_detach: true, ..POLICY };

async fn cancelled(host: &Host, run: RunId, archive: &FakeArchive) -> bool {
    settle().await;
    archive.commit();
    matches!(host.standing(run).await, Standing::Ended(Outcome::Cancelled(_)))
}

#[tokio::test(start_paused = true)]
async fn the_last_reader_that_leaves_cancels_the_run_whether_it_waits_or_runs() {
    let archive = FakeArchive::new();
    let host = Host::archived(CANCELLING, &archive);
    let running = begun(&host, "alice", "open").await;
    let queued = host.submit("alice", "count").unwrap();
    let (first, second) = (running.run, queued.run);
    drop(queued);
    assert!(cancelled(&host, second, &archive).await);
    assert!(!cancelled(&host, first, &archive).await);
    drop(running);
    assert!(cancelled(&host, first, &archive).await);
    assert!(!host.guests.began("count"));
}

#[tokio::test(start_paused = true)]
async fn a_second_reader_keeps_the_run_for_as_long_as_it_stays() {
    let archive = FakeArchive::new();
    let host = Host::archived(CANCELLING, &archive);
    let running = begun(&host, "alice", "open").await;
    let run = running.run;
    let second = host.follow(run, 1).await;
    drop(running);
    assert!(!cancelled(&host, run, &archive).await);
    let third = second.again();
    drop(second);
    assert!(!cancelled(&host, run, &archive).await);
    drop(third);
    assert!(cancelled(&host, run, &archive).await);
}

#[tokio::test(start_paused = true)]
async fn a_run_in_the_background_goes_on_without_readers() {
    let archive = FakeArchive::new();
    let host = Host::archived(CANCELLING, &archive);
    let background = Asked { background: true, ..asked("take 5s, count") };
    let run = host.directory.submit(&agent("alice"), background).unwrap().run;
    let reader = host.follow(run, 0).await;
    settle().await;
    drop(reader);
    assert_eq!(end(Submitted { run, events: host.follow(run, 0).await }).await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn leaving_after_the_end_or_where_the_plugin_goes_on_cancels_nothing() {
    let archive = FakeArchive::held();
    let host = Host::archived(CANCELLING, &archive);
    let run = host.submit("alice", "count").unwrap();
    settle().await;
    let id = run.run;
    drop(run);
    archive.release();
    assert_eq!(host.standing(id).await, Standing::Ended(Outcome::Done));

    let host = Host::archived(POLICY, &archive);
    let run = begun(&host, "alice", "take 5s").await.run;
    assert_eq!(rest(&mut host.follow(run, 1).await).await.len(), 1);
    assert_eq!(host.standing(run).await, Standing::Ended(Outcome::Done));
}
