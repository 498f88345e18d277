//! Which days of a month an expression names, by the month and by the week.
//!
//! As crontab(5) has it: where both fields restrict the days, one of them is enough; a field that begins with `*` restricts
//! nothing, or only what the other names.

use jiff::civil::Date;

use crate::fields::{Kind, bit};
use crate::invalid::Invalid;

/// The days that an expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Days {
    of_month: u64,
    /// `15W`: Monday to Friday, as near to that day as there is one in the month.
    nearest: u64,
    last: bool,
    /// `LW`: the last of Monday to Friday.
    last_workday: bool,
    of_week: u64,
    /// `5L`: the last Friday.
    last_of_week: u64,
    /// `5#2`: the second Friday; the first ones come first.
    nth_of_week: [u64; 5],
    /// Whether a day has to be named by both fields.
    both: bool,
}

const OF_MONTH: Kind = Kind {
    one: "day of month",
    lowest: 1,
    highest: 31,
    names: &[],
    also: ", L for the last day, 15W for the workday nearest to the 15th, LW for the last workday",
};
const OF_WEEK: Kind = Kind {
    one: "day of week",
    lowest: 0,
    highest: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    also: " (0 and 7 are Sunday), names from sun to sat, fri#2 for the second Friday, friL for the last",
};

impl Days {
    /// Reads both fields, in lower case.
    pub(crate) fn parse(of_month: &str, of_week: &str) -> Result<Self, Invalid> {
        let mut days =
            Self { both: of_month.starts_with('*') || of_week.starts_with('*'), ..Self::default() };
        of_month.split(',').try_for_each(|term| days.add_of_month(term))?;
        of_week.split(',').try_for_each(|term| days.add_of_week(term))?;
        Ok(days)
    }

    /// The days of the month that begins with this date.
    pub(crate) fn of(&self, month: Date) -> u64 {
        let month =
            Month { first: weekday(month.first_of_month()), length: month.days_in_month().unsigned_abs() };
        let (by_month, by_week) = (self.by_month(month), self.by_week(month));
        if self.both { by_month & by_week } else { by_month | by_week }
    }

    fn add_of_month(&mut self, term: &str) -> Result<(), Invalid> {
        match term {
            "l" => self.last = true,
            "lw" => self.last_workday = true,
            _ => match term.strip_suffix('w') {
                Some(day) => self.nearest |= bit(OF_MONTH.value(day).ok_or_else(|| OF_MONTH.wrong(term))?),
                None => self.of_month |= OF_MONTH.term(term)?,
            },
        }
        Ok(())
    }

    fn add_of_week(&mut self, term: &str) -> Result<(), Invalid> {
        let day = |text| OF_WEEK.value(text).map(|day| bit(day % 7)).ok_or_else(|| OF_WEEK.wrong(term));
        if let Some((text, nth)) = term.split_once('#') {
            let nth = crate::fields::number(nth).and_then(|nth| usize::from(nth).checked_sub(1));
            let days =
                nth.and_then(|nth| self.nth_of_week.get_mut(nth)).ok_or_else(|| OF_WEEK.wrong(term))?;
            *days |= day(text)?;
        } else if let Some(text) = term.strip_suffix('l') {
            self.last_of_week |= day(text)?;
        } else {
            let named = OF_WEEK.term(term)?;
            self.of_week |= named & !bit(7) | named >> 7;
        }
        Ok(())
    }

    fn by_month(&self, month: Month) -> u64 {
        let mut days = self.of_month & month.all();
        if self.last {
            days |= bit(month.length);
        }
        if self.last_workday {
            days |= bit(month.workday_near(month.length));
        }
        let near = (1..=month.length).filter(|day| self.nearest & bit(*day) != 0);
        near.fold(days, |days, day| days | bit(month.workday_near(day)))
    }

    fn by_week(&self, month: Month) -> u64 {
        let named = |day: &u8| {
            let of_week = bit(month.weekday(*day));
            let nth = self.nth_of_week[usize::from((day - 1) / 7)];
            let last = if *day + 7 > month.length { self.last_of_week } else { 0 };
            (self.of_week | nth | last) & of_week != 0
        };
        (1..=month.length).filter(named).fold(0, |days, day| days | bit(day))
    }
}

/// A month: which day of the week its first one is, from Sunday as 0, and how many it has.
#[derive(Clone, Copy)]
struct Month {
    first: u8,
    length: u8,
}

impl Month {
    fn all(self) -> u64 {
        (1..=self.length).fold(0, |days, day| days | bit(day))
    }

    fn weekday(self, day: u8) -> u8 {
        (self.first + day - 1) % 7
    }

    fn workday_near(self, day: u8) -> u8 {
        match self.weekday(day) {
            6 if day == 1 => 3,
            6 => day - 1,
            0 if day == self.length => day - 2,
            0 => day + 1,
            _ => day,
        }
    }
}

fn weekday(date: Date) -> u8 {
    date.weekday().to_sunday_zero_offset().unsigned_abs()
}
