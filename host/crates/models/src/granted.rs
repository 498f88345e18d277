//! A plugin's models.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::answer::Answer;
use crate::check::{Asked, brief};
use crate::delta::{Embeddings, Error};
use crate::embed;
use crate::failure::{Failure, Then};
use crate::provider::ModelName;
use crate::request::Request;
use crate::route::{Heard, Route};
use crate::trying::{Chance, try_all};

/// A plugin's models. Cheap to clone.
#[derive(Clone)]
pub struct Granted {
    agent: Arc<str>,
    plugin: Arc<Plugin>,
}

/// A model's providers, in their order.
type Routes = Arc<[Arc<Route>]>;

pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) default: Option<ModelName>,
    pub(crate) models: BTreeMap<ModelName, Routes>,
    pub(crate) chance: Chance,
}

impl Granted {
    /// No model at all: what a plugin without `[models]` has.
    pub fn none(plugin: &str) -> Granted {
        let (name, models) = (plugin.to_owned(), BTreeMap::new());
        Granted::new(Plugin { name, default: None, models, chance: fastrand::f64 })
    }

    pub(crate) fn new(plugin: Plugin) -> Granted {
        Granted { agent: plugin.name.as_str().into(), plugin: Arc::new(plugin) }
    }

    /// The same under the name of one of the plugin's agents, for the log.
    pub fn for_agent(&self, agent: &str) -> Granted {
        Granted { agent: agent.into(), plugin: self.plugin.clone() }
    }

    /// The names that are granted, in order.
    pub fn names(&self) -> impl Iterator<Item = &ModelName> {
        self.plugin.models.keys()
    }

    /// What is shown to providers and to nobody else, each with a name that may be shown.
    pub fn secrets(&self) -> impl Iterator<Item = (String, &str)> {
        self.plugin.models.iter().flat_map(|(name, routes)| {
            let values = routes.iter().flat_map(|route| route.secrets());
            values.map(move |value| (format!("a key of the model {name}"), value))
        })
    }

    /// The name that is meant: itself if it is granted, or the default one's.
    pub fn named(&self, model: Option<&str>) -> Result<&ModelName, Error> {
        self.find(model).map(|(name, _)| name)
    }

    /// Asks a model. What is known at once to be in vain is an error here, everything else the answer's last delta.
    ///
    /// Call it within a tokio runtime. When `ended` is cancelled, the answer ends as `Cancelled` in whatever state it is.
    pub fn chat(
        &self,
        model: Option<&str>,
        request: Request,
        ended: CancellationToken,
    ) -> Result<Answer, Error> {
        let (name, routes) = self.find(model)?;
        let asked = Asked::check(request)?;
        let Some(first) = routes.first() else { return Err(self.deny(name.as_str())) };
        if ended.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let body = first.write(&asked)?;
        let (name, routes, agent) = (name.clone(), routes.clone(), self.agent.clone());
        let chance = self.plugin.chance;
        // Only another provider needs more than what the first one is sent.
        let asked = (routes.len() > 1).then_some(asked);
        Ok(Answer::ask(async move {
            let attempt = |route: Arc<Route>| {
                let is_first = routes.first().is_some_and(|first| Arc::ptr_eq(first, &route));
                let body = match &asked {
                    Some(asked) if !is_first => route.write(asked),
                    _ => Ok(body.clone()),
                };
                let (agent, ended) = (agent.clone(), ended.clone());
                async move {
                    let body = body.map_err(|error| Failure::new(error, Then::Next))?;
                    route.chat(&agent, body, ended).await
                }
            };
            let heard: Result<Heard, Failure> =
                try_all(&name, &agent, &routes, &ended, chance, attempt).await;
            heard
        }))
    }

    /// What texts mean to a model; dropping the future ends the request. A fallback is asked only if its model is of the
    /// same name there: what another model means by its numbers cannot be compared.
    ///
    /// Call it within a tokio runtime: the request begins at once.
    pub fn embed(
        &self,
        model: Option<&str>,
        texts: Vec<String>,
        ended: CancellationToken,
    ) -> Result<impl Future<Output = Result<Embeddings, Error>> + Send + 'static + use<>, Error> {
        let (name, routes) = self.find(model)?;
        let (name, agent, chance) = (name.clone(), self.agent.clone(), self.plugin.chance);
        let routes = embed::able(routes)?;
        let question = Arc::new(embed::Question::new(texts)?);
        let embedding = AbortOnDropHandle::new(tokio::spawn(async move {
            let attempt = |route: Arc<Route>| {
                let (question, agent, ended) = (question.clone(), agent.clone(), ended.clone());
                async move { question.ask(&route, &agent, ended).await }
            };
            try_all(&name, &agent, &routes, &ended, chance, attempt).await.map_err(|failure| failure.error)
        }));
        Ok(async move {
            embedding.await.unwrap_or_else(|broke| {
                tracing::error!(error = %broke, "asking a model broke");
                Err(Error::Unavailable("the host broke while it asked; its log says more".to_owned()))
            })
        })
    }

    fn find(&self, model: Option<&str>) -> Result<(&ModelName, &Routes), Error> {
        let Some(name) = model.or(self.plugin.default.as_ref().map(ModelName::as_str)) else {
            return Err(Error::NotGranted(format!(
                "no model is named, and `{}` has no default one; {}",
                self.plugin.name,
                self.granted()
            )));
        };
        self.plugin.models.get_key_value(name).ok_or_else(|| self.deny(name))
    }

    fn granted(&self) -> String {
        match &self.plugin.models.keys().map(ModelName::as_str).collect::<Vec<_>>()[..] {
            [] => "no model is granted to it".to_owned(),
            names => format!("granted are `{}`", names.join("`, `")),
        }
    }

    fn deny(&self, model: &str) -> Error {
        let (model, plugin, agent) = (brief(model), &self.plugin.name, &*self.agent);
        let others = self.plugin.models.keys().filter(|name| Some(*name) != self.plugin.default.as_ref());
        let names: Vec<&str> = others.map(ModelName::as_str).chain([model.as_str()]).collect();
        let line = format!("others = {names:?}");
        tracing::warn!(
            %plugin, agent, model,
            "refused a model that is not granted; to allow it, have `{line}` under [models] in {plugin}.toml"
        );
        Error::NotGranted(format!("the model `{model}` is not granted to `{plugin}`; {}", self.granted()))
    }
}
