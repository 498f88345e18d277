//! A provider as the host's configuration has it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The name that agents know a model by: 1–64 characters of `A–Z a–z 0–9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

/// A text that is no name of a model.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a model: use 1 to 64 characters of A-Z a-z 0-9 . _ -")]
pub struct InvalidModelName(String);

impl ModelName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = InvalidModelName;

    fn from_str(text: &str) -> Result<ModelName, InvalidModelName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(ModelName(text.into()));
        }
        Err(InvalidModelName(text.chars().take(80).collect()))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One provider of a model. Of several of one name the later ones are fallbacks, in order.
#[derive(Clone, Debug)]
pub struct Provider {
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Where: `https://api.openai.com/v1`, `http://ollama:11434/v1`, `https://api.anthropic.com`. Being the operator's
    /// own word, it may lead to a private address.
    pub url: String,
    /// The provider's own name for the model.
    pub model: String,
    /// What it asks to be shown, if anything.
    pub key: Option<Key>,
    /// Further headers for each request. Their values are kept out of logs as the key is.
    pub headers: BTreeMap<String, String>,
    /// How often a failed try is made again, where that may help; at most 10.
    pub retries: u32,
    /// How long it may take for what.
    pub timeouts: Timeouts,
}

impl Provider {
    /// A provider without a key, with two retries and the usual time-outs.
    pub fn new(dialect: Dialect, url: impl Into<String>, model: impl Into<String>) -> Provider {
        Provider {
            dialect,
            url: url.into(),
            model: model.into(),
            key: None,
            headers: BTreeMap::new(),
            retries: 2,
            timeouts: Timeouts::default(),
        }
    }
}

/// The languages that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat completions, as OpenRouter, vLLM, llama.cpp, Ollama and LM Studio speak them too.
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
}

/// A provider's key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Takes a key as a variable or a file has it: white space around it is not its own. None if there is nothing else.
    pub fn new(text: &str) -> Option<Key> {
        let text = text.trim();
        (!text.is_empty()).then(|| Key(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How long a provider may take for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection is there.
    pub connect: Duration,
    /// From the start of a try until its first delta, connecting included.
    pub first_token: Duration,
    /// From one event to the next, while somebody waits for it. Pings and comments are no events.
    pub silence: Duration,
}

impl Default for Timeouts {
    /// Ten seconds are three lost packets while connecting. A model that thinks in silence takes minutes for its first
    /// word; one that has begun pauses for seconds, so two minutes are a dead link.
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            first_token: Duration::from_secs(300),
            silence: Duration::from_secs(120),
        }
    }
}
