//! The admin face, on a listener of its own: agents as things that are kept. They are listed, looked at, removed, taken out,
//! brought in and forked. And what the host counts, which names its plugins and models.
//!
//! Promises: nobody is answered whom [`guard`] does not let in; an agent is exported while it lives; nothing that an agent
//! keeps is written over.
//! Bounded by: [`CONNECTIONS`], a page of [`MOST`](crate::runs::MOST) agents, and what [`transfer`] and [`metrics`] say.

mod guard;
mod guesses;
mod keeper;
mod metrics;
mod transfer;

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Either;
use hyper::body::Incoming;
use rookery_core::{AgentId, PluginName, rfc3339};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::answer;
use crate::ask::Bodies;
use crate::problem::{Kind, Problem};
use crate::query;
use crate::routes::{agent_name, json_response, method_not_allowed, plugin_name};
use crate::runs::{COMMON, agent_id, bad_query, page};
use crate::server::{self, Answers, Settings};

use guard::Guard;
pub use guard::{Token, TokenError};
pub use keeper::{AgentState, Answer, Keeper, KeeperError, Removed, Scratch};
pub use metrics::{Family, Measure, Metrics, Sample};
use transfer::Outgoing;

/// Each is a person or a program of the house.
const CONNECTIONS: usize = 64;

/// So much of what a refused client still sends is taken, so that it finds its answer.
const PASSED_OVER: usize = 64 << 20;

type Body = Either<answer::Body, Outgoing>;

/// Serves the agents of this keeper, and these metrics, until `stop` fires and all answers that are open then have ended.
/// With a token, to whoever shows it; without, to this machine.
pub async fn serve_admin(
    listener: TcpListener,
    keeper: Arc<dyn Keeper>,
    metrics: Arc<dyn Metrics>,
    token: Option<Token>,
    stop: CancellationToken,
) {
    let settings = Settings { max_connections: CONNECTIONS, max_body: PASSED_OVER, ..Settings::default() };
    let guard = Guard::new(token);
    let admin = Admin { keeper, metrics, guard, settings, bodies: Bodies::new(settings) };
    server::listen(listener, admin, settings, stop).await;
}

struct Admin {
    keeper: Arc<dyn Keeper>,
    metrics: Arc<dyn Metrics>,
    guard: Guard,
    settings: Settings,
    bodies: Bodies,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Metrics,
    Agents,
    Agent(AgentId),
    Export(AgentId),
    Import(AgentId),
    Fork(AgentId),
}

const ROUTES: &str = "there is nothing at this path; GET `/metrics` or `/admin/agents`, GET or DELETE \
                      `/admin/agents/{plugin}/{name}`, GET its `/export`, PUT its `/import`, or POST its \
                      `/fork?to={plugin}/{name}`";

impl Answers for Admin {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>, _client: SocketAddr) -> Response<Body> {
        let (request, mut body) = request.into_parts();
        let response = match self.route(&request, &mut body).await {
            Ok(response) => response,
            Err(problem) => {
                if problem.leaves_body() {
                    self.bodies.pass_over(&mut body).await;
                }
                problem.response().map(Either::Left)
            }
        };
        finished(response, &request.method)
    }
}

impl Admin {
    async fn route<B>(&self, request: &Parts, body: &mut B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        self.guard.check(request)?;
        match (request.uri.path().parse()?, &request.method) {
            (Route::Metrics, &Method::GET | &Method::HEAD) => Ok(self.metrics()),
            (Route::Metrics, _) => Err(method_not_allowed("GET, HEAD")),
            (Route::Agents, &Method::GET | &Method::HEAD) => self.list(request.uri.query()).await,
            (Route::Agents, _) => Err(method_not_allowed("GET, HEAD")),
            (Route::Agent(agent), &Method::GET | &Method::HEAD) => {
                Ok(document(&shown(&self.keeper.state(agent).await?)))
            }
            (Route::Agent(agent), &Method::DELETE) => self.remove(agent).await,
            (Route::Agent(_), _) => Err(method_not_allowed("GET, HEAD, DELETE")),
            (Route::Export(agent), &Method::GET) => self.export(agent).await,
            (Route::Export(_), _) => Err(method_not_allowed("GET")),
            (Route::Import(agent), &Method::PUT) => {
                let (scratch, limit) = self.keeper.room(agent.clone()).await?;
                transfer::receive(body, &scratch, limit, self.settings.body_timeout).await?;
                self.keeper.import(agent.clone(), scratch).await?;
                self.made(agent).await
            }
            (Route::Import(_), _) => Err(method_not_allowed("PUT")),
            (Route::Fork(from), &Method::POST) => {
                let to = fork_to(request.uri.query())?;
                self.keeper.fork(from, to.clone()).await?;
                self.made(to).await
            }
            (Route::Fork(_), _) => Err(method_not_allowed("POST")),
        }
    }

