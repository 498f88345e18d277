//! Which answer belongs to which request.
//!
//! Promise: a request is checked from the outside in: path, method, plugin, `Accept`, other headers, body.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use rookery_agents::Directory;
use rookery_core::{AgentId, AgentName, Code, NameError, PluginName, RunId};
use serde_json::{Value, json};

use crate::answer::{self, Body};
use crate::ask::Bodies;
use crate::cors;
use crate::problem::{Kind, Problem};
use crate::query;
use crate::server::{Answers, Settings};

/// Answers requests.
pub(crate) struct Face {
    pub(crate) directory: Directory,
    pub(crate) settings: Settings,
    pub(crate) bodies: Bodies,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Agent(AgentId),
    Plugin(PluginName),
    Plugins,
    Run(RunId),
    Runs,
    Healthy,
    Ready,
}

const ROUTES: &str = "there is nothing at this path; POST a prompt to `/agents/{plugin}/{name}`, or GET `/agents`, \
                      `/agents/{plugin}`, `/runs`, `/runs/{id}`, `/healthz` or `/readyz`";

impl Face {
    pub(crate) fn new(directory: Directory, settings: Settings) -> Self {
        Self { directory, settings, bodies: Bodies::new(settings) }
    }

    /// Answers one request; what goes wrong is an answer too.
    pub(crate) async fn answer<B>(&self, request: Request<B>, client: SocketAddr) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (request, mut body) = request.into_parts();
        if request.method == Method::OPTIONS {
            return finished(cors::options(&request.headers), &request.method);
        }
        let response = match self.route(&request, &mut body, client).await {
            Ok(response) => response,
            Err(problem) => {
                if problem.leaves_body() {
                    self.bodies.pass_over(&mut body).await;
                }
                problem.response()
            }
        };
        finished(response, &request.method)
    }

    async fn route<B>(
        &self,
        request: &Parts,
        body: &mut B,
        client: SocketAddr,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        match request.uri.path().parse()? {
            Route::Agent(agent) => self.agent(agent, request, body, client).await,
            Route::Run(run) => self.run(run, request).await,
            _ if !matches!(request.method, Method::GET | Method::HEAD) => {
                Err(method_not_allowed("GET, HEAD, OPTIONS"))
            }
            Route::Plugin(plugin) => Ok(json_response(&described((&plugin, self.version(&plugin)?)))),
            Route::Plugins => {
                let plugins: Vec<_> = self.directory.plugins().map(described).collect();
                Ok(json_response(&json!({ "plugins": plugins })))
            }
            Route::Runs => self.runs(request).await,
            Route::Ready if self.directory.draining() => {
                Err(Problem::new(Kind::Failure(Code::Draining), "the host is stopping and takes no new runs"))
            }
            Route::Healthy | Route::Ready => Ok(ok()),
        }
    }

    /// The version of a plugin, where it is served.
    pub(crate) fn version(&self, plugin: &PluginName) -> Result<&str, Problem> {
        self.directory.version(plugin).ok_or_else(|| {
            let hint = "`GET /agents` lists those that are";
            unknown_plugin(format!("no plugin `{plugin}` is served here; {hint}"))
        })
    }
}

impl Answers for Face {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>, client: SocketAddr) -> Response<Body> {
        Face::answer(self, request, client).await
    }
}

impl FromStr for Route {
    type Err = Problem;

    fn from_str(path: &str) -> Result<Self, Problem> {
        let mut segments = path.split('/').skip(1);
        let segments = [segments.next(), segments.next(), segments.next(), segments.next()];
        match segments {
            [Some("agents"), None, ..] => Ok(Route::Plugins),
            [Some("agents"), Some(plugin), None, _] => Ok(Route::Plugin(plugin_name(plugin)?)),
            [Some("agents"), Some(plugin), Some(name), None] => {
                Ok(Route::Agent(AgentId { plugin: plugin_name(plugin)?, name: agent_name(name)? }))
            }
            [Some("runs"), None, ..] => Ok(Route::Runs),
            [Some("runs"), Some(run), None, _] => Ok(Route::Run(run_id(run)?)),
            [Some("healthz"), None, ..] => Ok(Route::Healthy),
            [Some("readyz"), None, ..] => Ok(Route::Ready),
            _ => Err(not_found()),
        }
    }
}

