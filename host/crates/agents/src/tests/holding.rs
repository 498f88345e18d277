//! Agents that are out of service.

use rookery_core::Generation;

use super::*;
use crate::tests::guests::Event;

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
