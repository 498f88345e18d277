//! What is refused, and what a refusal leaves behind: nothing.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::tests::guests::Launching;

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_is_refused_at_once_and_nothing_of_the_refused_run_happens() {
    let (host, clock) = (Host::with_policy(Policy { queue: 2, ..POLICY }), clock());
    let running = begun(&host, "alice", "take 10s").await;
    let waiting = ["count", "count"].map(|text| host.submit("alice", text).unwrap());
    assert_eq!(host.refusal("alice", "say refused"), Code::MailboxFull);
    assert_eq!(clock(), seconds(0), "refused, not awaited");
    assert_eq!(host.directory.running(), 3);
    assert_eq!(host.run("bob", "count").await, Ended::done("1"), "another agent's mailbox is its own");

    assert_eq!(outcome(running).await, Outcome::Done);
    for (run, count) in waiting.into_iter().zip(["2", "3"]) {
        assert_eq!(end(run).await, Ended::done(count));
    }
    assert_eq!(host.run("alice", "count").await, Ended::done("4"), "it takes runs again");
    assert!(!host.guests.began("say refused"));
}

#[tokio::test(start_paused = true)]
async fn one_run_more_than_the_host_holds_is_refused_as_overloaded() {
    let (host, clock) = (Host::new(Fake::new(POLICY), Limits { runs: 2, ..LIMITS }), clock());
    let running = begun(&host, "alice", "take 10s").await;
    let waiting = host.submit("alice", "count").unwrap();
    for name in ["alice", "bob"] {
        assert_eq!(host.refusal(name, "say refused"), Code::Overloaded);
    }
    assert_eq!(clock(), seconds(0), "refused, not awaited");
    assert_eq!(host.agents(), 1, "the refused agent has not come to exist");

    assert_eq!(outcome(running).await, Outcome::Done);
    assert_eq!(end(waiting).await, Ended::done("2"));
    assert_eq!(host.directory.running(), 0);
    assert_eq!(host.run("bob", "count").await, Ended::done("1"), "it takes runs again");
    assert!(!host.guests.began("say refused"));
}

#[tokio::test(start_paused = true)]
async fn prompts_that_wait_take_only_so_much_memory() {
    let host = Host::new(Fake::new(POLICY), Limits { prompts: 1000, ..LIMITS });
    let running = begun(&host, "alice", "take 10s").await;
    let long = format!("say {}", "x".repeat(300));
    let waiting = host.submit("alice", &long).unwrap();
    assert_eq!(host.refusal("bob", &long), Code::Overloaded);
    assert_eq!(outcome(running).await, Outcome::Done);
    assert_eq!(end(waiting).await.text.len(), 300);
    assert_eq!(host.run("bob", &long).await.text.len(), 300, "it takes them again");
}

#[tokio::test(start_paused = true)]
async fn a_trap_after_too_much_output_is_told_as_too_much_output() {
    let host = Host::with_policy(Policy { output: 1000, ..POLICY });
    assert_eq!(host.run("alice", "write 1000, trap").await.code(), Code::OutputTooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_not_served_is_unknown() {
    let host = Host::with_policy(POLICY);
    let nobody = AgentId { plugin: "nobody".parse().unwrap(), name: "alice".parse().unwrap() };
    assert_eq!(host.directory.submit(&nobody, asked("count")).unwrap_err().code, Code::UnknownPlugin);
}

#[tokio::test(start_paused = true)]
async fn output_that_is_too_large_decides_the_outcome_whatever_the_guest_answers() {
    let host = Host::with_policy(Policy { output: 1000, ..POLICY });
    for text in ["say ok, write 1000", "say ok, write 1000, say more", "say ok, write 1000, fail"] {
        let ended = host.run("alice", text).await;
        assert_eq!((ended.text.as_str(), ended.code()), ("ok", Code::OutputTooLarge), "{text}");
    }
    assert_eq!(host.run("alice", "count").await, Ended::done("4"), "the instance is none the worse for it");
}

#[tokio::test(start_paused = true)]
async fn agents_that_failed_to_launch_are_forgotten_and_can_be_asked_again() {
    let host = Host::new(Fake::launching(POLICY, Launching::Fails(AtomicUsize::new(100))), LIMITS);
    for number in 0..100 {
        let ended = host.run(&format!("agent-{number}"), "count").await;
        assert_eq!(ended.code(), Code::LaunchFailed);
    }
    tokio::task::yield_now().await;
    assert_eq!((host.agents(), host.directory.live(), host.directory.running()), (0, 0, 0));
    assert_eq!(host.run("agent-7", "count").await, Ended::done("1"));
    assert_eq!(host.agents(), 1);
}

#[tokio::test(start_paused = true)]
async fn limits_without_a_bound_are_counted_like_any_others() {
    let limits = Limits { runs: usize::MAX, live: usize::MAX, prompts: usize::MAX, unread: usize::MAX };
    let host = Host::new(Fake::new(POLICY), limits);
    let (running, clock) = (begun(&host, "alice", "take 10s").await, clock());
    assert_eq!((host.directory.running(), host.directory.live()), (1, 1));
    assert_eq!(host.directory.drain(seconds(30)).await, 0);
    assert_eq!(clock(), seconds(10), "the run was given its time");
    assert_eq!(outcome(running).await, Outcome::Done);
}