    fn metrics(&self) -> Response<Body> {
        let mut response = Response::new(Either::Left(answer::whole(metrics::text(self.metrics.families()))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::MEDIA_TYPE));
        response
    }

    async fn list(&self, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let Page { plugin, after, limit } = listed(query)?;
        let agents = self.keeper.list(plugin.clone(), after, limit).await?;
        let last = agents.last().filter(|_| agents.len() >= limit);
        let mut page = json!({ "agents": agents.iter().map(shown).collect::<Vec<_>>() });
        if let Some(last) = last {
            page["next"] = next(plugin.as_ref(), &last.agent, limit).into();
        }
        Ok(document(&page))
    }

    async fn remove(&self, agent: AgentId) -> Result<Response<Body>, Problem> {
        let Removed { bytes, runs } = self.keeper.remove(agent.clone()).await?;
        Ok(document(&json!({ "agent": agent.to_string(), "bytes": bytes, "runs": runs })))
    }

    async fn export(&self, agent: AgentId) -> Result<Response<Body>, Problem> {
        let copy = Outgoing::open(self.keeper.export(agent.clone()).await?).await?;
        let mut response = Response::new(Either::Right(copy));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.sqlite3"));
        // A name has no character that would need quoting.
        let named = HeaderValue::try_from(format!("attachment; filename=\"{}.db\"", agent.name.as_str()));
        headers.extend(named.map(|named| (CONTENT_DISPOSITION, named)));
        Ok(response)
    }

    /// That an agent has come to be, and how it stands.
    async fn made(&self, agent: AgentId) -> Result<Response<Body>, Problem> {
        let mut response = document(&shown(&self.keeper.state(agent.clone()).await?));
        *response.status_mut() = StatusCode::CREATED;
        let place = HeaderValue::try_from(format!("/admin/agents/{agent}"));
        response.headers_mut().extend(place.map(|place| (LOCATION, place)));
        Ok(response)
    }
}

impl FromStr for Route {
    type Err = Problem;

    fn from_str(path: &str) -> Result<Self, Problem> {
        let not_found = || Problem::new(Kind::NotFound, ROUTES);
        if path == "/metrics" {
            return Ok(Route::Metrics);
        }
        let path = path.strip_prefix("/admin/agents").ok_or_else(not_found)?;
        let mut segments = path.split('/');
        if segments.next() != Some("") {
            return Err(not_found());
        }
        let segments = [segments.next(), segments.next(), segments.next(), segments.next()];
        let [plugin, name, verb] = match segments {
            [None, ..] => return Ok(Route::Agents),
            [Some(plugin), Some(name), verb, None] => [plugin, name, verb.unwrap_or_default()],
            _ => return Err(not_found()),
        };
        let route = match (verb, segments[2]) {
            (_, None) => Route::Agent,
            ("export", _) => Route::Export,
            ("import", _) => Route::Import,
            ("fork", _) => Route::Fork,
            _ => return Err(not_found()),
        };
        Ok(route(AgentId { plugin: plugin_name(plugin)?, name: agent_name(name)? }))
    }
}

/// Which agents a query asks for.
#[derive(Debug)]
struct Page {
    plugin: Option<PluginName>,
    after: Option<AgentId>,
    limit: usize,
}

fn listed(query: Option<&str>) -> Result<Page, Problem> {
    let (mut plugin, mut after, mut limit) = (None, None, None);
    for (name, value) in query::texts(query) {
        let again = match name.as_str() {
            "plugin" => plugin.replace(value.parse().map_err(|error| bad_query("plugin", &error))?).is_some(),
            "after" => after.replace(agent_id("after", &value)?).is_some(),
            "limit" => limit.replace(page(&value)?).is_some(),
            _ => {
                let name: String = name.chars().take(40).collect();
                return Err(bad_query(&name, &"it is none of `plugin`, `after` and `limit`"));
            }
        };
        if again {
            return Err(bad_query(&name, &"it is there twice; say it once"));
        }
    }
    Ok(Page { plugin, after, limit: limit.unwrap_or(COMMON) })
}

/// Where the next page is. Names have no character that a query would have to encode.
fn next(plugin: Option<&PluginName>, last: &AgentId, limit: usize) -> String {
    let plugin = plugin.map(|plugin| format!("plugin={plugin}&")).unwrap_or_default();
    format!("/admin/agents?{plugin}after={last}&limit={limit}")
}

