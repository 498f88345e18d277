//! The way in to an agent: a prompt becomes a run, or a client that comes back goes on with the run it has.
//!
//! Promises: nothing of a run happens before all of its request was found good; a `HEAD` and an `EventSource` that comes
//! back start nothing.

use std::fmt::Display;
use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response};
use rookery_agents::{Asked, Submitted};
use rookery_core::{AgentId, Origin};

use crate::accept;
use crate::answer::{self, Body};
use crate::ask::{self, Question};
use crate::last_event::{self, Ids, LastEvent};
use crate::problem::Problem;
use crate::routes::{Face, gone_by, method_not_allowed};
use crate::wishes::Wishes;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

impl Face {
    /// A request to an agent.
    pub(crate) async fn agent<B>(
        &self,
        agent: AgentId,
        request: &Parts,
        body: &mut B,
        client: SocketAddr,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        if !matches!(request.method, Method::GET | Method::HEAD | Method::POST) {
            return Err(method_not_allowed("GET, HEAD, POST, OPTIONS"));
        }
        self.version(&agent.plugin)?;
        let format = accept::format(&request.headers)?;
        let wishes = Wishes::of(&request.headers)?;
        let (question, ids) = match request.method {
            // Says what a GET would, and starts nothing.
            Method::HEAD => return Ok(answer::head(format, answer::whole(Bytes::new()))),
            Method::GET if last_event::comes_back(&request.headers) => {
                return self.go_on(&agent, request).await;
            }
            Method::GET => (ask::from_query(request.uri.query())?, Ids::RunAndNumber { seen: 0 }),
            _ => (self.bodies.question(&request.headers, body).await?, Ids::Number),
        };
        let Question { text, body } = question;
        let asked = Asked {
            text,
            body,
            origin: Origin::Client(Some(client.to_string())),
            key: wishes.key,
            deadline: wishes.deadline,
            background: wishes.respond_async,
            alarm: None,
        };
        let (submitted, replayed) = self.directory.submit_once(&agent, asked).await?;
        let response = match wishes.respond_async {
            true => self.accepted(submitted).await,
            false => answer::answer(format, submitted, ids, self.settings.keep_alive).await,
        };
        let mut response = response.unwrap_or_else(Problem::response);
        if replayed {
            response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    /// Says that a run was accepted, and leaves it to itself.
    async fn accepted(&self, submitted: Submitted) -> Result<Response<Body>, Problem> {
        submitted.events.accepted().await;
        let mut response = self.under_way(submitted.run).await?;
        response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
        Ok(response)
    }

    /// An `EventSource` asks again by itself when its stream has ended or broken. That goes on with the run it has, if
    /// there is one, and never starts another.
    async fn go_on(&self, agent: &AgentId, request: &Parts) -> Result<Response<Body>, Problem> {
        let Some(LastEvent { run: Some(run), number }) = last_event::of(&request.headers) else {
            return Ok(gone_by());
        };
        match self.directory.state(run).await? {
            Some(state) if state.agent == *agent => {
                self.follow(&state, number, request, Ids::RunAndNumber { seen: number }).await
            }
            _ => Ok(gone_by()),
        }
    }
}
