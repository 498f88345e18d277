//! Alarms set, replaced and cancelled, runs that fail and are refused, hosts that crash, from a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use super::fake::{Host, Ring, Run, World, seconds};
use crate::{Limits, Period, Rung, Timing};

/// A linear congruential generator (the constants are Knuth's, of MMIX): the same seed is the same run of events.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What an agent set, as it should be heard.
#[derive(Debug)]
struct Wanted {
    timing: Timing,
    set: u64,
    /// When it was cancelled or set again.
    until: Option<u64>,
}

type Wishes = BTreeMap<u64, Wanted>;

/// An alarm may ring so much later than it is due where nothing fails: it waits for its own last run and, a few at a
/// time, for others'.
const SLACK: u64 = 30_000;

#[tokio::test(start_paused = true)]
async fn every_due_time_rings_exactly_once_where_nothing_fails() {
    for seed in 0..150 {
        let (wishes, world) = whatever_happens(seed, false).await;
        let rings = by_version(&world);
        for ring in rings.values().flatten() {
            assert_eq!(ring.ringing.attempt, 1, "{seed}: {ring:?}");
        }
        for (version, wanted) in &wishes {
            let rings = rings.get(version).map_or(&[][..], |rings| rings);
            let mut dues: Vec<_> = rings.iter().map(|ring| ring.ringing.due).collect();
            dues.dedup();
            assert_eq!(dues.len(), rings.len(), "{seed}: twice: {rings:?}");
            check(seed, wanted, rings, wanted.until.unwrap_or(world.now()).saturating_sub(SLACK));
        }
        assert!(world.rings().len() > 50, "{seed}: {}", world.rings().len());
    }
}

#[tokio::test(start_paused = true)]
async fn every_due_time_rings_at_least_once_whatever_fails() {
    for seed in 0..150 {
        let (wishes, world) = whatever_happens(seed, true).await;
        let rings = by_version(&world);
        for (version, wanted) in wishes.iter().filter(|(_, wanted)| wanted.until.is_none()) {
            let rings = rings.get(version).map_or(&[][..], |rings| rings);
            check(seed, wanted, rings, world.now() - SLACK);
        }
        assert!(world.rings().iter().any(|ring| ring.ringing.attempt > 1), "{seed}: nothing failed");
    }
}

/// Each time that was due by `end` is one that rang, or was passed over by a later ring for an earlier one.
fn check(seed: u64, wanted: &Wanted, rings: &[Ring], end: u64) {
    let (mut due, period) = match &wanted.timing {
        Timing::Every(period) => (wanted.set + period.millis(), period.millis()),
        Timing::After(after) => (wanted.set + after, u64::MAX / 2),
        Timing::At(at) => (*at, u64::MAX / 2),
        Timing::Cron(_) => unreachable!("tested against a reference"),
    };
    let first = due;
    for ring in rings {
        assert_eq!((ring.ringing.due - first) % period, 0, "{seed}: not one of its times: {ring:?}");
    }
    while due <= end {
        let rang = rings
            .iter()
            .any(|ring| ring.ringing.due <= due && due <= ring.ringing.began.max(ring.ringing.due));
        // What is at or before the moment it was set rings at once.
        assert!(rang, "{seed}: {} did not ring, of {wanted:?}: {rings:?}", due);
        due += period;
    }
}

fn by_version(world: &World) -> BTreeMap<u64, Vec<Ring>> {
    let mut rings = BTreeMap::<_, Vec<_>>::new();
    for ring in world.rings() {
        rings.entry(ring.ringing.version).or_default().push(ring);
    }
    rings
}

async fn whatever_happens(seed: u64, failing: bool) -> (Wishes, Arc<World>) {
    let mut dice = Dice(seed);
    let limits = Limits { rings: 6, of_one: 2 };
    let world = World::new();
    world.disk().takes = Duration::from_millis(dice.below(40));
    let mut fate = Dice(seed + 1_000_000);
    world.script(move |_, _| run(&mut fate, failing));
    let wishes = Arc::new(Mutex::new(Wishes::new()));
    let mut host = world.start_with(limits);
    for _ in 0..300 {
        let (agent, name) =
            (["a", "b", "c", "d", "e"][dice.below(5) as usize], ["x", "y", "z"][dice.below(3) as usize]);
        match dice.below(10) {
            0..4 => set(&host, &wishes, agent, name, timing(&mut dice, world.now())),
            4 => cancel(&host, &wishes, agent, name),
            5 if failing && dice.below(5) == 0 => {
                host.crash();
                sleep(Duration::from_millis(dice.below(20_000))).await;
                host = world.start_with(limits);
            }
            _ => sleep(Duration::from_millis(dice.below(3_000))).await,
        }
    }
    // Now everything works, and what is left rings.
    let mut fate = Dice(seed);
    world.script(move |_, _| run(&mut fate, false));
    sleep(seconds(600)).await;
    assert!(host.ringing() <= limits.rings);
    drop(host);
    let wishes = std::mem::take(&mut *wishes.lock().unwrap());
    (wishes, world)
}

fn run(fate: &mut Dice, failing: bool) -> Run {
    let ends = match fate.below(10) {
        0..2 if failing => Rung::Failed("no model".into()),
        2 if failing => Rung::Refused("full".into()),
        _ => Rung::Done,
    };
    Run { takes: Duration::from_millis(fate.below(1_500)), ends }
}

fn timing(dice: &mut Dice, now: u64) -> Timing {
    match dice.below(4) {
        0 => Timing::At((now + dice.below(10_000)).saturating_sub(5_000)),
        1 => Timing::After(dice.below(10_000)),
        2 => Timing::After(dice.below(100_000)),
        _ => Timing::Every(Period::new(5_000 + dice.below(20_000)).unwrap()),
    }
}

fn set(host: &Host, wishes: &Mutex<Wishes>, agent: &str, name: &str, timing: Timing) {
    cancel(host, wishes, agent, name);
    let version = host.set(agent, name, timing.clone());
    wishes.lock().unwrap().insert(version, Wanted { timing, set: host.world.now(), until: None });
}

fn cancel(host: &Host, wishes: &Mutex<Wishes>, agent: &str, name: &str) {
    let kept = host.world.alarm(agent, name);
    host.cancel(agent, name);
    let mut wishes = wishes.lock().unwrap();
    if let Some(wanted) = kept.and_then(|alarm| wishes.get_mut(&alarm.version)) {
        wanted.until = Some(host.world.now());
    }
}
