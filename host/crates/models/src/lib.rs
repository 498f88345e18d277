//! Models as a capability of the host: it holds the keys, speaks each provider's dialect, tries again where that may
//! help, and hands over an answer delta by delta.
//!
//! [`Models`] are all that the host's configuration knows. [`Models::grant`] hands each plugin its [`Granted`], and
//! [`Granted::chat`] answers at once with an [`Answer`] on its way. The words are those of `wit/model.wit`.
//!
//! Promises: no key reaches a guest, a log or an error, unless a provider says it as the words of an answer. A try is
//! made again only while nothing was heard. An answer that was cut short never looks whole.
//! Bounded by: [`ANSWER_LIMIT`] for an answer and 32 MiB for a request; each provider's retries and time-outs; a number
//! of open requests per plugin and provider.
//! Ends when: the run's token is cancelled, or an answer is dropped.
//! Costs: a connection pool per plugin and provider; and where a provider gives no figures, the usage is an estimate
//! ([`estimate_tokens`]).

mod answer;
mod anthropic;
mod assembly;
mod calls;
mod check;
mod delta;
mod dialect;
mod embed;
mod events;
mod failure;
mod granted;
mod models;
mod openai;
mod parser;
mod provider;
mod reading;
mod request;
mod route;
#[cfg(test)]
mod tests;
mod trying;

pub use answer::Answer;
pub use assembly::Assembly;
pub use delta::{Delta, Embeddings, Ending, Error, Reason, Usage, Whole};
pub use dialect::estimate_tokens;
pub use granted::Granted;
pub use models::{ConfigError, GrantError, Models};
pub use parser::{ANSWER_LIMIT, Parser};
pub use provider::{Dialect, InvalidModelName, Key, ModelName, Provider, Timeouts};
pub use request::{Assistant, Message, Part, Request, Setting, Tool, ToolCall, ToolChoice};
