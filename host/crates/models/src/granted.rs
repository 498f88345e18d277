//! A plugin's models.

use tokio_util::sync::CancellationToken;

use crate::{Answer, Embeddings, Error, Request};

/// A plugin's models. Cheap to clone.
#[derive(Clone)]
pub struct Granted;

impl Granted {
    /// No model at all: what a plugin without `[models]` has.
    pub fn none(_plugin: &str) -> Granted {
        todo!()
    }
    /// The same under the name of one of the plugin's agents, for the log.
    pub fn for_agent(&self, _agent: &str) -> Granted {
        todo!()
    }
    /// The name that is meant: itself if it is granted, or the default one's. For a budget that is looked at before.
    pub fn named(&self, _model: Option<&str>) -> Result<&str, Error> {
        todo!()
    }
    /// Asks a model. Call it within a tokio runtime.
    pub fn chat(
        &self,
        _model: Option<&str>,
        _request: Request,
        _ended: CancellationToken,
    ) -> Result<Answer, Error> {
        todo!()
    }
    /// What texts mean to a model; dropping the future ends the request.
    pub fn embed(
        &self,
        _model: Option<&str>,
        _texts: Vec<String>,
        _ended: CancellationToken,
    ) -> Result<impl Future<Output = Result<Embeddings, Error>> + Send + 'static, Error> {
        Ok(async { todo!() })
    }
}
