//! Models as a capability of the host: it holds the keys, speaks each provider's dialect, tries again where that may
//! help, and hands over an answer delta by delta.
//!
//! [`Models`] are all that the host's configuration knows. [`Models::grant`] hands each plugin its [`Granted`], and
//! [`Granted::chat`] answers at once with an [`Answer`] on its way.

mod answer;
mod assembly;
mod delta;
mod granted;
mod models;
mod provider;
mod request;

pub use answer::Answer;
pub use assembly::Assembly;
pub use delta::{Delta, Embeddings, Ending, Error, Reason, Usage, Whole};
pub use granted::Granted;
pub use models::{ConfigError, GrantError, Models};
pub use provider::{Dialect, Key, ModelName, Provider, Timeouts};
pub use request::{Assistant, Message, Part, Request, Setting, Tool, ToolCall, ToolChoice};
