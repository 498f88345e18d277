//! Values that mean the same in every file.

use std::time::Duration;

use rookery_core::Span;
use toml::de::DeValue;

use crate::table::Expected;

/// Longer than any run or wait that somebody watches, and short enough that a clock can count it.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What [`span`] reads.
pub const SPAN: Expected<'_> =
    Expected { what: r#"a span of time above zero, up to "7d""#, example: r#""10m""# };

/// What [`number`] reads.
pub const NUMBER: Expected<'_> = Expected { what: "a number from 1 to 65536", example: "256" };

/// What [`texts`] reads.
pub const TEXTS: Expected<'_> = Expected { what: "a list of strings", example: r#"["one", "two"]"# };

/// A span of time.
pub fn span(value: &DeValue<'_>) -> Option<Duration> {
    let Span(span) = value.as_str()?.parse().ok()?;
    (!span.is_zero() && span <= LONGEST).then_some(span)
}

/// A number of things.
pub fn number(value: &DeValue<'_>) -> Option<usize> {
    let number = value.as_integer()?;
    let number = usize::from_str_radix(number.as_str(), number.radix()).ok()?;
    (1..=65536).contains(&number).then_some(number)
}

/// Several texts.
pub fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|entry| entry.get_ref().as_str().map(str::to_owned)).collect()
}
