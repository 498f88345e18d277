//! Sizes and spans of time as people write them: `64MiB`, `1.5s`, `10m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A number of bytes, written `512`, `64KiB`, `64MiB`, `1GiB`, or with decimal units (`kB`, `MB`, `GB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A span of time, written `500ms`, `30s`, `10m`, `2h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Why a text is no size or span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a [`ByteSize`].
    #[error("{0:?} is no size: write a number with B, KiB, MiB or GiB, such as 64MiB")]
    Size(String),
    /// Not a [`Span`].
    #[error("{0:?} is no span of time: write a number with ms, s, m, h or d, such as 30s")]
    Span(String),
}

const SIZES: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &SIZES).map(Self).ok_or_else(|| UnitError::Size(text.chars().take(40).collect()))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let millis = scaled(text, &SPANS).ok_or_else(|| UnitError::Span(text.chars().take(40).collect()))?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// A decimal number and one of the units. None where the text is something else or the product does not fit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim_start());
    let &(_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return (!number.ends_with('.')).then_some(whole);
    }
    // Six places are a microsecond of a second and a byte of a MiB; more would only invite overflow.
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 6)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale) / 10u128.pow(digits);
    whole.checked_add(u64::try_from(part).ok()?)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, scale) = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
            .into_iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / scale)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (name, scale) = [("d", 86_400_000u128), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(_, scale)| millis >= *scale && millis.is_multiple_of(*scale))
            .unwrap_or(("ms", 1));
        write!(f, "{}{name}", millis / scale)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_read_as_people_write_them() {
        for (text, bytes) in
            [("512", 512), ("64KiB", 65_536), ("1.5 MiB", 1_572_864), ("2GB", 2_000_000_000), ("0B", 0)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for (text, millis) in
            [("500ms", 500), ("1.5s", 1_500), ("10m", 600_000), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_an_error_that_shows_how() {
        for bad in ["", "MiB", "-1MiB", "64mib", "64 M iB", "1.2.3s", "1.", "99999999999999GiB", "1.1234567s"]
        {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert!("10".parse::<Span>().unwrap_err().to_string().contains("such as 30s"));
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["512B", "64KiB", "64MiB", "1GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["500ms", "90s", "10m", "2h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }
}
