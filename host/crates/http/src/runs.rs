//! Runs after they were accepted: follow one, ask how it stands, cancel it, list them.
//!
//! Promises: who follows gets every event after the last one it has seen, in order, and none twice, whether the run is
//! over or not; following, asking and listing change nothing; cancelling twice is no error.
//! Bounded by: [`MOST`] runs on a page, each with the beginning of its prompt only: some MiB at most.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use rookery_agents::archive::Query;
use rookery_agents::{Cancelling, Submitted};
use rookery_core::{AgentId, NameError, RunId, RunState, StateName};
use serde::Serialize;

use crate::accept::{self, Format};
use crate::answer::{self, Body};
use crate::last_event::{self, Ids};
use crate::problem::{Kind, Problem};
use crate::query;
use crate::routes::{Face, gone_by, method_not_allowed};
use crate::state::{self, Shown};

/// How many runs are on a page where the client does not say, and at most: a screenful, and what a program that reads
/// all of them takes at a time.
pub(crate) const COMMON: usize = 50;
pub(crate) const MOST: usize = 500;

impl Face {
    /// A request to one run.
    pub(crate) async fn run(&self, run: RunId, request: &Parts) -> Result<Response<Body>, Problem> {
        match request.method {
            Method::GET | Method::HEAD => {
                let after = last_event::after(run, &request.headers, request.uri.query())?;
                let state = self.directory.state(run).await?.ok_or_else(|| unknown_run(run))?;
                self.follow(&state, after, request, Ids::Number).await
            }
            Method::DELETE => self.cancel(run).await,
            _ => Err(method_not_allowed("GET, HEAD, DELETE, OPTIONS")),
        }
    }

    /// Follows a run from after this event, or says how it stands.
    pub(crate) async fn follow(
        &self,
        state: &RunState,
        after: u64,
        request: &Parts,
        ids: Ids,
    ) -> Result<Response<Body>, Problem> {
        let (format, run) = (accept::format(&request.headers)?, state.run);
        let standing = match format {
            Format::Document => Some(answer::head(format, answer::whole(state::bytes(&Shown(state))))),
            _ if state::is_over(state, after) => Some(gone_by()),
            _ if request.method == Method::HEAD => Some(answer::head(format, answer::whole(Bytes::new()))),
            Format::Stream | Format::Text => None,
        };
        if let Some(mut response) = standing {
            answer::name_run(response.headers_mut(), run);
            return Ok(response);
        }
        let events = self.directory.follow(run, after).await?.ok_or_else(|| unknown_run(run))?;
        answer::answer(format, Submitted { run, events }, ids, self.settings.keep_alive).await
    }

