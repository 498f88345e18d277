//! When an instance goes to sleep, and what it may do first.

use rookery_core::Generation;

use super::*;
use crate::tests::guests::{Event, Sleeping};

fn sleeping(how: Sleeping) -> Host {
    let mut fake = Fake::new(POLICY);
    fake.sleeping = how;
    Host::new(fake, LIMITS)
}

/// What the guests did beside beginning runs.
fn lives(host: &Host) -> Vec<Event> {
    let mut events = host.guests.events();
    events.retain(|event| !matches!(event, Event::Began(_)));
    events
}

async fn asleep(host: &Host, generation: u64) {
    let dropped = Event::Dropped(Generation(generation));
    host.guests.until(|state| state.events.contains(&dropped)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_has_been_idle_sleeps_and_is_dropped_and_the_next_run_meets_a_new_one() {
    let (host, clock) = (sleeping(Sleeping::Takes(seconds(1))), clock());
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    tokio::time::sleep(seconds(59)).await;
    assert_eq!(host.run("alice", "count").await, Ended::done("2"), "it is still live");
    asleep(&host, 1).await;
    assert_eq!(clock(), seconds(59) + SLEEP_AFTER + seconds(1), "neither early nor late");
    assert_eq!((host.agents(), host.directory.live()), (0, 0), "an agent that sleeps costs nothing");
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    let one = Generation(1);
    let life = [Event::Launched(one), Event::AskedToSleep(one), Event::Asleep(one), Event::Dropped(one)];
    assert_eq!(lives(&host)[..4], life);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_runs_a_run_or_does_work_left_over_does_not_sleep() {
    let (host, clock) = (sleeping(Sleeping::Takes(seconds(0))), clock());
    assert_eq!(host.run("alice", "take 500s").await, Ended::done(""));
    assert_eq!(host.run("alice", "count, answer, take 300s").await, Ended::done("2"));
    assert_eq!(clock(), seconds(500));
    tokio::time::sleep(seconds(299)).await;
    assert_eq!(host.run("alice", "count").await, Ended::done("3"), "it was at work");
    asleep(&host, 1).await;
    assert_eq!(clock(), seconds(800) + SLEEP_AFTER, "counted from when it had nothing more to do");
}

#[tokio::test(start_paused = true)]
async fn work_left_over_keeps_an_instance_only_as_long_as_a_run_may_take() {
    let (host, clock) = (sleeping(Sleeping::Takes(seconds(0))), clock());
    assert_eq!(host.run("alice", "answer, stuck").await, Ended::done(""));
    asleep(&host, 1).await;
    assert_eq!(clock(), DEADLINE);
    let one = Generation(1);
    assert_eq!(lives(&host), [Event::Launched(one), Event::Dropped(one)], "it cannot be asked anything");
}

#[tokio::test(start_paused = true)]
async fn one_that_makes_room_for_another_sleeps_first_and_one_with_work_left_over_does_not_make_room() {
    let host = Host::new(Fake::new(POLICY), Limits { live: 1, ..LIMITS });
    assert_eq!(host.run("alice", "answer, take 3s").await, Ended::done(""));
    let clock = clock();
    assert_eq!(host.run("bob", "count").await, Ended::done("1"));
    assert_eq!(clock(), seconds(3), "when the work was done");
    let (one, two) = (Generation(1), Generation(2));
    let lives = lives(&host);
    let changed = [Event::AskedToSleep(one), Event::Asleep(one), Event::Dropped(one), Event::Launched(two)];
    assert_eq!(lives[1..], changed);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_comes_while_its_agent_goes_to_sleep_waits_for_the_new_instance() {
    let (host, clock) = (sleeping(Sleeping::Takes(seconds(2))), clock());
    host.run("alice", "count").await;
    host.guests.until(|state| state.events.contains(&Event::AskedToSleep(Generation(1)))).await;
    assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    assert_eq!(clock(), SLEEP_AFTER + seconds(2));
    assert_eq!(host.guests.state().most_live, 1, "never two of one agent");
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_go_to_sleep_is_dropped_after_the_grace_and_a_trap_is_no_harm() {
    for (how, takes) in [(Sleeping::Never, GRACE), (Sleeping::Traps, seconds(0))] {
        let (host, clock) = (sleeping(how), clock());
        host.run("alice", "count").await;
        asleep(&host, 1).await;
        assert_eq!(clock(), SLEEP_AFTER + takes);
        assert_eq!(host.run("alice", "count").await, Ended::done("1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_lets_idle_instances_sleep() {
    let host = sleeping(Sleeping::Takes(seconds(1)));
    host.run("alice", "count").await;
    assert_eq!(host.directory.drain(seconds(30)).await, 0);
    assert!(lives(&host).contains(&Event::Asleep(Generation(1))));
}
