//! When the clock rings.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::fake::{START, World, after, agent, run, seconds, until};
use crate::{LOOK_AGAIN, Limits, Missed, Period, Rung, Timing};

fn heard(agent: &str, alarm: &str, attempt: u32, at: f64) -> (String, String, u32, f64) {
    (agent.to_owned(), alarm.to_owned(), attempt, at)
}

#[tokio::test(start_paused = true)]
async fn an_alarm_rings_when_it_is_due_and_an_earlier_one_before_it() {
    let world = World::new();
    let host = world.start();
    host.set("alice", "late", after(3_600));
    sleep(seconds(10)).await;
    host.set("bob", "early", Timing::At(START + 20_005));
    host.set("bob", "past", Timing::At(0));
    sleep(seconds(4_000)).await;
    assert_eq!(
        world.heard(),
        [heard("bob", "past", 1, 10.0), heard("bob", "early", 1, 20.005), heard("alice", "late", 1, 3_600.0)]
    );
    assert!(world.alarm("alice", "late").is_none(), "it has rung and is gone");
}

#[tokio::test(start_paused = true)]
async fn what_is_due_every_so_often_does_not_drift_and_rings_once_for_what_a_run_outlasted() {
    let world = World::new();
    let host = world.start();
    let mut takes = [0, 35, 0, 0].into_iter();
    world.script(move |_, _| run(takes.next().unwrap_or(0), Rung::Done));
    host.set("alice", "tick", Timing::Every(Period::new(10_000).unwrap()));
    sleep(seconds(75)).await;
    let at: Vec<_> = world.rings().iter().map(|ring| (ring.ringing.due - START, ring.at - START)).collect();
    // The second run goes from 20 to 55: 30, 40 and 50 ring together when it has ended.
    assert_eq!(
        at,
        [(10_000, 10_000), (20_000, 20_000), (30_000, 55_000), (60_000, 60_000), (70_000, 70_000)]
    );
}

#[tokio::test(start_paused = true)]
async fn several_that_are_due_ring_as_runs_of_their_own_a_few_at_once() {
    let world = World::new();
    let host = world.start_with(Limits { rings: 64, of_one: 4 });
    world.script(|_, _| run(10, Rung::Done));
    for name in ["a", "b", "c", "d", "e", "f"] {
        host.set("alice", name, after(5));
    }
    sleep(seconds(30)).await;
    let heard: Vec<_> = world.heard().into_iter().map(|(_, name, _, at)| (name, at)).collect();
    let expected = [("a", 5.0), ("b", 5.0), ("c", 5.0), ("d", 5.0), ("e", 15.0), ("f", 15.0)];
    assert_eq!(heard, expected.map(|(name, at)| (name.to_owned(), at)));
}

