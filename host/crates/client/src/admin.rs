//! A host seen from its admin address: agents as things that are kept.

use std::str::FromStr;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use http::request::Builder;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use rookery_core::{AgentId, PluginName, Span};
use serde::Deserialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::base::Base;
use crate::client::{self, Body, Client, Settings};
use crate::error::ClientError;
use crate::page::Page;

/// A host's admin address. What answers at the host's own says that there is nothing at such a path.
#[derive(Clone)]
pub struct Admin {
    client: Client,
    token: Option<String>,
}

/// What is known of an agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Which: `chat/alice`.
    pub agent: String,
    /// How much it keeps, in bytes on the disk.
    pub bytes: u64,
    /// When it wrote something last, as the host wrote it.
    pub last_used: Option<String>,
    /// Whether it is in memory; none where nobody knows.
    pub live: Option<bool>,
    /// How many runs of it have begun.
    pub running: u64,
    /// How many wait for their turn.
    pub queued: u64,
    /// Whether its plugin is served; none where nobody knows.
    pub served: Option<bool>,
    /// How many runs of it are kept, where that was looked at.
    pub runs: Option<u64>,
    document: Value,
}

/// Lists of agents, ordered, as the host gives them out.
pub struct AgentPages {
    admin: Admin,
    next: Option<String>,
}

/// How an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// On the host's side.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// On this one.
    #[error("it cannot be written: {0}")]
    Written(std::io::Error),
}

/// So many bytes of a file are sent in a second at least; what is slower is given up.
const SLOWEST: u64 = 256 << 10;

impl Admin {
    /// The admin address of a host, which is not looked for yet.
    pub fn new(base: Base, settings: Settings, token: Option<&str>) -> Self {
        let token = token.map(|token| format!("Bearer {token}"));
        Self { client: Client::with(base, settings), token }
    }

    /// Lists agents that keep something.
    pub fn list(&self, plugin: Option<&PluginName>) -> AgentPages {
        let plugin = plugin.map(|plugin| format!("plugin={plugin}&")).unwrap_or_default();
        AgentPages { admin: self.clone(), next: Some(format!("/admin/agents?{plugin}limit={PAGE}")) }
    }

    /// All about one agent.
    ///
    /// # Errors
    ///
    /// When the host does not say, also because there is nothing of it: then its code is `unknown-agent`.
    pub async fn state(&self, agent: &AgentId) -> Result<Agent, ClientError> {
        let request = self.request(Method::GET, &path(agent, ""))?;
        self.agent(request, empty(), self.client.settings.silence).await
    }

    /// Removes an agent and all that is its own, and says what went.
    ///
    /// # Errors
    ///
    /// When the host does not do it, also because there is nothing of it: then its code is `unknown-agent`.
    pub async fn remove(&self, agent: &AgentId) -> Result<Agent, ClientError> {
        let request = self.request(Method::DELETE, &path(agent, ""))?;
        self.agent(request, empty(), self.client.settings.silence).await
    }

    /// Writes what the agent has committed, and says how many bytes that were.
    ///
    /// # Errors
    ///
    /// When the host does not give it, or not all of it, or when it cannot be written.
    pub async fn export(
        &self,
        agent: &AgentId,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ExportError> {
        let request = self.request(Method::GET, &path(agent, "/export"))?;
        // Not a byte comes before the host has made its copy.
        let patience = self.client.settings.silence.saturating_mul(10);
        let mut body = self.client.send_for(request, empty(), patience).await?.into_body();
        let (silence, mut bytes) = (self.client.settings.silence, 0);
        loop {
            let frame = timeout(silence, body.frame()).await;
            let frame =
                frame.map_err(|_| self.client.unanswered(format!("nothing came for {}", Span(silence))))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| self.client.unanswered(client::whole(&error)))?;
            let Ok(piece) = frame.into_data() else { continue };
            to.write_all(&piece).await.map_err(ExportError::Written)?;
            bytes += piece.len() as u64;
        }
        to.flush().await.map_err(ExportError::Written)?;
        Ok(bytes)
    }

