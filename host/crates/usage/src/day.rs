//! Days in UTC, which is what budgets count by.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rookery_core::rfc3339;

/// A day in UTC: so many after the first of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

const SECONDS: u64 = 24 * 60 * 60;

impl Day {
    /// The day of this moment. What is before 1970 is its first.
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u32::try_from(since.as_secs() / SECONDS).unwrap_or(u32::MAX))
    }

    /// Its first moment.
    pub fn begins(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::from(self.0) * SECONDS)
    }

    /// The day after it.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// So many days earlier, but not before the first of 1970.
    pub fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }
}

/// As `2026-11-24`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = rfc3339(self.begins());
        f.write_str(text.split('T').next().unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let day = Day(20_781);
        assert_eq!(day.to_string(), "2026-11-24");
        let midnight = day.begins();
        assert_eq!(Day::of(midnight), day);
        assert_eq!(Day::of(midnight - Duration::from_millis(1)), day.before(1));
        assert_eq!(Day::of(day.next().begins() - Duration::from_millis(1)), day);
        assert_eq!(Day::of(UNIX_EPOCH - Duration::from_secs(9)), Day(0));
        assert_eq!((Day(0).before(3), Day(u32::MAX).next()), (Day(0), Day(u32::MAX)));
        assert!(!Day(u32::MAX).to_string().is_empty());
    }
}
