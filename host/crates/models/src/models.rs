//! All models of the host, and what of them a plugin is granted.

use std::collections::BTreeMap;

use rookery_outgoing::Client;

use crate::granted::Granted;
use crate::provider::{ModelName, Provider};

/// All of the host's models. Cheap to clone.
#[derive(Clone)]
pub struct Models;

/// Why the configuration's models cannot be used. Never holds a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A provider that cannot be spoken to.
    #[error("model `{model}`, provider {number}: {what}")]
    Provider {
        /// The model.
        model: ModelName,
        /// Which of its providers, from 1.
        number: usize,
        /// What is wrong, and what would mend it.
        what: String,
    },
}

/// Why a sidecar's `[models]` cannot be granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// No model has this name.
    #[error("no model is called `{name}`; {hint}")]
    Unknown {
        /// The name as it was written.
        name: String,
        /// The nearest one, or those that there are.
        hint: String,
    },
}

impl Models {
    /// Reads what was configured.
    pub fn new(
        _configured: BTreeMap<ModelName, Vec<Provider>>,
        _client: Client,
    ) -> Result<Models, ConfigError> {
        todo!()
    }
    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &ModelName> {
        std::iter::empty()
    }
    /// What a plugin was granted: `allow`, and `default` whether or not that is among them. Each of a plugin's providers
    /// has at most `open_requests` requests under way.
    pub fn grant(
        &self,
        _plugin: &str,
        _default: Option<&str>,
        _allow: &[String],
        _open_requests: usize,
    ) -> Result<Granted, GrantError> {
        todo!()
    }
}
