//! What a model says: the words of `wit/model.wit` as types.

use crate::request::{Assistant, ToolCall};

/// One item of an answer on its way. The last one is `Ended` or `Failed`, and there is exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Words of the answer.
    Text(String),
    /// What the model thinks on the way.
    Reasoning(String),
    /// A tool that it asks for, whole.
    ToolCall(ToolCall),
    /// What was spent; once, before the last item.
    Usage(Usage),
    /// That was the whole answer.
    Ended(Ending),
    /// It is not whole.
    Failed(Error),
}

impl Delta {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Delta::Ended(_) | Delta::Failed(_))
    }
}

/// Tokens spent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The model that answered, as its provider names it.
    pub model: String,
    /// Tokens of the question.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub reason: Reason,
    /// What the provider wants to see again with this message.
    pub state: Option<String>,
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// It is whole, or came to a text of `stop`.
    #[default]
    Stop,
    /// It had as many tokens as it may have.
    Length,
    /// The model waits for its tools.
    ToolCalls,
    /// The provider or the model would not say more.
    Refused,
    /// Something else, in the provider's own word.
    Other(String),
}

/// Why there is no answer, or no whole one. The text is for the author; no key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The sidecar grants no model of this name.
    #[error("{0}")]
    NotGranted(String),
    /// The run, the agent or the plugin has spent what it may.
    #[error("{0}")]
    OverBudget(String),
    /// The request is not well formed, or the provider does not take it.
    #[error("{0}")]
    Rejected(String),
    /// The provider is away, fell silent, or broke off.
    #[error("{0}")]
    Unavailable(String),
    /// The run is over.
    #[error("the run is over")]
    Cancelled,
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// What was said.
    pub message: Assistant,
    /// What was thought on the way.
    pub reasoning: String,
    /// Why it ended.
    pub reason: Reason,
    /// What was spent.
    pub usage: Usage,
}

/// What texts mean, as numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// One for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// What was spent.
    pub usage: Usage,
}
