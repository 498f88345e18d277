//! A hundred thousand agents with alarms, counted rather than timed.

use std::sync::atomic::Ordering;

use tokio::time::{sleep, timeout};

use super::fake::{Run, World, agent, run, seconds};
use crate::{Limits, Missed, Rung, Timing};

const AGENTS: usize = 100_000;

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_that_wait_are_not_looked_at() {
    let world = World::new();
    for n in 0..AGENTS as u64 {
        let due = Timing::After(3_600_000 + n);
        world.set(&agent(&format!("{n}")), "alarm", due, Missed::RingOnce);
    }
    let _host = world.start();
    sleep(seconds(3_599)).await;
    assert_eq!(world.disk().begins, 0);
    let looks = world.looks.load(Ordering::Relaxed);
    // Once for each page that was read at the start, and every 30 s.
    assert!(looks <= AGENTS / 1_000 + 3_600 / 30 + 10, "{looks}");
    sleep(seconds(200)).await;
    assert_eq!(counted(&world), [AGENTS; 3], "one look, one ring, one settling each");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_that_are_due_at_once_ring_a_few_at_a_time() {
    let world = World::new();
    for n in 0..AGENTS {
        world.set(&agent(&format!("{n}")), "alarm", Timing::After(0), Missed::RingOnce);
    }
    let mut left = AGENTS;
    let (all, done) = tokio::sync::oneshot::channel();
    let mut all = Some(all);
    world.script(move |_, _| -> Run {
        left -= 1;
        if left == 0 {
            all.take().unwrap().send(()).unwrap();
        }
        run(1, Rung::Done)
    });
    let host = world.start();
    timeout(seconds(10_000), done).await.expect("all ring").unwrap();
    sleep(seconds(5)).await;
    assert_eq!(counted(&world), [AGENTS; 3], "one look, one ring, one settling each");
    assert_eq!(host.up.most.load(Ordering::Relaxed), Limits::default().rings);
    // Two a run, for its look and its settling, and two steps, after it began and after it ended.
    let looks = world.looks.load(Ordering::Relaxed);
    assert!(looks <= 4 * AGENTS + 1_000, "{looks}");
}

fn counted(world: &World) -> [usize; 3] {
    let disk = world.disk();
    [disk.begins, world.rings().len(), disk.settles]
}
