//! What models cost.

use rookery_core::Money;

/// What a model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// For a million tokens that go in.
    pub input: Money,
    /// For a million tokens that come out.
    pub output: Money,
}

/// A price is for so many tokens.
const MILLION: u64 = 1_000_000;

impl Price {
    /// What so many tokens cost. Rounded up to a millionth, so that nothing that has a price is free; an amount that does
    /// not fit is the largest one.
    pub fn of(&self, input: u64, output: u64) -> Money {
        let part = |price: Money, tokens: u64| u128::from(price.0) * u128::from(tokens);
        let total = part(self.input, input).saturating_add(part(self.output, output));
        // Nearly always; dividing 64 bits costs a tenth of dividing 128.
        if let Ok(total) = u64::try_from(total) {
            return Money(total.div_ceil(MILLION));
        }
        Money(u64::try_from(total.div_ceil(u128::from(MILLION))).unwrap_or(u64::MAX))
    }

    /// Whether it costs nothing at all.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_rounded_up_over_the_whole_call_and_never_overflows() {
        let price = Price { input: "0.15".parse().unwrap(), output: "0.6".parse().unwrap() };
        for (input, output, micros) in [
            (0, 0, 0),
            (1, 0, 1),
            (1_000, 0, 150),
            (1_000, 1_000, 750),
            (1_000_000, 1_000_000, 750_000),
            // Past 64 bits on the way, though not at the end.
            (1 << 53, 0, 1_351_079_888_211_149),
            (u64::MAX, 0, 2_767_011_611_056_432_743),
        ] {
            assert_eq!(price.of(input, output), Money(micros), "{input} {output}");
        }
        let dear = Price { input: Money(u64::MAX), output: Money(u64::MAX) };
        assert_eq!(dear.of(u64::MAX, u64::MAX), Money(u64::MAX));
        assert!(Price::default().is_free() && !price.is_free());
    }
}
