//! How long to wait before asking again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Some time between nothing and a bound that doubles with each attempt (1, 2, 3 …): a host that starts again is
/// not asked by all its clients at the same moment.
pub(crate) fn delay(attempt: u32, first: Duration, longest: Duration) -> Duration {
    // The keys of a hash table are the randomness that the standard library has.
    jittered(bound(attempt, first, longest), RandomState::new().hash_one(attempt))
}

fn bound(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let factor = 2u32.saturating_pow(attempt.saturating_sub(1));
    first.saturating_mul(factor).min(longest)
}

fn jittered(bound: Duration, random: u64) -> Duration {
    // The upper 32 bits as a fraction of one.
    bound.mul_f64((random >> 32) as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_until_it_is_the_longest() {
        let bounds =
            (1..=8).map(|attempt| bound(attempt, Duration::from_millis(100), Duration::from_secs(5)));
        let millis: Vec<_> = bounds.map(|bound| bound.as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(bound(u32::MAX, Duration::from_millis(100), Duration::from_secs(5)).as_secs(), 5);
    }

    #[test]
    fn the_jitter_is_full_from_nothing_to_the_bound() {
        let bound = Duration::from_secs(4);
        assert_eq!(jittered(bound, 0), Duration::ZERO);
        assert_eq!(jittered(bound, u64::MAX), bound);
        assert_eq!(jittered(bound, 1 << 63).as_millis(), 2000);
        let delays: Vec<_> = (0..100).map(|_| delay(1, bound, bound)).collect();
        assert!(delays.iter().all(|delay| *delay <= bound));
        assert!(delays.iter().any(|delay| *delay != delays[0]), "not every client waits the same");
    }
}
