//! Amounts of money as people write them: `5`, `0.15`. No currency: everything is in the one that the prices are written in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of money in millionths, written `5`, `0.15` or `0.000001`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub u64);

/// Why a text is no amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount of money: write a number with at most six decimal places, such as 0.15")]
pub struct MoneyError(String);

/// In one of the currency's units.
const MICROS: u64 = 1_000_000;

/// As many digits as a millionth has.
const PLACES: usize = 6;

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parsed(text).map(Self).ok_or_else(|| MoneyError(text.chars().take(40).collect()))
    }
}

fn parsed(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > PLACES {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(MICROS)?;
    whole.checked_add(format!("{fraction:0<PLACES$}").parse().ok()?)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micros) = (self.0 / MICROS, self.0 % MICROS);
        if micros == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{micros:0PLACES$}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

/// As a text, so that no reader makes a float of it.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From a text or a number.
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Money;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of money, such as 0.15")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Money, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Money, E> {
        self.visit_str(&whole.to_string())
    }

    fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Money, E> {
        self.visit_str(&whole.to_string())
    }

    // The shortest decimal that is this number, which is what the person wrote.
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Money, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_and_shown_as_people_write_it() {
        for (text, micros, shown) in [
            ("0", 0, "0"),
            ("5", 5_000_000, "5"),
            ("0.15", 150_000, "0.15"),
            ("0.150000", 150_000, "0.15"),
            ("12.000001", 12_000_001, "12.000001"),
            ("007.5", 7_500_000, "7.5"),
            ("18446744073709.551615", u64::MAX, "18446744073709.551615"),
        ] {
            let money: Money = text.parse().unwrap();
            assert_eq!((money.0, money.to_string().as_str()), (micros, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_money_is_refused() {
        for bad in ["", ".", ".5", "5.", "-1", "+1", "1e3", "1,5", "0.0000001", "1.2.3", "$5", " 5", "١"] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
        assert!("18446744073709.551616".parse::<Money>().is_err(), "does not fit");
        assert!("9".repeat(1 << 20).parse::<Money>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn in_a_document_it_may_be_a_text_or_a_number() {
        for (json, micros) in [("\"0.15\"", 150_000), ("0.15", 150_000), ("5", 5_000_000), ("0.1", 100_000)] {
            assert_eq!(serde_json::from_str::<Money>(json).unwrap(), Money(micros), "{json}");
        }
        assert_eq!(serde_json::to_string(&Money(150_000)).unwrap(), "\"0.15\"");
        for json in ["-1", "0.0000001", "true", "\"much\""] {
            assert!(serde_json::from_str::<Money>(json).is_err(), "{json}");
        }
    }
}
