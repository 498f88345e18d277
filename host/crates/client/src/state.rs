//! What is known of runs, one by one or listed.

use std::str::FromStr;

use rookery_core::{AgentId, RunId, Spent, StateName, StateNameError};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::error::{ClientError, Problem};

/// Where a run stands.
#[derive(Clone, Debug)]
pub struct State {
    /// Which run.
    pub run: RunId,
    /// Whose run: `chat/alice`.
    pub agent: String,
    /// How far it is.
    pub standing: StateName,
    /// How many runs of its agent are before it, where it is queued.
    pub place: Option<u64>,
    /// What was asked, or its beginning.
    pub prompt: String,
    /// Whether the prompt goes on after that, as that of a run in a list may.
    pub prompt_truncated: bool,
    /// Who asked: `client 127.0.0.1:50312`, `agent chat/bob` or `schedule nightly`.
    pub origin: Option<String>,
    /// When it was accepted, as the host wrote it.
    pub submitted: String,
    /// When its turn came.
    pub started: Option<String>,
    /// When it had its outcome.
    pub ended: Option<String>,
    /// How many events it has.
    pub events: u64,
    /// What it asked of models, until now or in all; all zero where it asked none.
    pub spent: Spent,
    /// Why it failed.
    pub problem: Option<Problem>,
    document: Value,
}

/// Which runs to list: all, or those that fit.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Of this agent only.
    pub agent: Option<AgentId>,
    /// So far only.
    pub standing: Option<StateName>,
    /// How many a page should have; the host may give fewer.
    pub page: Option<usize>,
}

/// Lists of runs, newest first, as the host gives them out.
pub struct Pages {
    client: Client,
    next: Option<String>,
}

impl State {
    pub(crate) fn read(document: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Known {
            run: String,
            agent: String,
            state: String,
            #[serde(default)]
            place: Option<u64>,
            #[serde(default)]
            prompt: String,
            #[serde(default)]
            prompt_truncated: bool,
            #[serde(default)]
            origin: Map<String, Value>,
            submitted: String,
            #[serde(default)]
            started: Option<String>,
            #[serde(default)]
            ended: Option<String>,
            #[serde(default)]
            events: u64,
            #[serde(default)]
            usage: Spent,
            #[serde(default)]
            problem: Option<Problem>,
        }
        let known = Known::deserialize(&document).map_err(|error| error.to_string())?;
        Ok(Self {
            run: known.run.parse().map_err(|error: rookery_core::NameError| error.to_string())?,
            agent: known.agent,
            standing: known.state.parse().map_err(|error: StateNameError| error.to_string())?,
            place: known.place,
            prompt: known.prompt,
            prompt_truncated: known.prompt_truncated,
            origin: known.origin.iter().next().map(|(kind, name)| match name.as_str() {
                Some(name) => format!("{kind} {name}"),
                None => kind.clone(),
            }),
            submitted: known.submitted,
            started: known.started,
            ended: known.ended,
            events: known.events,
            spent: known.usage,
            problem: known.problem,
            document,
        })
    }

    /// All that the host said of it, as one line of JSON.
    pub fn json(&self) -> String {
        self.document.to_string()
    }
}

impl FromStr for State {
    type Err = String;

    /// Reads the document that a host gives.
    fn from_str(json: &str) -> Result<Self, String> {
        Self::read(serde_json::from_str(json).map_err(|error| error.to_string())?)
    }
}

impl Query {
    /// Every character of these needs no encoding in a query.
    fn path(&self) -> String {
        let pairs = [
            self.agent.as_ref().map(|agent| format!("agent={agent}")),
            self.standing.map(|standing| format!("state={standing}")),
            self.page.map(|page| format!("limit={page}")),
        ];
        let query: Vec<_> = pairs.into_iter().flatten().collect();
        if query.is_empty() { "/runs".into() } else { format!("/runs?{}", query.join("&")) }
    }
}

impl Pages {
    pub(crate) fn new(client: Client, query: &Query) -> Self {
        Self { client, next: Some(query.path()) }
    }

    /// The next page; None after the last one.
    pub async fn next(&mut self) -> Option<Result<Vec<State>, ClientError>> {
        let path = self.next.take()?;
        match self.client.page(&path).await {
            Ok(page) => page.turn(&mut self.next).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rookery_core::Money;

    use super::*;

    #[test]
    fn a_query_asks_for_what_is_set() {
        assert_eq!(Query::default().path(), "/runs");
        let agent = AgentId { plugin: "chat".parse().unwrap(), name: "a~b".parse().unwrap() };
        let query = Query { agent: Some(agent), standing: Some(StateName::Done), page: Some(20) };
        assert_eq!(query.path(), "/runs?agent=chat/a~b&state=done&limit=20");
    }

    #[test]
    fn a_prompt_is_whole_unless_the_host_says_that_it_is_not() {
        let state = |more: &str| {
            let known =
                r#""run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice","state":"running""#;
            format!(r#"{{{known},"submitted":"2026-11-24T10:00:00Z","prompt":"hello"{more}}}"#)
                .parse::<State>()
                .unwrap()
        };
        assert!(!state("").prompt_truncated);
        assert!(state(r#","prompt_truncated":true"#).prompt_truncated);
    }

    #[test]
    fn what_it_spent_is_what_the_host_says_and_nothing_where_it_says_nothing() {
        let state = |more: &str| {
            let known = r#""run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice","state":"done""#;
            format!(r#"{{{known},"submitted":"2026-11-24T10:00:00Z"{more}}}"#).parse::<State>()
        };
        assert_eq!(state("").unwrap().spent, Spent::default());
        let free = state(r#","usage":{"requests":1,"input_tokens":5,"output_tokens":0,"new":1}"#).unwrap();
        assert_eq!(free.spent, Spent { requests: 1, input_tokens: 5, ..Spent::default() });
        let paid =
            state(r#","usage":{"requests":2,"input_tokens":31,"output_tokens":12,"money":"0.000123"}"#);
        let paid = paid.unwrap();
        let spent = Spent { requests: 2, input_tokens: 31, output_tokens: 12, money: Money(123) };
        assert_eq!(paid.spent, spent);
        assert!(paid.json().contains(r#""money":"0.000123""#), "{}", paid.json());
        assert!(state(r#","usage":{"money":"much"}"#).is_err());
    }
}
