//! What happens to a run that comes while another one is there.

use super::*;

fn with(overlap: Overlap) -> Policy {
    Policy { overlap, ..POLICY }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_rejects_is_busy_until_the_client_has_seen_the_end() {
    let archive = FakeArchive::new();
    for host in [Host::with_policy(with(Overlap::Reject)), Host::archived(with(Overlap::Reject), &archive)] {
        let run = begun(&host, "alice", "take 10s").await;
        assert_eq!(host.refusal("alice", "say refused"), Code::Busy);
        assert_eq!(host.run("bob", "count").await, Ended::done("1"), "another agent is not busy");
        assert_eq!(outcome(run).await, Outcome::Done);
        for count in ["2", "3", "4"] {
            assert_eq!(host.run("alice", "count").await, Ended::done(count), "free at that very moment");
        }
        assert!(!host.guests.began("say refused"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_and_one_in_its_grace_are_busy_too_and_a_cancelled_or_failed_one_is_not() {
    let host = Host::with_policy(with(Overlap::Reject));
    let queued = host.submit("alice", "open, take 1s").unwrap();
    assert_eq!(host.refusal("alice", "count"), Code::Busy, "it has not begun");
    settle().await;
    host.cancel(queued.run).await;
    assert_eq!(host.refusal("alice", "count"), Code::Busy, "it has not returned");
    assert_eq!(end(queued).await.outcome, Outcome::Cancelled(Stop::Returned));
    assert_eq!(host.run("alice", "trap").await.code(), Code::Trapped);
    let never = host.submit("alice", "count").unwrap();
    host.cancel(never.run).await;
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_not_busy_with_a_run_that_waits_for_nothing_but_its_archive() {
    let archive = FakeArchive::held();
    let host = Host::archived(with(Overlap::Reject), &archive);
    let [first, second] = ["count", "count"].map(async |text| {
        let run = host.submit("alice", text).expect("accepted");
        settle().await;
        run
    });
    let (first, second) = (first.await, second.await);
    archive.release();
    assert_eq!(end(first).await, Ended::done("1"));
    assert_eq!(end(second).await, Ended::done("2"));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_interrupted_cancels_what_runs_and_what_waits_and_the_new_run_starts() {
    let (host, clock) = (Host::with_policy(with(Overlap::Interrupt)), clock());
    let mut running = begun(&host, "alice", "tick 1s").await;
    let waiting = host.submit("alice", "say waiting").unwrap();
    let newest = host.submit("alice", "count").unwrap();
    assert_eq!(end(waiting).await.outcome, Outcome::Cancelled(Stop::BeforeStart));
    assert_eq!(end(newest).await, Ended::done("2"), "in the same instance");
    let seen = rest(&mut running.events).await;
    assert_eq!(seen.last().unwrap().item, Item::Outcome(Outcome::Cancelled(Stop::Returned)));
    assert_eq!(clock(), seconds(1));
    assert!(!host.guests.began("say waiting"));
    assert_eq!(host.guests.state().broken, [""; 0], "never two at once");
}

#[tokio::test(start_paused = true)]
async fn interrupting_a_guest_that_does_not_return_takes_the_grace_and_a_new_instance() {
    let (host, clock) = (Host::with_policy(with(Overlap::Interrupt)), clock());
    let stuck = begun(&host, "alice", "stuck").await;
    let other = begun(&host, "bob", "take 10s").await;
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    assert_eq!(clock(), GRACE);
    assert_eq!(outcome(stuck).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(outcome(other).await, Outcome::Done, "another agent's runs are not interrupted");
}

#[tokio::test(start_paused = true)]
async fn what_is_interrupted_makes_room_for_the_run_that_interrupts_it() {
    let host = Host::with_policy(Policy { queue: 1, ..with(Overlap::Interrupt) });
    let running = begun(&host, "alice", "stuck").await;
    let waiting = ["say one", "say two", "count"].map(|text| host.submit("alice", text).expect("taken"));
    let [one, two, newest] = waiting;
    for run in [one, two] {
        assert_eq!(end(run).await.outcome, Outcome::Cancelled(Stop::BeforeStart));
    }
    assert_eq!(host.standing(newest.run).await, Standing::Queued(0));
    assert_eq!(outcome(running).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(end(newest).await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_refused_interrupts_nobody() {
    let fake = Fake::new(with(Overlap::Interrupt));
    let host = Host::new(fake, Limits { runs: 2, ..LIMITS });
    let running = begun(&host, "alice", "take 10s").await;
    let _waiting = host.submit("bob", "stuck").unwrap();
    assert_eq!(host.refusal("alice", "count"), Code::Overloaded);
    assert_eq!(outcome(running).await, Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_knows_its_place() {
    let host = Host::with_policy(with(Overlap::Queue));
    let runs: Vec<_> = (0..4).map(|_| host.submit("alice", "take 10s").unwrap().run).collect();
    settle().await;
    for next in 0..4 {
        assert_eq!(host.standing(runs[next]).await, Standing::Running);
        for (waiting, run) in runs[next + 1..].iter().enumerate() {
            assert_eq!(host.standing(*run).await, Standing::Queued(waiting));
        }
        tokio::time::sleep(seconds(10)).await;
        settle().await;
    }
}