fn described((name, version): (&PluginName, &str)) -> Value {
    json!({ "name": name.as_str(), "version": version })
}

pub(crate) fn plugin_name(segment: &str) -> Result<PluginName, Problem> {
    query::segment(segment).parse().map_err(|error: NameError| unknown_plugin(error.to_string()))
}

pub(crate) fn agent_name(segment: &str) -> Result<AgentName, Problem> {
    query::segment(segment)
        .parse()
        .map_err(|error: NameError| Problem::new(Kind::BadAgentName, error.to_string()))
}

fn run_id(segment: &str) -> Result<RunId, Problem> {
    query::segment(segment)
        .parse()
        .map_err(|error: NameError| Problem::new(Kind::UnknownRun, error.to_string()))
}

/// Tells an `EventSource` to stop asking.
pub(crate) fn gone_by() -> Response<Body> {
    let mut response = Response::new(answer::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn ok() -> Response<Body> {
    let mut response = Response::new(answer::whole("ok"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pub(crate) fn json_response(value: &Value) -> Response<Body> {
    let mut response = Response::new(answer::whole(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, ROUTES)
}

fn unknown_plugin(message: String) -> Problem {
    Problem::new(Kind::Failure(Code::UnknownPlugin), message)
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Problem {
    Problem::new(Kind::MethodNotAllowed { allow }, format!("this path takes {allow}"))
}

/// What all answers have in common.
fn finished(mut response: Response<Body>, method: &Method) -> Response<Body> {
    if method == Method::HEAD {
        let length = response.body().size_hint().exact().filter(|length| *length > 0);
        *response.body_mut() = answer::whole(Bytes::new());
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
    }
    let headers = response.headers_mut();
    cors::allow(headers);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    // What guests write is theirs; a browser shall not make a page of it.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "018f3f5e-0000-7000-8000-000000000001";

    #[test]
    fn a_path_leads_to_one_place() {
        let agent = |plugin: &str, name: &str| {
            Route::Agent(AgentId { plugin: plugin.parse().unwrap(), name: name.parse().unwrap() })
        };
        let table = [
            ("/agents/chat/alice", Ok(agent("chat", "alice"))),
            ("/agents/ch%61t/a%6Cice", Ok(agent("chat", "alice"))),
            ("/agents/chat", Ok(Route::Plugin("chat".parse().unwrap()))),
            ("/agents", Ok(Route::Plugins)),
            ("/runs", Ok(Route::Runs)),
            (&*format!("/runs/{RUN}"), Ok(Route::Run(RUN.parse().unwrap()))),
            ("/healthz", Ok(Route::Healthy)),
            ("/readyz", Ok(Route::Ready)),
            ("/", Err("not-found")),
            ("*", Err("not-found")),
            ("//agents", Err("not-found")),
            ("/healthz/", Err("not-found")),
            ("/agents/chat/alice/", Err("not-found")),
            ("/agents/chat/alice/more", Err("not-found")),
            ("/runs/", Err("unknown-run")),
            ("/runs/1", Err("unknown-run")),
            (&*format!("/runs/{RUN}/"), Err("not-found")),
            ("/agents/", Err("unknown-plugin")),
            ("/agents/Chat/alice", Err("unknown-plugin")),
            ("/agents/chat/", Err("bad-agent-name")),
            ("/agents/chat/..", Err("bad-agent-name")),
            ("/agents/chat/a%2fb", Err("bad-agent-name")),
            ("/agents/chat/a%256C", Err("bad-agent-name")),
            ("/agents/chat/%ff", Err("bad-agent-name")),
            ("/agents/chat/a+b", Err("bad-agent-name")),
        ];
        for (path, expected) in table {
            let found = path.parse::<Route>().map_err(|problem| serde_json::to_value(problem).unwrap());
            let found = found.map_err(|document| document["code"].as_str().unwrap().to_owned());
            assert_eq!(found, expected.map_err(str::to_owned), "{path}");
        }
    }
}
