//! What the clock does when runs, agents, disks and hosts fail.

use std::time::Duration;

use tokio::time::sleep;

use super::fake::{START, World, after, agent, run, seconds, until};
use crate::{ATTEMPTS, Missed, Period, Rung, Timing};

fn failed() -> Rung {
    Rung::Failed("no model".into())
}

fn refused() -> Rung {
    Rung::Refused("the mailbox is full".into())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_is_tried_again_six_times_in_all_and_stays_as_failed() {
    let world = World::new();
    let host = world.start();
    world.script(|_, _| run(0, failed()));
    host.set("alice", "tea", after(10));
    sleep(seconds(100_000)).await;
    let tried: Vec<_> = world.heard().into_iter().map(|(_, _, attempt, at)| (attempt, at)).collect();
    assert_eq!(tried, [(1, 10.0), (2, 11.0), (3, 13.0), (4, 17.0), (5, 25.0), (6, 41.0)]);
    let progress = world.alarm("alice", "tea").unwrap().progress;
    assert_eq!((progress.rings, progress.failure.as_deref()), (None, Some("no model")));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_one_that_failed_goes_on_with_its_next_time() {
    let world = World::new();
    let host = world.start();
    world.script(|_, ringing| run(0, if ringing.due < START + 20_000 { failed() } else { Rung::Done }));
    host.set("alice", "tick", Timing::Every(Period::new(10_000).unwrap()));
    sleep(seconds(65)).await;
    let tried: Vec<_> =
        world.rings().iter().map(|ring| (ring.ringing.due - START, ring.ringing.attempt)).collect();
    let of_the_first = (1..=ATTEMPTS).map(|attempt| (10_000, attempt));
    assert_eq!(tried, of_the_first.chain([(50_000, 1), (60_000, 1)]).collect::<Vec<_>>());
    assert_eq!(world.alarm("alice", "tick").unwrap().progress.failure, None, "it did better since");
}

#[tokio::test(start_paused = true)]
async fn one_that_always_fails_holds_up_no_other_of_its_agent() {
    let world = World::new();
    let host = world.start();
    world.script(|_, ringing| run(0, if ringing.name == "bad" { failed() } else { Rung::Done }));
    host.set("alice", "bad", Timing::Every(Period::new(1_000).unwrap()));
    host.set("alice", "good", Timing::Every(Period::new(1_000).unwrap()));
    sleep(seconds(120)).await;
    let good = world.rings().iter().filter(|ring| ring.ringing.name == "good").count();
    assert!((119..=120).contains(&good), "{good}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_run_is_tried_again_by_and_by_without_counting() {
    let world = World::new();
    let host = world.start();
    let (mut left, asked) = (9, std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let (at, its) = (asked.clone(), world.clone());
    world.script(move |_, _| {
        at.lock().unwrap().push((its.now() - START) / 1_000);
        left -= 1;
        run(0, if left > 0 { refused() } else { Rung::Done })
    });
    host.set("alice", "tea", after(10));
    sleep(seconds(1_000)).await;
    assert_eq!(*asked.lock().unwrap(), [10, 11, 13, 17, 25, 41, 73, 137, 265]);
    assert_eq!(world.heard(), [("alice".to_owned(), "tea".to_owned(), 1, 265.0)], "the first attempt");
}

#[tokio::test(start_paused = true)]
async fn setting_alarms_does_not_shorten_the_pause_after_a_refusal() {
    let world = World::new();
    let host = world.start();
    world.script(|_, _| run(0, refused()));
    host.set("alice", "tea", after(0));
    for n in 0..100 {
        sleep(seconds(1)).await;
        host.set("alice", &format!("{n}"), after(0));
    }
    let begins = world.disk().begins;
    assert!(begins <= 8, "1, 2, 4 … 64 s apart, but {begins}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_be_rung_or_read_holds_up_no_other() {
    let world = World::new();
    let host = world.start();
    world.script(|agent, _| run(0, if agent.name.as_str() == "full" { refused() } else { Rung::Done }));
    world.disk().damaged.insert(agent("damaged"));
    for agent in ["damaged", "full", "good"] {
        for n in 0..100 {
            host.set(agent, &format!("{n}"), after(10));
        }
    }
    until(|| world.rings().len() == 100).await;
    assert_eq!(world.now(), START + 10_001, "as soon as they were due");
    world.disk().damaged.clear();
    sleep(seconds(2)).await;
    assert_eq!(world.rings().len(), 200, "the damaged one was mended");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_a_crash_cut_off_is_followed_by_the_next_one() {
    let world = World::new();
    world.script(|_, _| run(3_600, Rung::Done));
    let host = world.start();
    host.set("alice", "tea", after(10));
    sleep(seconds(20)).await;
    host.crash();
    for _ in 0..10 {
        sleep(seconds(10)).await;
        let host = world.start();
        sleep(seconds(10)).await;
        host.crash();
    }
    let attempts: Vec<_> = world.heard().into_iter().map(|(_, _, attempt, _)| attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 6], "what takes the host with it does so six times");
    let failure = world.alarm("alice", "tea").unwrap().progress.failure;
    assert_eq!(failure.as_deref(), Some("the host does not know how its last attempt ended"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_cut_off_is_not_skipped_as_missed() {
    let world = World::new();
    world.script(|_, _| run(3_600, Rung::Done));
    let host = world.start();
    let (_, due) = world.set(&agent("alice"), "tea", after(10), Missed::Skip);
    host.clock.due(&agent("alice"), due);
    sleep(seconds(20)).await;
    host.crash();
    let _host = world.start();
    sleep(seconds(1)).await;
    assert_eq!(world.heard().last(), Some(&("alice".to_owned(), "tea".to_owned(), 2, 20.0)));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_written_is_tried_for_a_while_and_then_rings_again() {
    let world = World::new();
    let host = world.start();
    world.disk().unsettled = 3;
    host.set("alice", "tea", after(10));
    sleep(seconds(60)).await;
    assert_eq!(world.rings().len(), 1, "written after three failures");
    world.disk().unsettled = 5;
    host.set("alice", "tea", after(10));
    sleep(seconds(60)).await;
    let attempts: Vec<_> = world.heard().into_iter().map(|(_, _, attempt, _)| attempt).collect();
    assert_eq!(attempts, [1, 1, 2]);
    assert_eq!(host.ringing(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_the_others_nothing() {
    let world = World::new();
    let host = world.start_with(crate::Limits { rings: 1, of_one: 1 });
    let mut left = 3;
    world.script(move |_, _| {
        left -= 1;
        assert!(left <= 0, "this panic is part of the test");
        run(0, Rung::Done)
    });
    host.set("alice", "tea", after(10));
    host.set("bob", "tea", after(10));
    sleep(seconds(60)).await;
    let heard = [("bob", 2, 11.0), ("alice", 2, 11.0)];
    let mut rang: Vec<_> =
        world.heard().into_iter().map(|(agent, _, attempt, at)| (agent, attempt, at)).collect();
    rang.sort_by(|a, b| b.0.cmp(&a.0));
    assert_eq!(rang, heard.map(|(agent, attempt, at)| (agent.to_owned(), attempt, at)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_agent_that_was_in_line_again_is_paused_too() {
    let world = World::new();
    let host = world.start_with(crate::Limits { rings: 1, of_one: 4 });
    world.disk().takes = Duration::from_millis(100);
    world.script(|_, _| run(0, refused()));
    for n in 0..100 {
        host.set("alice", &format!("{n}"), after(10));
    }
    sleep(Duration::from_millis(10_500)).await;
    assert_eq!(world.disk().begins, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_short_again_when_the_agent_could_be_rung() {
    let world = World::new();
    let host = world.start();
    host.set("alice", "later", after(10_000));
    let mut left = 4;
    world.script(move |_, _| {
        left -= 1;
        run(0, if left > 0 { refused() } else { Rung::Done })
    });
    host.set("alice", "first", after(0));
    sleep(seconds(20)).await;
    let mut left = 2;
    world.script(move |_, _| {
        left -= 1;
        run(0, if left > 0 { refused() } else { Rung::Done })
    });
    host.set("alice", "second", after(0));
    sleep(seconds(20)).await;
    let at: Vec<_> = world.heard().into_iter().map(|(.., at)| at).collect();
    assert_eq!(at, [7.0, 21.0]);
}

#[tokio::test(start_paused = true)]
async fn alarms_that_cannot_be_read_at_the_start_are_read_later_and_hold_up_no_new_ones() {
    let world = World::new();
    world.set(&agent("alice"), "kept", after(0), Missed::RingOnce);
    world.disk().unread = 3;
    let host = world.start();
    host.set("bob", "new", after(0));
    sleep(seconds(60)).await;
    let at: Vec<_> = world.heard().into_iter().map(|(_, name, _, at)| (name, at)).collect();
    assert_eq!(at, [("new".to_owned(), 0.0), ("kept".to_owned(), 7.0)]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_alarms_is_forgotten_however_its_last_one_went() {
    let world = World::new();
    let host = world.start();
    let ends = [Rung::Done, failed(), refused()];
    world.script(move |agent, _| run(1, ends[usize::from(agent.name.as_str().as_bytes()[0] - b'0')].clone()));
    for agent in ["0", "1", "2"] {
        host.set(agent, "tea", after(10));
    }
    sleep(seconds(10)).await;
    assert_eq!(host.clock.known(), 3);
    until(|| world.rings().len() == 2).await;
    for agent in ["1", "2"] {
        assert!(host.cancel(agent, "tea"));
    }
    sleep(seconds(100)).await;
    assert_eq!(host.clock.known(), 0);
}
