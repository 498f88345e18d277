//! How a host stops.

use super::*;
use crate::tests::guests::Launching;

/// What a drained host holds: nothing.
fn assert_empty(host: &Host) {
    assert_eq!(host.guests.live(), 0, "all instances are dropped");
    assert_eq!((host.directory.live(), host.directory.running(), host.agents()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn runs_that_end_within_the_grace_are_done_and_the_rest_is_interrupted_at_its_end() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    assert_eq!(host.run("idle", "count").await, Ended::done("1"));
    let in_time = begun(&host, "alice", "take 10s").await;
    let too_long = begun(&host, "bob", "take 31s").await;
    let queued = host.submit("bob", "say queued").unwrap();

    let checks = async {
        assert_eq!(outcome(in_time).await, Outcome::Done);
        assert_eq!(clock(), seconds(10));
        assert!(host.directory.draining());
        for name in ["alice", "bob", "carol"] {
            assert_eq!(host.refusal(name, "say refused"), Code::Draining);
        }
        assert_eq!(code(&outcome(too_long).await), Some(Code::Interrupted));
        assert_eq!(clock(), seconds(30), "interrupted neither early nor late");
        assert_eq!(end(queued).await.code(), Code::Interrupted);
    };
    let (interrupted, ()) = tokio::join!(host.directory.drain(seconds(30)), checks);
    assert_eq!(interrupted, 2);
    assert_eq!(clock(), seconds(30));
    assert!(!host.guests.began("say queued") && !host.guests.began("say refused"));
    assert_empty(&host);
    assert_eq!(host.refusal("alice", "count"), Code::Draining, "for good");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_last_run() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let [first, second] = ["take 5s", "take 5s, count"].map(|text| host.submit("alice", text).unwrap());
    assert_eq!(host.directory.drain(seconds(30)).await, 0);
    assert_eq!(clock(), seconds(10), "a run that was accepted before is served");
    assert_eq!(end(first).await, Ended::done(""));
    assert_eq!(end(second).await, Ended::done("2"));
    assert_empty(&host);
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_idle_agents_takes_no_time_and_drops_their_instances() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    for name in ["alice", "bob"] {
        assert_eq!(host.run(name, "count, answer, stuck").await, Ended::done("1"));
    }
    assert_eq!(host.guests.live(), 2);
    assert_eq!(host.directory.drain(seconds(30)).await, 0);
    assert_eq!(clock(), seconds(0));
    assert_empty(&host);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_never_ends_is_interrupted_at_the_end_of_the_grace() {
    let (host, clock) = (Host::new(Fake::launching(POLICY, Launching::NeverEnds), LIMITS), clock());
    let run = host.submit("alice", "count").unwrap();
    assert_eq!(host.directory.drain(seconds(30)).await, 1);
    assert_eq!(clock(), seconds(30));
    assert_eq!(end(run).await.code(), Code::Interrupted);
    assert_empty(&host);
}

#[tokio::test(start_paused = true)]
async fn runs_are_counted_while_the_host_drains() {
    let host = Host::with_policy(POLICY);
    let running = begun(&host, "alice", "take 10s").await;
    let _queued = host.submit("alice", "take 10s").unwrap();
    let checks = async {
        tokio::task::yield_now().await;
        assert_eq!(host.directory.running(), 2);
        assert_eq!(outcome(running).await, Outcome::Done);
        assert_eq!(host.directory.running(), 1);
    };
    tokio::join!(host.directory.drain(seconds(30)), checks);
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_shortens_the_first_and_says_what_it_interrupted() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let running = begun(&host, "alice", "take 20s").await;
    let impatient = async {
        tokio::time::sleep(seconds(3)).await;
        host.directory.drain(Duration::ZERO).await
    };
    let (_, interrupted) = tokio::join!(host.directory.drain(seconds(30)), impatient);
    assert_eq!(interrupted, 1);
    assert_eq!(clock(), seconds(3));
    assert_eq!(code(&outcome(running).await), Some(Code::Interrupted));
    assert_empty(&host);
}
