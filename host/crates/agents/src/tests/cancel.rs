//! Cancelling: what it does to a run that waits, launches, runs, or has ended.

use rookery_core::Generation;

use super::*;
use crate::tests::guests::{Event, Launching};

#[tokio::test(start_paused = true)]
async fn a_queued_run_that_is_cancelled_ends_at_once_and_never_starts() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let running = begun(&host, "alice", "take 10s").await;
    let [queued, next] = ["say queued", "count"].map(|text| host.submit("alice", text).unwrap());
    assert_eq!(host.cancel(queued.run).await, Cancelling::NeverStarts);
    assert_eq!(end(queued).await.outcome, Outcome::Cancelled(Stop::BeforeStart));
    assert_eq!(clock(), seconds(0));
    assert_eq!(outcome(running).await, Outcome::Done);
    assert_eq!(end(next).await, Ended::done("2"), "the instance has not heard of it");
    assert!(!host.guests.began("say queued"));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_notices_and_returns_keeps_its_instance() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    for (text, took) in [("tick 1s", 1), ("open", 0), ("open, fail", 0), ("take 4s", 4)] {
        let mut run = begun(&host, "alice", text).await;
        let before = clock();
        assert_eq!(host.cancel(run.run).await, Cancelling::Told);
        let seen = rest(&mut run.events).await;
        let last = &seen.last().unwrap().item;
        assert_eq!(last, &Item::Outcome(Outcome::Cancelled(Stop::Returned)), "{text}");
        assert_eq!(clock() - before, seconds(took), "{text}");
    }
    assert_eq!(host.run("alice", "count").await, Ended::done("5"));
    assert_eq!(host.guests.launches(), [Generation(1)]);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_written_after_cancelling_is_taken() {
    let host = Host::with_policy(POLICY);
    let run = begun(&host, "alice", "open, say late").await;
    host.cancel(run.run).await;
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Returned));
    assert!(host.guests.events().contains(&Event::Refused));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_return_loses_its_instance_exactly_after_the_grace() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let run = begun(&host, "alice", "stuck").await;
    let queued = host.submit("alice", "count").unwrap();
    tokio::time::sleep(seconds(7)).await;
    assert_eq!(host.cancel(run.run).await, Cancelling::Told);
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(clock(), seconds(7) + GRACE, "neither early nor late");
    assert_eq!(end(queued).await, Ended::done("1"), "in a new instance");
    assert_eq!(clock(), seconds(7) + GRACE);
    let instances = [
        Event::Launched(Generation(1)),
        Event::Began("say on, stuck".into()),
        Event::Dropped(Generation(1)),
        Event::Launched(Generation(2)),
    ];
    assert_eq!(host.guests.events()[..4], instances);
}

#[tokio::test(start_paused = true)]
async fn the_grace_is_the_plugins_and_a_guest_that_returns_just_in_it_is_left_alone() {
    let host = Host::with_policy(Policy { grace: seconds(2), ..POLICY });
    for (text, stop) in [("take 1999ms", Stop::Returned), ("take 2001ms", Stop::Dropped)] {
        let run = begun(&host, "alice", text).await;
        host.cancel(run.run).await;
        assert_eq!(outcome(run).await, Outcome::Cancelled(stop), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_cancelled_run_had_open_ends_at_once_and_not_with_its_outcome() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let run = begun(&host, "alice", "open, stuck").await;
    host.cancel(run.run).await;
    host.guests.until(|state| state.events.contains(&Event::Closed)).await;
    assert_eq!(clock(), seconds(0));
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Dropped));
}

#[tokio::test(start_paused = true)]
async fn cancelling_twice_or_after_the_end_changes_nothing() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let run = begun(&host, "alice", "stuck").await;
    assert_eq!(host.cancel(run.run).await, Cancelling::Told);
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(host.cancel(run.run).await, Cancelling::Told);
    let id = run.run;
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(clock(), GRACE, "the second time does not begin the grace anew");
    assert_eq!(host.directory.cancel(id).await.unwrap(), None, "nobody keeps it");

    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let run = host.submit("alice", "count").unwrap();
    settle().await;
    assert_eq!(host.cancel(run.run).await, Cancelling::Over, "it has its outcome, which nobody has seen");
    archive.release();
    assert_eq!(host.cancel(run.run).await, Cancelling::Over);
    assert_eq!(end(run).await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_while_its_instance_is_launched_never_reaches_a_guest() {
    for launching in [Launching::NeverEnds, Launching::Takes(seconds(60))] {
        let (host, clock) = (Host::new(Fake::launching(POLICY, launching), LIMITS), clock());
        let run = host.submit("alice", "say cancelled").unwrap();
        settle().await;
        assert_eq!(host.cancel(run.run).await, Cancelling::Told);
        assert!(matches!(end(run).await.outcome, Outcome::Cancelled(_)));
        assert_eq!(clock(), seconds(0), "a launch has no grace");
        settle().await;
        assert_eq!((host.agents(), host.directory.live()), (0, 0));
        assert!(!host.guests.began("say cancelled"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_while_its_answer_is_on_its_way_is_cancelled() {
    let host = Host::with_policy(POLICY);
    for text in ["cancel, answer", "say on, cancel, fail", "cancel, say refused"] {
        let ended = host.run("alice", text).await;
        assert_eq!(
            ended.outcome,
            Outcome::Cancelled(Stop::Returned),
            "{text}: an answer that may lack its end"
        );
    }
    assert_eq!(host.run("alice", "count").await, Ended::done("4"));
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_that_is_cancelled_gives_its_places_back_at_once() {
    let policy = Policy { queue: 2, ..POLICY };
    let host = Host::new(Fake::new(policy), Limits { runs: 3, ..LIMITS });
    let running = begun(&host, "alice", "take 10s").await;
    let waiting = ["say one", "say two"].map(|text| host.submit("alice", text).unwrap());
    assert_eq!(host.refusal("bob", "count"), Code::Overloaded);
    host.cancel(waiting[0].run).await;
    assert_eq!(host.standing(waiting[1].run).await, Standing::Queued(0), "the place before it is gone");
    assert_eq!(host.run("bob", "count").await, Ended::done("1"));
    let next = host.submit("alice", "count").expect("the mailbox has room");
    assert_eq!(host.refusal("alice", "count"), Code::Overloaded);
    assert_eq!(outcome(running).await, Outcome::Done);
    assert_eq!(end(next).await, Ended::done("3"));
    assert!(!host.guests.began("say one"));
}

#[tokio::test(start_paused = true)]
async fn a_trap_in_the_grace_drops_the_instance_at_once_and_a_deadline_in_it_changes_nothing() {
    let (host, clock) = (Host::with_policy(Policy { deadline: seconds(10), ..POLICY }), clock());
    let run = begun(&host, "alice", "open, trap").await;
    host.cancel(run.run).await;
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(clock(), seconds(0));
    let run = begun(&host, "alice", "stuck").await;
    tokio::time::sleep(seconds(8)).await;
    host.cancel(run.run).await;
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Dropped));
    assert_eq!(clock(), seconds(8) + GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_does_not_wait_for_the_grace_of_a_cancelled_run() {
    let (host, clock) = (Host::with_policy(Policy { grace: seconds(100), ..POLICY }), clock());
    let run = begun(&host, "alice", "stuck").await;
    host.cancel(run.run).await;
    assert_eq!(host.directory.drain(seconds(30)).await, 1);
    assert_eq!(clock(), seconds(30));
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Dropped));
}
