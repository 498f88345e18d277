//! All models of the host, and what of them a plugin is granted.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Uri;
use rookery_outgoing::{Client, Grants};

use crate::granted::{Granted, Plugin};
use crate::provider::{ModelName, Provider};
use crate::route::{Route, added};

/// All of the host's models. Cheap to clone.
#[derive(Clone)]
pub struct Models(Arc<Shared>);

struct Shared {
    configured: BTreeMap<ModelName, Vec<Provider>>,
    client: Client,
}

/// The most providers of one name, and the most retries of one provider: with more nobody would wait for the last.
const MOST_PROVIDERS: usize = 8;
const MOST_RETRIES: u32 = 10;

/// Names are alike from here on, on a scale to 1.
const ALIKE: f64 = 0.7;

/// Why the configuration's models cannot be used. Never holds a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name with no provider, or with too many.
    #[error("the model `{model}` has {count} providers; give it 1 to {MOST_PROVIDERS}")]
    Providers {
        /// The model.
        model: ModelName,
        /// How many it has.
        count: usize,
    },
    /// A provider that cannot be spoken to.
    #[error("the model `{model}`, provider {number}: {what}")]
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
    /// Reads what was configured. Nothing is sent.
    pub fn new(
        configured: BTreeMap<ModelName, Vec<Provider>>,
        client: Client,
    ) -> Result<Models, ConfigError> {
        for (model, providers) in &configured {
            if !(1..=MOST_PROVIDERS).contains(&providers.len()) {
                return Err(ConfigError::Providers { model: model.clone(), count: providers.len() });
            }
            for (number, provider) in (1..).zip(providers) {
                check(provider).map_err(|what| ConfigError::Provider {
                    model: model.clone(),
                    number,
                    what,
                })?;
            }
        }
        Ok(Models(Arc::new(Shared { configured, client })))
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &ModelName> {
        self.0.configured.keys()
    }

    /// What a plugin was granted: `allow`, and `default` whether or not that is among them. It may have at most
    /// `open_requests` requests to each provider under way; one more is refused at once.
    pub fn grant(
        &self,
        plugin: &str,
        default: Option<&str>,
        allow: &[String],
        open_requests: usize,
    ) -> Result<Granted, GrantError> {
        let mut models = BTreeMap::new();
        for name in allow.iter().map(String::as_str).chain(default) {
            let Some((model, providers)) = self.0.configured.get_key_value(name) else {
                return Err(GrantError::Unknown { name: name.to_owned(), hint: self.hint(name) });
            };
            if models.contains_key(model) {
                continue;
            }
            let open = |provider| Route::open(provider, &self.0.client, plugin, open_requests).map(Arc::new);
            // They were all checked when they were configured.
            let routes: Vec<_> = providers.iter().filter_map(|provider| open(provider).ok()).collect();
            models.insert(model.clone(), routes.into());
        }
        let default = default.and_then(|name| models.get_key_value(name)).map(|(name, _)| name.clone());
        Ok(Granted::new(Plugin { name: plugin.to_owned(), default, models, chance: fastrand::f64 }))
    }

    fn hint(&self, name: &str) -> String {
        let alike = |known: &ModelName| {
            strsim::jaro_winkler(&name.to_ascii_lowercase(), &known.as_str().to_ascii_lowercase())
        };
        let nearest = self.names().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        match nearest {
            None => "the host's configuration has no models at all".to_owned(),
            Some(known) if alike(known) >= ALIKE => format!("did you mean `{known}`?"),
            Some(_) => {
                let names: Vec<_> = self.names().map(ModelName::as_str).collect();
                format!("there are `{}`", names.join("`, `"))
            }
        }
    }
}

fn check(provider: &Provider) -> Result<(), String> {
    use rookery_outgoing::GrantError as Wrong;
    if provider.model.trim().is_empty() {
        return Err("its `model` is empty; give the provider's own name for it".to_owned());
    }
    if provider.retries > MOST_RETRIES {
        return Err(format!("{} retries are too many; have at most {MOST_RETRIES}", provider.retries));
    }
    let times = provider.timeouts;
    if [times.connect, times.first_token, times.silence].iter().any(std::time::Duration::is_zero) {
        return Err("a time-out of zero lets nothing happen; give it more".to_owned());
    }
    let (headers, _) = added(provider);
    let url = &provider.url;
    Grants::trusted(url, &headers).map_err(|wrong| match wrong {
        // Quoted only where it cannot hold a password.
        Wrong::Entry { what, mend, .. } if url.contains('@') => format!("its `url`: {what}; {mend}"),
        Wrong::Entry { what, mend, .. } => format!("its `url` `{url}`: {what}; {mend}"),
        Wrong::Header { header, what, mend, .. } => format!("its header `{header}` {what}; {mend}"),
        other => other.to_string(),
    })?;
    match url.parse::<Uri>() {
        Ok(_) if !url.contains('*') => Ok(()),
        _ => Err(format!("its `url` `{url}` is not one URL; write it out")),
    }
}
