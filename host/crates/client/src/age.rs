//! Times as the host writes them: `2026-11-24T10:00:00.250Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long before `now` the time was that the host wrote so. None where it is no such time; a time that is still to
/// come, by a clock that goes differently, was just now.
pub fn age(written: &str, now: SystemTime) -> Option<Duration> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(since.saturating_sub(since_epoch(written)?))
}

fn since_epoch(written: &str) -> Option<Duration> {
    let (date, time) = written.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    // A tenth of a second is far more exact than an age is told.
    let tenths = fraction.chars().next()?.to_digit(10)?;
    Some(Duration::from_secs(seconds) + Duration::from_millis(u64::from(tenths) * 100))
}

/// Days since 1 January 1970. Years are counted from March, so that a leap day is the last day of its year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_second_across_leap_years() {
        let table = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-24T10:20:30.987Z", 1_795_515_630),
        ];
        for (written, seconds) in table {
            assert_eq!(since_epoch(written).map(|since| since.as_secs()), Some(seconds), "{written}");
        }
    }

    #[test]
    fn what_is_no_time_has_no_age() {
        for bad in [
            "",
            "now",
            "2026-11-24",
            "2026-11-24T10:20:30",
            "2026-13-01T00:00:00Z",
            "-1-1-1T0:0:0Z",
            "2026-11-24T1:2Z",
            "0000-01-01T00:00:00Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(age(bad, SystemTime::now()), None, "{bad}");
        }
    }

    #[test]
    fn a_time_still_to_come_was_just_now() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(age("1970-01-01T00:00:40Z", now), Some(Duration::from_secs(60)));
        assert_eq!(age("2100-01-01T00:00:00Z", now), Some(Duration::ZERO));
    }
}
