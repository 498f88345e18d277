//! Traps, answers, deadlines, evictions and refusals as they come, from a seed.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;

use tokio::task::JoinSet;

use super::*;
use crate::tests::guests::Launching;

/// A linear congruential generator (the constants are Knuth's, of MMIX): the same seed is the same run of events.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(super) fn one_of<'a>(&mut self, these: &[&'a str]) -> &'a str {
        these[self.below(these.len())]
    }
}

const PROMPTS: [&str; 16] = [
    "count",
    "count, take 1s, count",
    "take 3s",
    "take 30s",
    "stuck",
    "trap",
    "say on, take 2s, trap",
    "answer, take 1s, trap",
    "answer, trap",
    "fail",
    "forget",
    "cancel, stuck",
    "cancel, take 1s",
    "forget, trap",
    "write 5000, count",
    "panic",
];

#[tokio::test(start_paused = true)]
async fn every_accepted_run_has_exactly_one_outcome_whatever_happens() {
    for seed in 0..20 {
        whatever_happens(seed, Overlap::Queue).await;
        whatever_happens(seed, Overlap::Concurrent(NonZeroUsize::new(3).unwrap())).await;
    }
}

async fn whatever_happens(seed: u64, overlap: Overlap) {
    let mut dice = Dice(seed);
    let policy = Policy { queue: 3, deadline: seconds(10), output: 2000, overlap, ..POLICY };
    let fake = Fake::launching(policy, Launching::Fails(AtomicUsize::new(dice.below(20))));
    let host = Host::new(fake, Limits { runs: 12, live: 3, ..LIMITS });
    let mut reading = JoinSet::new();
    let (mut accepted, mut refused, mut ended) = (0, 0, 0);
    for _ in 0..500 {
        let (name, text) = (dice.one_of(&["a", "b", "c", "d", "e", "f"]), dice.one_of(&PROMPTS));
        match host.submit(name, text) {
            Ok(run) => {
                accepted += 1;
                reading.spawn(end(run));
            }
            Err(failure) => {
                assert!([Code::MailboxFull, Code::Overloaded].contains(&failure.code), "{seed}: {failure}");
                refused += 1;
            }
        }
        match dice.below(4) {
            0 => tokio::task::yield_now().await,
            1 => tokio::time::advance(Duration::from_millis(dice.below(2500) as u64)).await,
            2 => ended += reading.join_next().await.transpose().expect("read to its end").into_iter().count(),
            _ => {}
        }
    }
    host.directory.drain(seconds(dice.below(20) as u64)).await;
    // Each reader has checked that its run has one outcome and nothing after it.
    assert_eq!(ended + reading.join_all().await.len(), accepted, "{seed}");
    let state = host.guests.state();
    assert_eq!(state.broken, [""; 0], "{seed}");
    assert_eq!((state.live, state.running), (0, 0), "{seed}");
    assert_eq!((host.agents(), host.directory.live(), host.directory.running()), (0, 0, 0), "{seed}");
    assert!(state.most_live <= 3 && accepted > 100 && refused > 0, "{seed}: {accepted}, {refused}");
}
