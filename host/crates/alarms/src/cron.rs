//! Times by the calendar of a place.
//!
//! Promises: each time that the expression names on a local calendar rings once. A time that the clocks leave out rings
//! when they have changed, be it by an hour or by a day; one that they show twice rings the first time. Where several fall
//! on the same moment they ring once.
//! Bounded by: [`LONGEST_EXPRESSION`], and [`HORIZON_YEARS`]: the search looks at one month after the other, so 600 steps
//! are the most that an expression costs.
//!
//! Not `croner`: it lets wildcards ring twice in a repeated hour and not at all in one left out, gives up on a gap of
//! more than two hours, looks for a 30th of February until the year 5000, and says less about what is wrong.

use jiff::Timestamp;

use crate::fields::Fields;
use crate::invalid::{Invalid, shown};
use crate::timing::LATEST;
use crate::zone::Zone;

/// The longest expression, in bytes. Every minute, second and hour as a list of their own are 400.
pub const LONGEST_EXPRESSION: usize = 1_024;

/// How many years the search looks ahead. The rarest thing the calendar has is the 29th of February on a given day of the
/// week, which comes after 40 years at the latest: what has no time by then never has one.
pub const HORIZON_YEARS: i16 = 50;

/// A cron expression in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    expression: String,
    time_zone: String,
    fields: Fields,
    zone: Zone,
}

impl Cron {
    /// Reads an expression and finds its zone.
    ///
    /// # Errors
    ///
    /// When either is none. That the expression names a time at all is found out by [`Timing::first`](crate::Timing::first).
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, Invalid> {
        if expression.len() > LONGEST_EXPRESSION {
            return Err(Invalid(format!(
                "`expression` has {} bytes, and may have {LONGEST_EXPRESSION}: use ranges and steps, or several alarms",
                expression.len()
            )));
        }
        Ok(Self {
            fields: Fields::parse(expression)?,
            zone: Zone::named(time_zone)?,
            expression: expression.to_owned(),
            time_zone: time_zone.to_owned(),
        })
    }

    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The zone's name as it was written.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// The first time after this moment. None where there is none before the horizon, or before [`LATEST`].
    pub(crate) fn after(&self, now: u64) -> Option<u64> {
        let now = Timestamp::from_millisecond(i64::try_from(now).ok().filter(|now| *now >= 0)?).ok()?;
        let from = self.zone.next_second(now)?;
        let until = from.year().saturating_add(HORIZON_YEARS);
        let (at, again) = self.zone.moment(self.fields.at_or_after(from, until)?);
        // Past times that the clocks show again: they have rung.
        let at = match again {
            Some(over) if at <= now => self.zone.moment(self.fields.at_or_after(over, until)?).0,
            _ => at,
        };
        u64::try_from(at.as_millisecond()).ok().filter(|at| *at <= LATEST)
    }

    pub(crate) fn never(&self) -> Invalid {
        Invalid(format!(
            "`expression` is `{}`, which names no time within {HORIZON_YEARS} years: use a day that its months have",
            shown(&self.expression)
        ))
    }
}