    /// That a run is under way, and how it stands.
    pub(crate) async fn under_way(&self, run: RunId) -> Result<Response<Body>, Problem> {
        let mut response = self.standing(run).await?;
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    async fn cancel(&self, run: RunId) -> Result<Response<Body>, Problem> {
        // Taken first: without an archive, a run that has ended is known only to who holds its log.
        let mut end = self.directory.follow(run, u64::MAX).await?.ok_or_else(|| unknown_run(run))?;
        match self.directory.cancel(run).await?.ok_or_else(|| unknown_run(run))? {
            Cancelling::Told => self.under_way(run).await,
            Cancelling::Over | Cancelling::NeverStarts => {
                // The outcome is decided, and shown as soon as it is kept. If it never will be, the state says so.
                let _ = end.ended().await;
                self.standing(run).await
            }
        }
    }

    /// How a run stands. Without an archive, one that has just ended is forgotten, and its name is all there is to say.
    async fn standing(&self, run: RunId) -> Result<Response<Body>, Problem> {
        let state = self.directory.state(run).await?;
        let document = match &state {
            Some(state) => state::bytes(&Shown(state)),
            None => state::bytes(&serde_json::json!({ "run": run.to_string() })),
        };
        let mut response = answer::head(Format::Document, answer::whole(document));
        answer::name_run(response.headers_mut(), run);
        Ok(response)
    }

    /// The runs that are kept, newest first, a page at a time.
    pub(crate) async fn runs(&self, request: &Parts) -> Result<Response<Body>, Problem> {
        let query = listed(request.uri.query())?;
        let runs = self.directory.runs(query.clone()).await?;
        let last = runs.last().filter(|_| runs.len() >= query.limit);
        let page =
            Page { runs: runs.iter().map(Shown).collect(), next: last.map(|last| next(&query, last.run)) };
        Ok(answer::head(Format::Document, answer::whole(state::bytes(&page))))
    }
}

#[derive(Serialize)]
struct Page<'a> {
    runs: Vec<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Where the next page is. Names, states and ids have no character that a query would have to encode.
fn next(query: &Query, last: RunId) -> String {
    let mut next = "/runs?".to_owned();
    if let Some(agent) = &query.agent {
        next += &format!("agent={agent}&");
    }
    if let Some(state) = query.state {
        next += &format!("state={}&", state.as_str());
    }
    next + &format!("before={last}&limit={}", query.limit)
}

/// Which runs a query asks for.
fn listed(query: Option<&str>) -> Result<Query, Problem> {
    let (mut agent, mut state, mut before, mut limit) = (None, None, None, None);
    for (name, value) in query::texts(query) {
        let again = match name.as_str() {
            "agent" => agent.replace(agent_id("agent", &value)?).is_some(),
            "state" => state.replace(state_name(&value)?).is_some(),
            "before" => before.replace(value.parse().map_err(|error| bad_query("before", &error))?).is_some(),
            "limit" => limit.replace(page(&value)?).is_some(),
            _ => {
                let name: String = name.chars().take(40).collect();
                return Err(bad_query(&name, &"it is none of `agent`, `state`, `before` and `limit`"));
            }
        };
        if again {
            return Err(bad_query(&name, &"it is there twice; say it once"));
        }
    }
    Ok(Query { agent, state, before, limit: limit.unwrap_or(COMMON) })
}

pub(crate) fn agent_id(name: &str, value: &str) -> Result<AgentId, Problem> {
    let bad = |error: NameError| bad_query(name, &error);
    let Some((plugin, own)) = value.split_once('/') else {
        return Err(bad_query(name, &"write the plugin and the name, such as `chat/alice`"));
    };
    Ok(AgentId { plugin: plugin.parse().map_err(bad)?, name: own.parse().map_err(bad)? })
}

fn state_name(value: &str) -> Result<StateName, Problem> {
    value.parse().map_err(|_| bad_query("state", &"write queued, running, done, failed or cancelled"))
}

pub(crate) fn page(value: &str) -> Result<usize, Problem> {
    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| bad_query("limit", &format!("write a number from 1 to {MOST}")))
}

pub(crate) fn bad_query(name: &str, why: &dyn std::fmt::Display) -> Problem {
    Problem::new(Kind::BadQuery, format!("`{name}` in the query: {why}"))
}

fn unknown_run(run: RunId) -> Problem {
    let hint = "it may have been removed, and `GET /runs` lists those that are kept";
    Problem::new(Kind::UnknownRun, format!("there is no run `{run}`; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "018f3f5e-0000-7000-8000-000000000001";

    fn error(query: &str) -> String {
        let document = serde_json::to_value(listed(Some(query)).unwrap_err()).unwrap();
        assert_eq!(document["code"], "bad-query", "{query}");
        document["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_query_says_which_runs() {
        let all = listed(None).unwrap();
        assert_eq!((all.agent, all.state, all.before, all.limit), (None, None, None, COMMON));
        let some = listed(Some(&format!("limit=500&state=running&agent=chat%2Falice&before={RUN}"))).unwrap();
        assert_eq!(some.agent.unwrap().to_string(), "chat/alice");
        assert_eq!((some.state, some.limit), (Some(StateName::Running), 500));
        assert_eq!(some.before, Some(RUN.parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_in_a_query_is_named() {
        let table = [
            ("agent=", "agent"),
            ("agent=chat", "agent"),
            ("agent=chat/", "agent"),
            ("agent=Chat/alice", "agent"),
            ("agent=chat/alice/more", "agent"),
            ("state=", "state"),
            ("state=Running", "state"),
            ("before=1", "before"),
            ("limit=", "limit"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=-1", "limit"),
            ("page=2", "page"),
            ("limit", "limit"),
            ("limit=1&limit=2", "limit"),
        ];
        for (query, name) in table {
            assert!(error(query).starts_with(&format!("`{name}` in the query: ")), "{query}");
        }
    }

    #[test]
    fn the_next_page_is_asked_for_like_this_one() {
        let last = RUN.parse().unwrap();
        for query in ["limit=2", "agent=chat/a~b&limit=2", "agent=chat/a&state=done&limit=50"] {
            let asked = listed(Some(query)).unwrap();
            let next = next(&asked, last);
            let again = listed(next.strip_prefix("/runs?")).unwrap();
            assert_eq!((again.agent, again.state, again.limit), (asked.agent, asked.state, asked.limit));
            assert_eq!(again.before, Some(last));
        }
    }
}
