//! Runs that overlap in one instance, as their plugin wants it.

use std::num::NonZeroUsize;

use rookery_core::Generation;

use super::*;

fn at_once(runs: usize) -> Policy {
    Policy { overlap: Overlap::Concurrent(NonZeroUsize::new(runs).unwrap()), ..POLICY }
}

#[tokio::test(start_paused = true)]
async fn runs_overlap_in_one_instance_up_to_their_bound_and_the_next_begins_when_one_ends() {
    let (host, clock) = (Host::with_policy(at_once(3)), clock());
    let texts = ["take 10s, count", "take 20s, count", "take 30s, count", "count", "count"];
    let runs = texts.map(|text| host.submit("alice", text).unwrap());
    settle().await;
    for run in &runs[..3] {
        assert_eq!(host.standing(run.run).await, Standing::Running);
    }
    assert_eq!(host.standing(runs[3].run).await, Standing::Queued(0));
    assert_eq!(host.standing(runs[4].run).await, Standing::Queued(1));
    let [first, second, third, fourth, fifth] = runs;
    assert_eq!(end(first).await, Ended::done("1"));
    assert_eq!(end(fourth).await, Ended::done("4"));
    assert_eq!(end(fifth).await, Ended::done("5"));
    assert_eq!(clock(), seconds(10), "in the place of the one that ended");
    assert_eq!(end(third).await, Ended::done("3"));
    assert_eq!(end(second).await, Ended::done("2"));
    assert_eq!(clock(), seconds(30), "each took its own time");
    let state = host.guests.state();
    assert_eq!((state.most_running, state.most_live), (3, 1));
    assert_eq!(state.broken, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn beyond_its_bound_and_its_mailbox_a_plugin_takes_no_more() {
    let host = Host::with_policy(Policy { queue: 1, ..at_once(2) });
    let _running = [begun(&host, "alice", "stuck").await, begun(&host, "alice", "stuck").await];
    let _waiting = host.submit("alice", "count").unwrap();
    assert_eq!(host.refusal("alice", "count"), Code::MailboxFull);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_and_returns_leaves_the_others_alone() {
    let host = Host::with_policy(at_once(3));
    let other = begun(&host, "alice", "take 60s, say still here").await;
    let cancelled = begun(&host, "alice", "open").await;
    host.cancel(cancelled.run).await;
    assert_eq!(outcome(cancelled).await, Outcome::Cancelled(Stop::Returned));
    assert_eq!(host.run("alice", "count").await, Ended::done("3"));
    assert_eq!(rest_text(other).await, ("still here".into(), Outcome::Done));
    assert_eq!(host.guests.launches(), [Generation(1)]);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_return_costs_the_others_their_instance_and_the_next_meets_a_new_one() {
    let (host, clock) = (Host::with_policy(at_once(3)), clock());
    let other = begun(&host, "alice", "take 60s").await;
    let stuck = begun(&host, "alice", "stuck").await;
    host.cancel(stuck.run).await;
    let next = host.submit("alice", "count").unwrap();
    settle().await;
    assert_eq!(host.standing(next.run).await, Standing::Queued(0), "none enters what may be about to go");
    let name = stuck.run.to_string();
    assert_eq!(outcome(stuck).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(clock(), GRACE);
    let Outcome::Failed(failure) = outcome(other).await else { panic!("it cannot have ended well") };
    assert_eq!(failure.code, Code::InstanceLost);
    assert!(failure.message.contains(&name), "it names the one that is to blame: {failure}");
    assert_eq!(end(next).await, Ended::done("1"));
    assert_eq!(host.guests.launches(), [Generation(1), Generation(2)]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_late_fails_at_its_deadline_and_the_others_go_on_if_it_returns() {
    let (host, clock) = (Host::with_policy(Policy { deadline: seconds(30), ..at_once(3) }), clock());
    let late = begun(&host, "alice", "open, take 2s").await;
    tokio::time::sleep(seconds(10)).await;
    let other = begun(&host, "alice", "take 24s").await;
    assert_eq!(code(&outcome(late).await), Some(Code::DeadlineExceeded));
    assert_eq!(clock(), seconds(30), "neither early nor late");
    let next = host.submit("alice", "count").unwrap();
    assert_eq!(end(next).await, Ended::done("3"), "in the same instance");
    assert_eq!(clock(), seconds(32), "when the late one had returned");
    assert_eq!(outcome(other).await, Outcome::Done);
    assert_eq!(host.directory.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_late_and_does_not_return_takes_the_instance_with_it_after_the_grace() {
    let (host, clock) = (Host::with_policy(Policy { deadline: seconds(30), ..at_once(3) }), clock());
    let late = begun(&host, "alice", "stuck").await;
    tokio::time::sleep(seconds(10)).await;
    let other = begun(&host, "alice", "take 29s").await;
    assert_eq!(code(&outcome(late).await), Some(Code::DeadlineExceeded));
    assert_eq!(code(&outcome(other).await), Some(Code::InstanceLost));
    assert_eq!(clock(), seconds(30) + GRACE);
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn a_trap_ends_all_that_have_not_answered_and_none_that_has() {
    let host = Host::with_policy(at_once(4));
    let others = [begun(&host, "alice", "take 60s").await, begun(&host, "alice", "stuck").await];
    let answered = begun(&host, "alice", "take 10s").await;
    let trap = begun(&host, "alice", "take 10s, trap").await;
    assert_eq!(outcome(answered).await, Outcome::Done, "it answered in the moment of the trap");
    for run in others.into_iter().chain([trap]) {
        assert_eq!(code(&outcome(run).await), Some(Code::Trapped));
    }
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    assert_eq!(host.guests.state().broken, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_any_run_in_it_is_busy_and_one_without_makes_room() {
    let host = Host::new(Fake::new(at_once(2)), Limits { live: 1, ..LIMITS });
    let [short, long] = ["take 1s", "take 3s"].map(|text| host.submit("alice", text).unwrap());
    settle().await;
    let clock = clock();
    assert_eq!(host.run("bob", "count").await, Ended::done("1"));
    assert_eq!(clock(), seconds(3), "when the last of them had ended");
    for run in [short, long] {
        assert_eq!(end(run).await.outcome, Outcome::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_interrupts_all_runs_of_an_instance() {
    let host = Host::with_policy(at_once(2));
    let runs = [begun(&host, "alice", "stuck").await, begun(&host, "alice", "stuck").await];
    assert_eq!(host.directory.drain(seconds(1)).await, 2);
    for run in runs {
        assert_eq!(code(&outcome(run).await), Some(Code::Interrupted));
    }
}

/// What is left of a run of which one event was read before.
async fn rest_text(mut run: Submitted) -> (String, Outcome) {
    let text = next_text(&mut run.events).await;
    (text, outcome(run).await)
}
