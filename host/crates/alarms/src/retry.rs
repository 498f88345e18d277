//! How often a ring is tried, and how long after a failure.

/// How often one due time is tried. With the waits between them that is half a minute: enough for a model that hiccups or
/// a host that is restarted, and over before anybody would rather have been told.
pub const ATTEMPTS: u32 = 6;

/// The wait after the first attempt, in milliseconds; each next one is twice as long.
const FIRST: u64 = 1_000;

/// The longest wait, in milliseconds: what is away for hours is asked once in each.
const LONGEST: u64 = 60 * 60 * 1_000;

/// How long to wait after this many attempts in vain (1, 2, 3 …), in milliseconds.
pub(crate) fn wait(attempts: u32) -> u64 {
    FIRST.saturating_mul(2u64.saturating_pow(attempts.saturating_sub(1))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_second_to_an_hour() {
        let seconds: Vec<_> = (1..=14).map(|attempts| wait(attempts) / 1_000).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!((wait(0), wait(u32::MAX)), (1_000, 3_600_000));
    }
}
