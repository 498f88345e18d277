//! The clocks of a place: what they show at a moment, and when they show something.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use crate::invalid::{Invalid, shown};

/// A time zone of the IANA's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone(TimeZone);

/// A span of time in which the clocks show one second after the other.
pub(crate) struct Span {
    from: Timestamp,
    offset: Offset,
    /// None for the last one, which has no end.
    until: Option<Timestamp>,
}

impl Zone {
    /// The zone of this name. The database is the one that the host was built with, so that a name means the same on
    /// every machine and finding it reads no file.
    pub(crate) fn named(name: &str) -> Result<Self, Invalid> {
        let zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
        zone.map(Self).ok_or_else(|| {
            let name = shown(name);
            Invalid(format!(
                "`time-zone` is `{name}`, which is none: use an IANA name such as `Europe/Zurich`, or `UTC`"
            ))
        })
    }

    /// What the clocks show at the next whole second.
    pub(crate) fn next_second(&self, now: Timestamp) -> Option<DateTime> {
        let second = Timestamp::from_second(now.as_second()).ok()?;
        self.0.to_datetime(second).checked_add(SignedDuration::from_secs(1)).ok()
    }

    /// The spans of time from the next whole second on in which nobody changes the clocks, one after the other.
    pub(crate) fn spans(&self, now: Timestamp) -> impl Iterator<Item = Span> {
        let second = Timestamp::from_second(now.as_second().saturating_add(1)).unwrap_or(Timestamp::MAX);
        let first = std::iter::once((second, self.0.to_offset(second)));
        let changes = self.0.following(second).map(|change| (change.timestamp(), change.offset()));
        let ends = self.0.following(second).map(|change| Some(change.timestamp())).chain([None]);
        first.chain(changes).zip(ends).map(|((from, offset), until)| Span { from, offset, until })
    }

    /// When the clocks show this: for the first time, or when they change where they never do. Where they show it twice, also
    /// what they show as soon as that is over.
    pub(crate) fn moment(&self, shown: DateTime) -> (Timestamp, Option<DateTime>) {
        let ambiguous = self.0.to_ambiguous_timestamp(shown);
        let (from, to, repeated) = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => (None, Offset::UTC, None),
            AmbiguousOffset::Gap { after, .. } => (after.to_timestamp(shown).ok(), after, None),
            AmbiguousOffset::Fold { before, after } => (before.to_timestamp(shown).ok(), after, Some(before)),
        };
        // Read with the offset of after a gap, or of before a fold, what is shown lies before the change.
        let change = from.and_then(|from| self.change(from, to));
        let first = ambiguous.compatible().unwrap_or(Timestamp::MAX);
        match repeated {
            Some(before) => (first, change.map(|change| before.to_datetime(change))),
            None => (change.unwrap_or(first), None),
        }
    }

    /// The first time after this that the clocks change to this offset.
    fn change(&self, from: Timestamp, to: Offset) -> Option<Timestamp> {
        // Every change of the next days is among so many; there is no place with more than a few in a year.
        self.0.following(from).take(4).find(|change| change.offset() == to).map(|change| change.timestamp())
    }
}

impl Span {
    /// What the clocks show when it begins.
    pub(crate) fn start(&self) -> DateTime {
        self.offset.to_datetime(self.from)
    }

    /// When they show this, which is not before the start. None where they are changed before they do.
    pub(crate) fn moment(&self, shown: DateTime) -> Option<Timestamp> {
        let at = self.offset.to_timestamp(shown).ok()?;
        self.until.is_none_or(|until| at < until).then_some(at)
    }
}
