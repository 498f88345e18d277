//! Values that mean the same in every file.

use std::str::FromStr;
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

/// What [`count`] reads.
pub const COUNT: Expected<'_> = Expected { what: "a whole number", example: "100000" };

/// How many there may be; 0 is none.
pub fn count(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// What [`money`] reads.
pub const MONEY: Expected<'_> =
    Expected { what: "an amount of money with at most six decimal places", example: r#""0.15""# };

/// An amount of money, written as text or as a number.
pub fn money<M: FromStr>(value: &DeValue<'_>) -> Option<M> {
    match value {
        DeValue::String(text) => text.parse().ok(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
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
