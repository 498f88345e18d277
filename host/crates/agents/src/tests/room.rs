//! Room for live instances: who goes when another needs it.

use rookery_core::Generation;

use super::*;
use crate::tests::guests::Event;

fn two_live() -> Host {
    Host::new(Fake::new(POLICY), Limits { live: 2, ..LIMITS })
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_agent_makes_room_and_comes_back_with_a_new_generation() {
    let (host, clock) = (two_live(), clock());
    for name in ["alice", "bob", "alice"] {
        host.run(name, "count").await;
    }
    assert_eq!(host.run("carol", "count").await, Ended::done("1"));
    assert_eq!(host.run("alice", "count").await, Ended::done("3"), "bob was idle for longer");
    assert_eq!(host.run("bob", "count").await, Ended::done("1"), "it begins anew");
    assert_eq!(host.guests.launches(), [1, 2, 3, 4].map(Generation));
    let state = host.guests.state();
    let position = |event| state.events.iter().position(|other| *other == event);
    assert!(position(Event::Dropped(Generation(2))) < position(Event::Launched(Generation(4))));
    assert_eq!((state.most_live, host.directory.live()), (2, 2));
    assert_eq!(clock(), seconds(0), "nobody had to wait");
}

#[tokio::test(start_paused = true)]
async fn a_busy_agent_is_not_evicted() {
    let (host, clock) = (two_live(), clock());
    let busy = begun(&host, "alice", "take 10s, count").await;
    for name in ["bob", "carol", "dave"] {
        assert_eq!(host.run(name, "count").await, Ended::done("1"));
    }
    assert_eq!(clock(), seconds(0), "the idle one went each time");
    let mut busy = busy;
    assert_eq!(next_text(&mut busy.events).await, "1");
    assert_eq!(outcome(busy).await, Outcome::Done);
    assert_eq!(host.run("alice", "count").await, Ended::done("2"));
    assert_eq!(host.guests.state().most_live, 2);
}

#[tokio::test(start_paused = true)]
async fn who_finds_all_busy_is_told_so_after_a_while() {
    let (host, clock) = (two_live(), clock());
    let _busy = [begun(&host, "alice", "take 60s").await, begun(&host, "bob", "take 60s").await];
    assert_eq!(host.run("carol", "count").await.code(), Code::Overloaded);
    assert_eq!(clock(), crate::live::PATIENCE, "neither early nor late");
    assert!(host.guests.launches().len() == 2 && host.agents() == 2, "carol is forgotten");
}

#[tokio::test(start_paused = true)]
async fn who_finds_all_busy_gets_the_room_of_the_first_that_ends() {
    let (host, clock) = (two_live(), clock());
    let _busy = [begun(&host, "alice", "take 60s").await, begun(&host, "bob", "take 2s").await];
    assert_eq!(host.run("carol", "count").await, Ended::done("1"));
    assert_eq!(clock(), seconds(2));
    assert_eq!(host.guests.state().most_live, 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_for_an_agent_that_is_being_evicted_is_served_all_the_same() {
    let host = two_live();
    for name in ["alice", "bob"] {
        host.run(name, "count").await;
    }
    // Both before either agent's task has moved.
    let [evicting, evicted] = ["carol", "alice"].map(|name| host.submit(name, "count").unwrap());
    assert_eq!(end(evicting).await, Ended::done("1"));
    assert!(["1", "2"].contains(&end(evicted).await.text.as_str()));
    assert_eq!(host.guests.state().broken, [""; 0]);
    assert_eq!(host.guests.state().most_live, 2);
}
