//! A cron expression, read: which seconds, minutes, hours, days and months it names.
//!
//! Five fields or six. A field is a list of values, ranges and steps; see [`Kind`] for what each takes, and `days` for what
//! only days can be.

use jiff::civil::{Date, DateTime, Time, date, time};

use crate::days::Days;
use crate::invalid::{Invalid, shown};

/// What an expression names. The bit of a number is set where it names that number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    interval: bool,
}

/// What a field holds.
pub(crate) struct Kind {
    /// What one value is called.
    pub(crate) one: &'static str,
    pub(crate) lowest: u8,
    pub(crate) highest: u8,
    /// Names of values, from the lowest on.
    pub(crate) names: &'static [&'static str],
    /// What else there is, for the error.
    pub(crate) also: &'static str,
}

const SECOND: Kind = Kind { one: "second", lowest: 0, highest: 59, names: &[], also: "" };
const MINUTE: Kind = Kind { one: "minute", lowest: 0, highest: 59, names: &[], also: "" };
const HOUR: Kind = Kind { one: "hour", lowest: 0, highest: 23, names: &[], also: "" };
const MONTH: Kind = Kind {
    one: "month",
    lowest: 1,
    highest: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    also: ", or names from jan to dec",
};

impl Fields {
    /// Reads an expression.
    pub(crate) fn parse(expression: &str) -> Result<Self, Invalid> {
        let lower = expression.to_ascii_lowercase();
        let fields: Vec<&str> = lower.split_ascii_whitespace().collect();
        let (seconds, [minutes, hours, of_month, months, of_week]) = match fields[..] {
            [m, h, d, mo, w] => ("0", [m, h, d, mo, w]),
            [s, m, h, d, mo, w] => (s, [m, h, d, mo, w]),
            _ => return Err(count(expression, fields.len())),
        };
        let interval = [seconds, minutes, hours].iter().any(|field| field.starts_with('*'));
        Ok(Self {
            interval,
            seconds: SECOND.list(seconds)?,
            minutes: MINUTE.list(minutes)?,
            hours: HOUR.list(hours)?,
            months: MONTH.list(months)?,
            days: Days::parse(of_month, of_week)?,
        })
    }

    /// Whether it says how often rather than at which hours: crontab(5) has it so where a field begins with `*`.
    pub(crate) fn is_interval(&self) -> bool {
        self.interval
    }

    /// The first time named that is not before this one. None where there is none before the end of that year.
    pub(crate) fn at_or_after(&self, from: DateTime, until: i16) -> Option<DateTime> {
        let today = self.days_in(from.date()) & bit(day(from.date())) != 0;
        match self.time_from(from.time()) {
            Some(time) if today => Some(from.date().to_datetime(time)),
            _ => Some(self.day_after(from.date(), until)?.to_datetime(self.time_from(Time::midnight())?)),
        }
    }

    fn day_after(&self, from: Date, until: i16) -> Option<Date> {
        let mut month = from.first_of_month();
        let mut left = self.days_in(month) & above(day(from));
        while left == 0 {
            month = month.last_of_month().tomorrow().ok().filter(|month| month.year() <= until)?;
            left = self.days_in(month);
        }
        Some(date(month.year(), month.month(), lowest(left)?))
    }

    fn days_in(&self, month: Date) -> u64 {
        let named = self.months & bit(month.month().unsigned_abs()) != 0;
        if named { self.days.of(month) } else { 0 }
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let [h, m, s] = [from.hour(), from.minute(), from.second()].map(i8::unsigned_abs);
        let (this_hour, this_minute) = (self.hours & bit(h) != 0, self.minutes & bit(m) != 0);
        let second = lowest(self.seconds & (bit(s) | above(s)));
        let minute = lowest(self.minutes & above(m));
        let hour = lowest(self.hours & above(h));
        match (second, minute, hour) {
            (Some(second), _, _) if this_hour && this_minute => {
                Some(time(from.hour(), from.minute(), second, 0))
            }
            (_, Some(minute), _) if this_hour => Some(time(from.hour(), minute, lowest(self.seconds)?, 0)),
            (_, _, Some(hour)) => Some(time(hour, lowest(self.minutes)?, lowest(self.seconds)?, 0)),
            _ => None,
        }
    }
}

impl Kind {
    fn list(&self, field: &str) -> Result<u64, Invalid> {
        field.split(',').try_fold(0, |bits, term| Ok(bits | self.term(term)?))
    }

    /// `*`, `5`, `5-10`, and each with a step. A step after one value goes on to the highest.
    pub(crate) fn term(&self, term: &str) -> Result<u64, Invalid> {
        let (range, step) = match term.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0))),
            None => (term, None),
        };
        let wrong = || self.wrong(term);
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.lowest, self.highest),
            Some((first, last)) => self.range(first, last, term)?,
            None => {
                let only = self.value(range).ok_or_else(wrong)?;
                (only, if step.is_some() { self.highest } else { only })
            }
        };
        let step = step.map_or(Some(1), |step| step).ok_or_else(wrong)?;
        Ok((first..=last).step_by(step.into()).fold(0, |bits, value| bits | bit(value)))
    }

    fn range(&self, first: &str, last: &str, term: &str) -> Result<(u8, u8), Invalid> {
        let wrong = || self.wrong(term);
        let (first, last) = (self.value(first).ok_or_else(wrong)?, self.value(last).ok_or_else(wrong)?);
        match (first, last) {
            (first, last) if first <= last => Ok((first, last)),
            // Sunday is both, and the week ends with it.
            (first, 0) if self.highest == 7 => Ok((first, 7)),
            _ => {
                let (highest, lowest) = (self.highest, self.lowest);
                Err(Invalid(format!(
                    "`expression` has the {} range `{}`, which goes backwards: write it as `{first}-{highest},{lowest}-{last}`",
                    self.one,
                    shown(term)
                )))
            }
        }
    }

    pub(crate) fn value(&self, text: &str) -> Option<u8> {
        let named = self.names.iter().position(|name| *name == text);
        let value = match named {
            Some(place) => self.lowest + u8::try_from(place).ok()?,
            None => number(text)?,
        };
        (self.lowest..=self.highest).contains(&value).then_some(value)
    }

    pub(crate) fn wrong(&self, term: &str) -> Invalid {
        let Self { one, lowest, highest, also, .. } = self;
        Invalid(format!(
            "`expression` has `{}` as a {one}: use numbers from {lowest} to {highest}{also}, ranges such as \
             {lowest}-{highest}, steps such as */2, and lists of these with commas",
            shown(term)
        ))
    }
}

fn count(expression: &str, fields: usize) -> Invalid {
    Invalid(format!(
        "`expression` is `{}`, which has {fields} fields: write five (minute, hour, day of month, month, day of week), or \
         six with seconds before them",
        shown(expression)
    ))
}

/// One or two digits: no field has more.
pub(crate) fn number(text: &str) -> Option<u8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

pub(crate) fn bit(number: u8) -> u64 {
    1u64.checked_shl(number.into()).unwrap_or(0)
}

/// All bits after this one.
fn above(number: u8) -> u64 {
    u64::MAX.checked_shl(u32::from(number) + 1).unwrap_or(0)
}

fn lowest(bits: u64) -> Option<i8> {
    if bits == 0 { None } else { i8::try_from(bits.trailing_zeros()).ok() }
}

fn day(date: Date) -> u8 {
    date.day().unsigned_abs()
}
