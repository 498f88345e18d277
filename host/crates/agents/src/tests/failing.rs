//! What happens after a guest trapped, did not end, or was never launched.

use std::sync::atomic::AtomicUsize;

use rookery_core::Generation;

use super::*;
use crate::tests::guests::{Event, Launching};

/// The events of two instances of one agent, of which the first was dropped before the second was launched.
fn one_after_another(first: &str, second: &str) -> [Event; 5] {
    [
        Event::Launched(Generation(1)),
        Event::Began(first.into()),
        Event::Dropped(Generation(1)),
        Event::Launched(Generation(2)),
        Event::Began(second.into()),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_trap_fails_its_run_only_and_queued_runs_meet_a_new_instance_after_the_old_one_is_gone() {
    let host = Host::with_policy(POLICY);
    let runs = ["say on, trap", "count", "count"].map(|text| host.submit("alice", text).unwrap());
    let [trapped, first, second] = runs;
    let trapped = end(trapped).await;
    assert_eq!((trapped.text.as_str(), trapped.code()), ("on", Code::Trapped));
    assert_eq!(end(first).await, Ended::done("1"));
    assert_eq!(end(second).await, Ended::done("2"));
    assert_eq!(host.guests.events()[..5], one_after_another("say on, trap", "count"));
    assert_eq!(host.guests.launches().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_trap_in_one_agent_is_not_felt_by_another() {
    let host = Host::with_policy(POLICY);
    assert_eq!(host.run("bob", "count").await, Ended::done("1"));
    assert_eq!(host.run("alice", "trap").await.code(), Code::Trapped);
    assert_eq!(host.run("bob", "count").await, Ended::done("2"));
}

#[tokio::test(start_paused = true)]
async fn a_trap_in_work_left_over_does_not_change_the_answer_that_was_given() {
    let host = Host::with_policy(POLICY);
    assert_eq!(host.run("alice", "answer, trap").await, Ended::done(""));
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    assert_eq!(host.guests.events()[..5], one_after_another("answer, trap", "count"));
}

#[tokio::test(start_paused = true)]
async fn a_trap_between_runs_is_noticed_and_the_next_run_meets_a_new_instance() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    assert_eq!(host.run("alice", "answer, take 5s, trap").await, Ended::done(""));
    assert_eq!(clock(), seconds(0), "the answer does not wait for work left over");
    host.guests.until(|state| state.live == 0).await;
    assert_eq!(clock(), seconds(5), "noticed without a run");
    tokio::task::yield_now().await;
    assert_eq!((host.agents(), host.directory.live()), (0, 0));

    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    assert_eq!(host.guests.events()[..5], one_after_another("answer, take 5s, trap", "count"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_never_answers_is_ended_at_its_deadline() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let running = begun(&host, "alice", "stuck").await;
    let queued = host.submit("alice", "say next, stuck").unwrap();
    assert_eq!(code(&outcome(running).await), Some(Code::DeadlineExceeded));
    assert_eq!(clock(), DEADLINE, "ended neither early nor late");
    let ended = end(queued).await;
    assert_eq!((ended.text.as_str(), ended.code()), ("next", Code::DeadlineExceeded));
    assert_eq!(clock(), 2 * DEADLINE, "waiting for its turn was not counted");

    host.guests.until(|state| state.live == 0).await;
    assert_eq!(clock(), 2 * DEADLINE, "the instance went with the run");
    assert_eq!(host.guests.events()[..5], one_after_another("say on, stuck", "say next, stuck"));
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_just_before_the_deadline_counts() {
    let (host, clock) = (Host::with_policy(Policy { deadline: seconds(10), ..POLICY }), clock());
    assert_eq!(host.run("alice", "take 9999ms, count").await, Ended::done("1"));
    assert_eq!(
        host.run("alice", "take 9999ms, count").await,
        Ended::done("2"),
        "each run has its own deadline"
    );
    assert_eq!(host.run("alice", "take 10001ms").await.code(), Code::DeadlineExceeded);
    assert_eq!(clock(), seconds(30) - Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_never_ends_is_ended_at_the_runs_deadline() {
    let (host, clock) = (Host::new(Fake::launching(POLICY, Launching::NeverEnds), LIMITS), clock());
    let [first, second] = ["count", "count"].map(|text| host.submit("alice", text).unwrap());
    assert_eq!(end(first).await.code(), Code::DeadlineExceeded);
    assert_eq!(clock(), DEADLINE, "ended neither early nor late");
    assert_eq!(end(second).await.code(), Code::DeadlineExceeded);
    assert_eq!(clock(), 2 * DEADLINE);
    tokio::task::yield_now().await;
    assert_eq!((host.agents(), host.directory.live()), (0, 0), "its place was given back");
}

#[tokio::test(start_paused = true)]
async fn launching_counts_against_the_deadline() {
    let policy = Policy { deadline: seconds(10), ..POLICY };
    let (host, clock) = (Host::new(Fake::launching(policy, Launching::Takes(seconds(6))), LIMITS), clock());
    assert_eq!(host.run("alice", "take 6s").await.code(), Code::DeadlineExceeded);
    assert_eq!(clock(), seconds(10));
    assert_eq!(host.run("alice", "take 3s, count").await, Ended::done("1"));
    assert_eq!(host.run("alice", "take 9s, count").await, Ended::done("2"), "launched already");
}

#[tokio::test(start_paused = true)]
async fn a_failed_launch_fails_its_run_and_the_next_run_tries_again() {
    let host = Host::new(Fake::launching(POLICY, Launching::Fails(AtomicUsize::new(1))), LIMITS);
    let [first, second] = ["count", "count"].map(|text| host.submit("alice", text).unwrap());
    let failure = Failure::new(Code::LaunchFailed, "no luck");
    assert_eq!(end(first).await.outcome, Outcome::Failed(failure), "as the launch said it");
    assert_eq!(end(second).await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_drops_its_answer_still_yields_an_outcome() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    assert_eq!(host.run("alice", "forget, take 5s, trap").await.code(), Code::Trapped);
    assert_eq!(clock(), seconds(5));
    assert_eq!(host.run("alice", "forget").await.code(), Code::DeadlineExceeded);
    assert_eq!(clock(), seconds(5) + DEADLINE);
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_task_panicked_can_be_asked_again() {
    let host = Host::with_policy(POLICY);
    let [first, second] = ["panic", "count"].map(|text| host.submit("alice", text).unwrap());
    assert_eq!(end(first).await.code(), Code::Internal);
    assert_eq!(end(second).await.code(), Code::Internal, "it was in the mailbox that was lost");
    tokio::task::yield_now().await;
    assert_eq!((host.agents(), host.directory.live(), host.directory.running()), (0, 0, 0));
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));

    let host = Host::new(Fake::launching(POLICY, Launching::Panics), LIMITS);
    for _ in 0..2 {
        assert_eq!(host.run("alice", "count").await.code(), Code::Internal);
        tokio::task::yield_now().await;
        assert_eq!((host.agents(), host.directory.live()), (0, 0));
    }
}
