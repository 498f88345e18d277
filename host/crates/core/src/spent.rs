//! What something came to that models were asked for.

use serde::{Deserialize, Serialize};

use crate::Money;

/// What was asked of models, and what it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Calls of a model.
    pub requests: u64,
    /// Tokens that went in.
    pub input_tokens: u64,
    /// Tokens that came out.
    pub output_tokens: u64,
    /// What they cost, as far as the models have a price.
    pub money: Money,
}

impl Spent {
    /// Whether no model was asked.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