    /// Makes a file that was exported what an agent keeps that keeps nothing yet.
    ///
    /// # Errors
    ///
    /// When the host does not do it: `taken` is its code where the agent keeps something.
    pub async fn import(&self, agent: &AgentId, file: File, length: u64) -> Result<Agent, ClientError> {
        let request = self.request(Method::PUT, &path(agent, "/import"))?.header(CONTENT_LENGTH, length);
        let patience = self.client.settings.silence + Duration::from_secs(length / SLOWEST);
        self.agent(request, client::body(file), patience).await
    }

    /// Makes what one agent has committed the beginning of another.
    ///
    /// # Errors
    ///
    /// As for exporting and importing.
    pub async fn fork(&self, from: &AgentId, to: &AgentId) -> Result<Agent, ClientError> {
        let request = self.request(Method::POST, &path(from, &format!("/fork?to={to}")))?;
        self.agent(request, empty(), self.client.settings.silence.saturating_mul(10)).await
    }

    async fn agent(&self, request: Builder, body: Body, patience: Duration) -> Result<Agent, ClientError> {
        let response = self.client.send_for(request, body, patience).await?;
        let status = response.status();
        let document = self.client.document(response).await?;
        Agent::read(document).map_err(|error| self.client.foreign(status, error))
    }

    fn request(&self, method: Method, path: &str) -> Result<Builder, ClientError> {
        let mut request = Request::builder().method(method).uri(self.client.path(path)?);
        if let Some(token) = &self.token {
            let mut token = HeaderValue::try_from(token)
                .map_err(|error| self.client.foreign(StatusCode::OK, error.to_string()))?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        Ok(request.header(ACCEPT, "application/json, application/vnd.sqlite3"))
    }
}

/// How many agents are asked for at once.
const PAGE: usize = 100;

/// Names have no character that a path or a query would have to encode.
fn path(agent: &AgentId, verb: &str) -> String {
    format!("/admin/agents/{agent}{verb}")
}

fn empty() -> Body {
    Either::Left(Full::default())
}

impl AgentPages {
    /// The next page; None after the last one.
    pub async fn next(&mut self) -> Option<Result<Vec<Agent>, ClientError>> {
        let path = self.next.take()?;
        match self.page(&path).await {
            Ok(page) => page.turn(&mut self.next).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    async fn page(&self, path: &str) -> Result<Page<Agent>, ClientError> {
        let client = &self.admin.client;
        let request = self.admin.request(Method::GET, path)?;
        let response = client.send_for(request, empty(), client.settings.silence).await?;
        let status = response.status();
        let document = client.document(response).await?;
        Page::read(document, "agents", Agent::read).map_err(|error| client.foreign(status, error))
    }
}

impl Agent {
    fn read(document: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Known {
            agent: String,
            bytes: u64,
            #[serde(default)]
            last_used: Option<String>,
            #[serde(default)]
            live: Option<bool>,
            #[serde(default)]
            running: u64,
            #[serde(default)]
            queued: u64,
            #[serde(default)]
            served: Option<bool>,
            #[serde(default)]
            runs: Option<u64>,
        }
        let known = Known::deserialize(&document).map_err(|error| error.to_string())?;
        Ok(Self {
            agent: known.agent,
            bytes: known.bytes,
            last_used: known.last_used,
            live: known.live,
            running: known.running,
            queued: known.queued,
            served: known.served,
            runs: known.runs,
            document,
        })
    }

    /// All that was said of it, as one line of JSON.
    pub fn json(&self) -> String {
        self.document.to_string()
    }
}

impl FromStr for Agent {
    type Err = String;

    /// Reads the document that a host gives.
    fn from_str(json: &str) -> Result<Self, String> {
        Self::read(serde_json::from_str(json).map_err(|error| error.to_string())?)
    }
}
