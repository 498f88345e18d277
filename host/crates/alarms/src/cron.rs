//! Times by the calendar of a place.
//!
//! Promises: an expression whose hour, minute or second begins with `*` is an *interval*, and rings whenever the clocks show a
//! time that it names, again where they show it again: `*/5 * * * *` rings every five minutes, whatever is done to the clocks.
//! Any other one names *fixed times*, and each of them on a local calendar rings once: one that the clocks leave out when they
//! have changed, be it by an hour or by a day, and one that they show twice the first time. Where several fall on the same
//! moment they ring once.
//! Bounded by: [`LONGEST_EXPRESSION`], and [`HORIZON_YEARS`]: the search looks at one month after the other, so some 600
//! steps are the most that an expression costs; an interval also passes the changes of the clocks on the way, of which there are
//! two a year or so.
//!
//! That is cron's own rule, of Vixie's on Debian and of cronie. systemd lets a timer that goes off every minute be silent
//! for the hour that comes again (its issue 8647), which nobody wants of an interval.
//!
//! Not `croner`: it gives up on a gap of more than two hours, looks for a 30th of February until the year 5000, and says less
//! about what is wrong.

use jiff::Timestamp;
use jiff::civil::DateTime;

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
        let at = if self.fields.is_interval() { self.shown_after(now) } else { self.named_after(now) }?;
        u64::try_from(at.as_millisecond()).ok().filter(|at| *at <= LATEST)
    }

    /// When the clocks next show what is named, for the first time or again.
    fn shown_after(&self, now: Timestamp) -> Option<Timestamp> {
        let mut found: Option<(DateTime, DateTime)> = None;
        for span in self.zone.spans(now) {
            let start = span.start();
            let (from, next) = match found {
                // Nothing is named between these two, so it need not be looked for again.
                Some((from, next)) if from <= start && start <= next => (from, next),
                _ => (start, self.fields.at_or_after(start, horizon(start))?),
            };
            if let Some(at) = span.moment(next) {
                return Some(at);
            }
            found = Some((from, next));
        }
        None
    }

    /// When the next one of the times that are named has come.
    fn named_after(&self, now: Timestamp) -> Option<Timestamp> {
        let from = self.zone.next_second(now)?;
        let until = horizon(from);
        match self.zone.moment(self.fields.at_or_after(from, until)?) {
            // Past times that the clocks show again: they have rung.
            (at, Some(over)) if at <= now => Some(self.zone.moment(self.fields.at_or_after(over, until)?).0),
            (at, _) => Some(at),
        }
    }

    pub(crate) fn never(&self) -> Invalid {
        Invalid(format!(
            "`expression` is `{}`, which names no time within {HORIZON_YEARS} years: use a day that its months have",
            shown(&self.expression)
        ))
    }
}

/// The last year that is searched.
fn horizon(from: DateTime) -> i16 {
    from.year().saturating_add(HORIZON_YEARS)
}
