//! One agent, one instance, one run after another.

use std::sync::Arc;

use rookery_core::Generation;
use tokio::sync::Barrier;

use super::*;
use crate::tests::guests::Event;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_first_runs_at_once_meet_one_instance_and_each_client_is_served_in_its_order() {
    let host = Arc::new(Host::with_policy(POLICY));
    let together = Arc::new(Barrier::new(8));
    let clients = (0..8).map(|_| {
        let (host, together) = (host.clone(), together.clone());
        tokio::spawn(async move {
            together.wait().await;
            let runs: Vec<_> = (0..125).map(|_| host.submit("alice", "count").unwrap()).collect();
            let mut counts = Vec::new();
            for run in runs {
                counts.push(end(run).await.text.parse::<u64>().unwrap());
            }
            counts
        })
    });
    let mut all = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        let counts = client.await.unwrap();
        assert!(counts.is_sorted(), "{counts:?}");
        all.extend(counts);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=1000).collect::<Vec<_>>(), "the counter in the instance's own memory");
    assert_eq!(host.guests.launches(), [Generation(1)]);
    assert_eq!(host.guests.state().broken, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn runs_are_served_in_the_order_in_which_they_were_accepted() {
    let host = Host::with_policy(POLICY);
    let runs: Vec<_> = (0..1000).map(|_| host.submit("alice", "count").unwrap()).collect();
    for (run, count) in runs.into_iter().zip(1..) {
        assert_eq!(end(run).await, Ended::done(&format!("{count}")));
    }
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_agent_never_overlap_and_different_agents_run_at_the_same_time() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let submit = |name| host.submit(name, "take 10s, count").unwrap();
    let [first, second, other, another] = ["alice", "alice", "bob", "carol"].map(submit);
    for run in [first, other, another] {
        assert_eq!(end(run).await, Ended::done("1"));
        assert_eq!(clock(), seconds(10));
    }
    assert_eq!(end(second).await, Ended::done("2"));
    assert_eq!(clock(), seconds(20));
    let state = host.guests.state();
    assert_eq!((state.most_running, state.most_live), (3, 3));
    assert_eq!(state.broken, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_stop_the_run() {
    let host = Host::with_policy(POLICY);
    let left = begun(&host, "alice", "take 10s, say the end").await;
    drop(left);
    drop(host.submit("alice", "take 10s, count").unwrap());
    assert_eq!(host.run("alice", "count").await, Ended::done("3"), "after both of them");
    assert!(!host.guests.events().contains(&Event::Refused), "they could write to their end");
    assert_eq!(host.guests.launches(), [Generation(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_guest_returns_leaves_its_instance_as_it_is() {
    let host = Host::with_policy(POLICY);
    assert_eq!(host.run("alice", "say so, fail").await.code(), Code::Failed);
    assert_eq!(host.run("alice", "count").await, Ended::done("2"));
}

#[tokio::test(start_paused = true)]
async fn what_a_run_has_open_ends_with_its_outcome_and_work_left_over_goes_on() {
    let host = Host::with_policy(POLICY);
    assert_eq!(host.run("alice", "answer, open").await, Ended::done(""));
    assert_eq!(host.directory.running(), 0, "work left over is no run");
    host.guests.until(|state| state.events.contains(&Event::Closed)).await;
    assert_eq!(host.run("alice", "count").await, Ended::done("2"));
}