#[tokio::test(start_paused = true)]
async fn an_agent_with_many_that_are_due_does_not_keep_others_from_their_turn() {
    let world = World::new();
    let host = world.start_with(Limits { rings: 1, of_one: 2 });
    world.script(|_, _| run(1, Rung::Done));
    for n in 0..100 {
        host.set("many", &format!("{n}"), after(5));
    }
    for before_and_after_it in ["few", "one"] {
        host.set(before_and_after_it, "alarm", after(5));
    }
    sleep(seconds(200)).await;
    let others = world.heard().into_iter().filter(|(agent, ..)| agent != "many");
    let at: Vec<_> = others.map(|(.., at)| at).collect();
    assert!(at.len() == 2 && at.iter().all(|at| *at <= 7.0), "{at:?}");
    assert_eq!(world.rings().len(), 102);
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_holds_up_only_its_own_agent() {
    let world = World::new();
    let host = world.start_with(Limits { rings: 5, of_one: 4 });
    world.script(|agent, _| run(if agent.name.as_str() == "slow" { 10_000 } else { 0 }, Rung::Done));
    for n in 0..10 {
        host.set("slow", &format!("{n}"), after(0));
    }
    for n in 0..10 {
        host.set(&format!("quick-{n}"), "alarm", after(5));
    }
    sleep(seconds(5)).await;
    until(|| world.rings().len() == 14).await;
    assert_eq!(world.now(), START + 5_001, "as soon as it was due");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_set_again_while_it_rings_rings_after_that() {
    let world = World::new();
    let host = world.start();
    world.script(|_, _| run(10, Rung::Failed("never mind".into())));
    let first = host.set("alice", "again", after(5));
    sleep(seconds(8)).await;
    world.script(|_, _| run(0, Rung::Done));
    let second = host.set("alice", "again", after(0));
    sleep(seconds(100)).await;
    let rings: Vec<_> = world.rings().iter().map(|ring| (ring.ringing.version, ring.at - START)).collect();
    assert_eq!(rings, [(first, 5_000), (second, 15_000)], "and the first is not tried again");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_while_it_rings_is_not_tried_again() {
    let world = World::new();
    let host = world.start();
    world.script(|_, _| run(10, Rung::Failed("never mind".into())));
    host.set("alice", "tea", after(5));
    sleep(seconds(8)).await;
    assert!(host.cancel("alice", "tea"));
    sleep(seconds(1_000)).await;
    assert_eq!(world.heard(), [heard("alice", "tea", 1, 5.0)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_rings_once_or_not_at_all() {
    let world = World::new();
    let minute = || Timing::Every(Period::new(60_000).unwrap());
    for (name, timing, missed) in [
        ("once", after(10), Missed::RingOnce),
        ("skipped", after(10), Missed::Skip),
        ("every", minute(), Missed::RingOnce),
        ("every-skipped", minute(), Missed::Skip),
    ] {
        world.set(&agent(name), "alarm", timing, missed);
    }
    sleep(seconds(610)).await;
    let _host = world.start();
    sleep(seconds(60)).await;
    let mut heard: Vec<_> = world.heard().into_iter().map(|(agent, _, _, at)| (agent, at)).collect();
    heard.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let expected = [("every", 610.0), ("every", 660.0), ("every-skipped", 660.0), ("once", 610.0)];
    assert_eq!(heard, expected.map(|(name, at)| (name.to_owned(), at)));
    assert!(world.alarm("skipped", "alarm").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_was_set_forward_is_noticed_soon() {
    let world = World::new();
    let host = world.start();
    host.set("alice", "tea", after(7_200));
    sleep(seconds(3_600)).await;
    world.set_by.store(7_200_000, Ordering::Relaxed);
    let set = world.now();
    until(|| !world.rings().is_empty()).await;
    let late = Duration::from_millis(world.rings()[0].at - set);
    assert!(late <= LOOK_AGAIN, "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_was_set_back_makes_nothing_ring_early_and_stretches_no_pause() {
    let world = World::new();
    let host = world.start();
    world.script(|_, _| run(0, Rung::Refused("full".into())));
    host.set("alice", "refused", after(10));
    host.set("bob", "tea", after(20));
    sleep(seconds(11)).await;
    world.set_by.store(-10_000, Ordering::Relaxed);
    world.script(|_, _| run(0, Rung::Done));
    sleep(seconds(30)).await;
    // By the wall: `refused` is due at 10 once more, and `tea` at 20 as ever.
    assert_eq!(world.heard(), [heard("alice", "refused", 1, 10.0), heard("bob", "tea", 1, 20.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_stopped_rings_no_more_and_waits_for_what_rings() {
    let world = World::new();
    let host = world.start();
    world.script(|_, _| run(10, Rung::Done));
    host.set("alice", "tea", after(5));
    host.set("bob", "later", after(8));
    sleep(seconds(6)).await;
    host.clock.stop();
    host.clock.settled().await;
    assert_eq!(world.now() - START, 15_000);
    sleep(seconds(100)).await;
    assert_eq!(world.heard(), [heard("alice", "tea", 1, 5.0)]);
    assert!(world.alarm("alice", "tea").is_none(), "its run's end is written");
    let untouched = world.alarm("bob", "later").unwrap();
    assert_eq!(untouched.progress.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_begun_as_the_clock_is_stopped_is_not_rung_and_not_counted() {
    let world = World::new();
    world.disk().takes = seconds(2);
    let host = world.start();
    host.set("alice", "tea", after(5));
    sleep(seconds(6)).await;
    host.clock.stop();
    host.clock.settled().await;
    assert!(world.rings().is_empty());
    assert_eq!(world.alarm("alice", "tea").unwrap().progress.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_nobody_holds_stops() {
    let world = World::new();
    let host = world.start();
    host.set("alice", "tea", after(5));
    drop(host);
    sleep(seconds(10)).await;
    assert!(world.rings().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_agent_stays_while_its_alarm_rings_and_no_longer() {
    let world = World::new();
    let host = world.start();
    world.disk().takes = seconds(2);
    world.script(|_, _| run(10, Rung::Done));
    host.set("alice", "tea", after(10));
    let staying = || host.up.staying.lock().unwrap().contains_key(&agent("alice"));
    sleep(seconds(9)).await;
    assert!(!staying(), "it is not due");
    // It begins for 2 s, rings for 10 and is settled for 2; the halves of seconds are for nothing to coincide.
    sleep(Duration::from_millis(1_500)).await;
    for second in 0..13 {
        assert!(staying(), "{second}");
        sleep(seconds(1)).await;
    }
    sleep(seconds(1)).await;
    assert!(!staying(), "it is settled");
}