fn fork_to(query: Option<&str>) -> Result<AgentId, Problem> {
    let mut pairs = query::texts(query);
    match (pairs.next(), pairs.next()) {
        (Some((name, to)), None) if name == "to" => agent_id("to", &to),
        _ => Err(bad_query("to", &"say once what the new agent is called, such as `?to=chat/bob`")),
    }
}

fn shown(state: &AgentState) -> Value {
    let mut shown = json!({
        "agent": state.agent.to_string(),
        "bytes": state.bytes,
        "live": state.activity.live,
        "running": state.activity.running,
        "queued": state.activity.queued,
        "served": state.served,
    });
    if let Some(last_used) = state.last_used {
        shown["last_used"] = rfc3339(last_used).into();
    }
    if let Some(runs) = state.runs {
        shown["runs"] = runs.into();
    }
    shown
}

fn document(document: &Value) -> Response<Body> {
    json_response(document).map(Either::Left)
}

/// What all answers have in common.
fn finished(mut response: Response<Body>, method: &Method) -> Response<Body> {
    if method == Method::HEAD {
        let length = response.body().size_hint().exact();
        *response.body_mut() = Either::Left(answer::whole(Bytes::new()));
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_one_place() {
        let agent = || AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() };
        let table = [
            ("/metrics", Ok(Route::Metrics)),
            ("/metrics/", Err("not-found")),
            ("/admin/metrics", Err("not-found")),
            ("/admin/agents", Ok(Route::Agents)),
            ("/admin/agents/chat/alice", Ok(Route::Agent(agent()))),
            ("/admin/agents/ch%61t/a%6Cice", Ok(Route::Agent(agent()))),
            ("/admin/agents/chat/alice/export", Ok(Route::Export(agent()))),
            ("/admin/agents/chat/alice/import", Ok(Route::Import(agent()))),
            ("/admin/agents/chat/alice/fork", Ok(Route::Fork(agent()))),
            ("/", Err("not-found")),
            ("/admin", Err("not-found")),
            ("/agents/chat/alice", Err("not-found")),
            ("/admin/agentsx", Err("not-found")),
            ("/admin/agents/", Err("not-found")),
            ("/admin/agents/chat", Err("not-found")),
            ("/admin/agents/chat/alice/", Err("not-found")),
            ("/admin/agents/chat/alice/more", Err("not-found")),
            ("/admin/agents/chat/alice/fork/more", Err("not-found")),
            ("/admin/agents/Chat/alice", Err("unknown-plugin")),
            ("/admin/agents/chat/..", Err("bad-agent-name")),
            ("/admin/agents/chat/%2e%2e%2fbob", Err("bad-agent-name")),
        ];
        for (path, expected) in table {
            let found = path.parse::<Route>().map_err(|problem| serde_json::to_value(problem).unwrap());
            let found = found.map_err(|document| document["code"].as_str().unwrap().to_owned());
            assert_eq!(found, expected.map_err(str::to_owned), "{path}");
        }
    }

    #[test]
    fn a_query_says_which_agents_and_the_next_page_is_asked_for_like_this_one() {
        let all = listed(None).unwrap();
        assert_eq!((all.plugin, all.after, all.limit), (None, None, COMMON));
        let last = AgentId { plugin: "chat".parse().unwrap(), name: "a~b".parse().unwrap() };
        for query in ["limit=2", "plugin=chat&after=chat/A&limit=500"] {
            let asked = listed(Some(query)).unwrap();
            let next = next(asked.plugin.as_ref(), &last, asked.limit);
            let again = listed(next.strip_prefix("/admin/agents?")).unwrap();
            assert_eq!((again.plugin, again.limit), (asked.plugin, asked.limit));
            assert_eq!(again.after.as_ref(), Some(&last));
        }
    }

    #[test]
    fn what_is_wrong_in_a_query_is_named() {
        for (query, name) in [
            ("plugin=Chat", "plugin"),
            ("after=chat", "after"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("page=2", "page"),
            ("limit=1&limit=2", "limit"),
        ] {
            let document = serde_json::to_value(listed(Some(query)).unwrap_err()).unwrap();
            let detail = document["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("`{name}` in the query: ")), "{query}: {detail}");
        }
        for query in [None, Some(""), Some("to=chat"), Some("to=chat/a&to=chat/b"), Some("from=chat/a")] {
            let document = serde_json::to_value(fork_to(query).unwrap_err()).unwrap();
            assert_eq!(document["code"], "bad-query", "{query:?}");
        }
    }
}
