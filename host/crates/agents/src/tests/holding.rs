//! Agents that are out of service.

use rookery_core::Generation;
use tokio::time::sleep;

use super::*;
use crate::tests::guests::Event;
use crate::{Activity, Counts};

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_held_has_no_instance_and_takes_no_runs_until_it_is_let_go() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    let held = host.directory.hold(&agent("alice")).await.unwrap();
    assert_eq!((host.agents(), host.directory.live()), (0, 0));
    assert!(!host.guests.events().contains(&Event::AskedToSleep(Generation(1))), "it has nothing to save");
    assert_eq!(host.refusal("alice", "count"), Code::Busy);
    assert_eq!(host.directory.hold(&agent("alice")).await.map(drop).unwrap_err().code, Code::Busy);
    assert_eq!(host.run("bob", "count").await, Ended::done("1"), "another agent does not notice");
    drop(held);
    assert_eq!(host.run("alice", "count").await, Ended::done("1"), "in a new instance");
    assert_eq!(clock(), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn holding_an_agent_cancels_what_runs_and_what_waits_at_once() {
    let host = Host::with_policy(POLICY);
    let running = begun(&host, "alice", "stuck").await;
    let waiting = host.submit("alice", "count").unwrap();
    let clock = clock();
    let _held = host.directory.hold(&agent("alice")).await.unwrap();
    assert_eq!(outcome(running).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(end(waiting).await.outcome, Outcome::Cancelled(Stop::BeforeStart));
    assert_eq!(clock(), seconds(0), "without the grace");
    assert!(!host.guests.began("count"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_exist_can_be_held() {
    let host = Host::with_policy(POLICY);
    let _held = host.directory.hold(&agent("alice")).await.unwrap();
    assert_eq!(host.refusal("alice", "count"), Code::Busy);
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_is_at_is_told_by_whether_it_is_live_and_by_its_runs() {
    let host = Host::with_policy(POLICY);
    let activity = |name| host.directory.activity(&agent(name));
    assert_eq!(activity("alice"), Activity::default());
    let running = begun(&host, "alice", "stuck").await;
    let waiting = host.submit("alice", "count").unwrap();
    assert_eq!(activity("alice"), Activity { live: true, running: 1, queued: 1 });
    assert_eq!(activity("bob"), Activity::default());
    host.cancel(running.run).await;
    end(waiting).await;
    assert_eq!(activity("alice"), Activity { live: true, running: 0, queued: 0 });
    sleep(SLEEP_AFTER).await;
    settle().await;
    assert_eq!(activity("alice"), Activity::default());
}

#[tokio::test(start_paused = true)]
async fn what_all_agents_of_a_plugin_are_at_is_told_also_where_there_are_none() {
    let host = Host::with_policy(POLICY);
    let counts = || host.directory.counts().into_iter().collect::<Vec<_>>();
    let fake = |live, running, queued| [("fake".parse().unwrap(), Counts { live, running, queued })];
    assert_eq!(counts(), fake(0, 0, 0));
    let running = [begun(&host, "alice", "take 10s").await, begun(&host, "bob", "take 10s").await];
    let waiting = ["alice", "alice", "bob"].map(|name| host.submit(name, "count").unwrap());
    assert_eq!(counts(), fake(2, 2, 3));
    for run in running {
        assert_eq!(outcome(run).await, Outcome::Done);
    }
    for run in waiting {
        assert_eq!(end(run).await.outcome, Outcome::Done);
    }
    assert_eq!(counts(), fake(2, 0, 0), "both are still in memory");
    sleep(SLEEP_AFTER).await;
    settle().await;
    assert_eq!(counts(), fake(0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_runs_of_an_agent_are_forgotten_when_the_last_of_them_is_written() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    for name in ["alice", "bob", "alice"] {
        assert_eq!(host.run(name, "count").await.outcome, Outcome::Done);
    }
    archive.hold();
    let last = begun(&host, "alice", "stuck").await;
    let held = host.directory.hold(&agent("alice")).await.unwrap();
    let forgetting = held.forget_runs();
    tokio::pin!(forgetting);
    assert!((&mut forgetting).now_or_never().is_none(), "its last outcome is not committed");
    settle().await;
    archive.release();
    assert_eq!(forgetting.await, Ok(3));
    assert!(host.directory.state(last.run).await.unwrap().is_none());
    assert_eq!(host.directory.count_runs(&agent("alice")).await, Ok(Some(0)));
    assert_eq!(host.directory.count_runs(&agent("bob")).await, Ok(Some(1)));
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_does_not_write_is_not_waited_for_for_ever() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let _last = begun(&host, "alice", "stuck").await;
    let held = host.directory.hold(&agent("alice")).await.unwrap();
    let clock = clock();
    assert_eq!(held.forget_runs().await.unwrap_err().code, Code::Internal);
    assert_eq!(clock(), seconds(5));
}

#[tokio::test(start_paused = true)]
async fn without_an_archive_there_is_nothing_to_forget() {
    let host = Host::with_policy(POLICY);
    let _run = begun(&host, "alice", "stuck").await;
    let held = host.directory.hold(&agent("alice")).await.unwrap();
    assert_eq!(held.forget_runs().await, Ok(0));
    assert_eq!(host.directory.count_runs(&agent("alice")).await, Ok(None));
}
