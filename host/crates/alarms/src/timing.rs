//! When an alarm is due for the first time, and when after that.
//!
//! Promises: a later time is never before an earlier one; what is due every so often is counted from when it was set and
//! never drifts; however many times were missed, the next one is a single one.
//! Bounded by: [`LATEST`]. Nothing here overflows, waits or reads a clock: times are milliseconds since
//! 1970-01-01T00:00:00Z and passed in.

use crate::cron::Cron;
use crate::invalid::Invalid;

/// The latest time that an alarm can be due at, the beginning of the year 9999: after that comes what calendars cannot
/// write in four digits.
pub const LATEST: u64 = 253_370_764_800_000;

/// The shortest [`Period`], in milliseconds. Each ring is a run with its place in a mailbox and in the archive: who wants
/// it more often wants a loop in one run.
pub const SHORTEST_PERIOD: u64 = 1_000;

/// When an alarm rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timing {
    /// At this moment; at once where it is past.
    At(u64),
    /// After so many milliseconds.
    After(u64),
    /// Every so often, counted from when it was set.
    Every(Period),
    /// By the calendar.
    Cron(Cron),
}

/// How often something is due: some milliseconds, from [`SHORTEST_PERIOD`] to [`LATEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(u64);

impl Timing {
    /// When an alarm that is set now is due for the first time.
    ///
    /// # Errors
    ///
    /// When that is after [`LATEST`], or a cron expression has no time before its horizon.
    pub fn first(&self, now: u64) -> Result<u64, Invalid> {
        match self {
            Self::At(at) if *at <= LATEST => Ok(*at),
            Self::At(at) => Err(late("at", *at)),
            Self::After(after) => later(now, *after).ok_or_else(|| late("after", *after)),
            Self::Every(period) => later(now, period.0).ok_or_else(|| late("every", period.0)),
            Self::Cron(cron) => cron.after(now).ok_or_else(|| cron.never()),
        }
    }

    /// When it is due after `due`: the first of its times that is later than `due` and than `now`. None where there is
    /// none, as for what rings once.
    pub fn next(&self, due: u64, now: u64) -> Option<u64> {
        match self {
            Self::At(_) | Self::After(_) => None,
            Self::Every(period) => period.after(due, now),
            Self::Cron(cron) => cron.after(due.max(now)),
        }
    }
}

impl Period {
    /// So many milliseconds.
    ///
    /// # Errors
    ///
    /// When they are fewer than [`SHORTEST_PERIOD`], or more than [`LATEST`].
    pub fn new(millis: u64) -> Result<Self, Invalid> {
        match millis {
            ..SHORTEST_PERIOD => Err(Invalid(format!(
                "`every` is {millis} ms, and must be at least {SHORTEST_PERIOD}: for something more frequent, wait in one run"
            ))),
            SHORTEST_PERIOD..=LATEST => Ok(Self(millis)),
            _ => Err(late("every", millis)),
        }
    }

    /// In milliseconds.
    pub fn millis(self) -> u64 {
        self.0
    }

    fn after(self, due: u64, now: u64) -> Option<u64> {
        let periods = now.saturating_sub(due) / self.0 + 1;
        later(due, periods.checked_mul(self.0)?)
    }
}

fn later(from: u64, by: u64) -> Option<u64> {
    from.checked_add(by).filter(|at| *at <= LATEST)
}

fn late(field: &str, millis: u64) -> Invalid {
    Invalid(format!(
        "`{field}` is {millis} ms, which is after the year 9998: times are milliseconds since 1970-01-01T00:00:00Z"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(millis: u64) -> Timing {
        Timing::Every(Period::new(millis).unwrap())
    }

    #[test]
    fn the_first_time_is_counted_from_now() {
        let cron = Timing::Cron(Cron::new("* * * * *", "UTC").unwrap());
        for (timing, now, due) in [
            (Timing::At(5_000), 1_000, 5_000),
            (Timing::At(5_000), 9_000, 5_000),
            (Timing::At(0), 9_000, 0),
            (Timing::At(LATEST), 0, LATEST),
            (Timing::After(0), 9_000, 9_000),
            (Timing::After(500), 9_000, 9_500),
            (Timing::After(LATEST - 9_000), 9_000, LATEST),
            (every(1_000), 9_000, 10_000),
            (cron.clone(), 59_999, 60_000),
            (cron, 60_000, 120_000),
        ] {
            assert_eq!(timing.first(now), Ok(due), "{timing:?} at {now}");
        }
    }

    #[test]
    fn what_would_be_due_after_the_last_year_cannot_be_set() {
        for timing in [Timing::At(LATEST + 1), Timing::After(LATEST), Timing::After(u64::MAX), every(LATEST)]
        {
            let why = timing.first(1).unwrap_err().to_string();
            assert!(why.contains("after the year 9998"), "{why}");
        }
        assert!(every(1_000).first(u64::MAX).is_err());
    }

    #[test]
    fn a_period_is_at_least_a_second() {
        assert_eq!(Period::new(1_000).unwrap().millis(), 1_000);
        for bad in [0, 999, LATEST + 1, u64::MAX] {
            let why = Period::new(bad).unwrap_err().to_string();
            assert!(why.starts_with(&format!("`every` is {bad} ms")), "{why}");
        }
    }

    #[test]
    fn what_was_missed_collapses_to_one_and_the_count_does_not_drift() {
        for (due, now, next) in [
            (10_000, 10_000, 11_000),
            (10_000, 10_999, 11_000),
            (10_000, 11_000, 12_000),
            (10_000, 9_999_500, 10_000_000),
            // A clock that was set back does not bring a time back.
            (10_000, 0, 11_000),
        ] {
            assert_eq!(every(1_000).next(due, now), Some(next), "{due} at {now}");
        }
    }

    #[test]
    fn what_rings_once_has_no_next_time_and_the_last_year_has_an_end() {
        assert_eq!(Timing::At(5).next(5, 6), None);
        assert_eq!(Timing::After(5).next(5, 6), None);
        assert_eq!(every(1_000).next(LATEST, LATEST), None);
        assert_eq!(every(1_000).next(0, u64::MAX), None);
        assert_eq!(every(LATEST).next(LATEST, 0), None);
        assert_eq!(every(LATEST).next(u64::MAX, u64::MAX), None);
        assert_eq!(Timing::Cron(Cron::new("* * * * *", "UTC").unwrap()).next(u64::MAX, 0), None);
    }
}
