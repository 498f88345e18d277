//! What may be spent, and how it is said that it is spent. Pure.

use std::fmt;
use std::time::SystemTime;

use rookery_core::{Money, rfc3339};

use crate::price::Price;

/// How much there may be of something; what is none has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls of a model.
    pub requests: Option<u64>,
    /// Tokens that go in and come out, together.
    pub tokens: Option<u64>,
    /// What they cost.
    pub money: Option<Money>,
}

/// What a plugin may spend. A day is one in UTC, and a call belongs to the day on which it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Each of its runs.
    pub run: Limits,
    /// Each of its agents, on a day.
    pub agent: Limits,
    /// All of it together, on a day.
    pub plugin: Limits,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One run's.
    Run,
    /// One agent's, of a day.
    Agent,
    /// A plugin's, of a day.
    Plugin,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Limits::requests`].
    Requests,
    /// [`Limits::tokens`].
    Tokens,
    /// [`Limits::money`], in millionths.
    Money,
}

/// A limit that is reached. Displays as a sentence for whoever waits for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// Whose limit.
    pub scope: Scope,
    /// Of what.
    pub kind: Kind,
    /// How much there may be.
    pub limit: u64,
    /// How much there is, with what open calls hold.
    pub spent: u64,
    /// What a call would have needed at least besides; 0 where it was under way already.
    pub asked: u64,
    /// When there is a new budget; never for a run.
    pub resets: Option<SystemTime>,
}

/// Money is limited, but what a model costs is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the money that {} may spend is limited, and the model `{model}` has no price", scope.all())]
pub struct Unpriced {
    /// Whose money.
    pub scope: Scope,
    /// The model, as it was asked for; what is longer than 128 bytes is cut.
    pub model: String,
}

/// Why a call may not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room for it.
    #[error(transparent)]
    Over(#[from] Over),
    /// Nobody could tell what it costs. Whoever knows the model beforehand hears it from [`Budget::check`].
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
}

impl Budget {
    /// Whether this budget can be kept with a model of this price: money cannot be counted where there is none. To be asked
    /// where a budget and a model are configured.
    ///
    /// # Errors
    ///
    /// When money is limited and the price is not known.
    pub fn check(&self, model: &str, price: Option<Price>) -> Result<(), Unpriced> {
        let limits = [(Scope::Run, self.run), (Scope::Agent, self.agent), (Scope::Plugin, self.plugin)];
        let limited = limits.into_iter().find(|(_, limits)| limits.money.is_some());
        match (limited, price) {
            (Some((scope, _)), None) => Err(Unpriced { scope, model: known_as(model).into() }),
            _ => Ok(()),
        }
    }
}

impl Unpriced {
    /// What would mend it.
    pub fn hint(&self) -> String {
        format!("give `{}` a price, 0 where it costs nothing; or limit tokens instead", self.model)
    }
}

/// The longest name of a model that is kept, in bytes: guests may choose it.
const LONGEST_MODEL: usize = 128;

/// A model's name as far as it is kept.
pub(crate) fn known_as(model: &str) -> &str {
    model.get(..model.floor_char_boundary(LONGEST_MODEL)).unwrap_or(model)
}

impl Scope {
    fn one(self) -> &'static str {
        match self {
            Self::Run => "this run",
            Self::Agent => "this agent",
            Self::Plugin => "this plugin",
        }
    }

    fn all(self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Agent => "an agent",
            Self::Plugin => "the plugin",
        }
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |number| match self.kind {
            Kind::Money => Money(number).to_string(),
            Kind::Requests | Kind::Tokens => number.to_string(),
        };
        let (verb, noun, done) = match self.kind {
            Kind::Requests => ("make", " requests to models", "were made"),
            Kind::Tokens => ("use", " tokens", "are used"),
            Kind::Money => ("spend", "", "are spent"),
        };
        let day = if self.scope == Scope::Run { "" } else { " a day" };
        let (who, limit, spent) = (self.scope.one(), amount(self.limit), amount(self.spent));
        write!(f, "{who} may {verb} {limit}{noun}{day}: {spent} {done}")?;
        if self.asked > 0 && self.kind != Kind::Requests {
            write!(f, ", and this call needs about {} more", amount(self.asked))?;
        }
        match self.resets {
            Some(resets) => write!(f, "; it may go on at {}", rfc3339(resets)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Over {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Day;

    #[test]
    fn what_is_over_is_said_in_a_sentence() {
        let over = |scope, kind, [limit, spent, asked]: [u64; 3]| {
            let resets = (scope != Scope::Run).then(|| Day(20_782).begins());
            Over { scope, kind, limit, spent, asked, resets }.to_string()
        };
        assert_eq!(
            over(Scope::Run, Kind::Tokens, [1000, 990, 20]),
            "this run may use 1000 tokens: 990 are used, and this call needs about 20 more"
        );
        assert_eq!(
            over(Scope::Agent, Kind::Requests, [10, 10, 1]),
            "this agent may make 10 requests to models a day: 10 were made; \
             it may go on at 2026-11-25T00:00:00.000Z"
        );
        assert_eq!(
            over(Scope::Plugin, Kind::Money, [5_000_000, 5_010_000, 0]),
            "this plugin may spend 5 a day: 5.01 are spent; it may go on at 2026-11-25T00:00:00.000Z"
        );
    }

    #[test]
    fn a_limit_on_money_wants_a_price_and_other_limits_do_not() {
        let counted = Limits { requests: Some(1), tokens: Some(1), money: None };
        let free = Budget { run: counted, agent: counted, plugin: counted };
        assert_eq!(free.check("small", None), Ok(()));
        let agent = Limits { money: Some(Money(1)), ..counted };
        let limited = Budget { agent, ..free };
        assert_eq!(limited.check("small", Some(Price::default())), Ok(()));
        let error = limited.check("small", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the money that an agent may spend is limited, and the model `small` has no price"
        );
        assert!(error.hint().contains("give `small` a price"));
    }

    #[test]
    fn a_long_name_of_a_model_is_cut_at_a_character() {
        assert_eq!(known_as("gpt"), "gpt");
        assert_eq!(known_as(&"é".repeat(1 << 20)), "é".repeat(64));
        assert_eq!(known_as(&format!("a{}", "é".repeat(64))).len(), 127);
    }
}
