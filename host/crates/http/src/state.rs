//! How a run stands, as the JSON document that clients see.
//!
//! What is not known yet is not there: no `started` before its turn, no `ended` and no `problem` before its outcome. And
//! `prompt_truncated` is there only where `prompt` is not all that was asked, as it may be in a list. Nor is what did not
//! happen: no `usage` where no model was asked, and in it no `money` where nothing was paid.

use bytes::Bytes;
use rookery_core::{Money, Origin, RunState, Spent, Standing, StateName, rfc3339};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::problem::Problem;

/// A run's state on its way to a client.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a>(pub(crate) &'a RunState);

/// A document in bytes.
pub(crate) fn bytes(document: &impl Serialize) -> Bytes {
    // These have no keys but texts and no value that JSON lacks.
    serde_json::to_vec(document).unwrap_or_default().into()
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(state) = self;
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("run", &state.run.to_string())?;
        document.serialize_entry("agent", &state.agent.to_string())?;
        document.serialize_entry("state", StateName::from(&state.standing).as_str())?;
        if let Standing::Queued(place) = state.standing {
            document.serialize_entry("place", &place)?;
        }
        document.serialize_entry("prompt", &state.prompt)?;
        if state.prompt_cut {
            document.serialize_entry("prompt_truncated", &true)?;
        }
        document.serialize_entry("origin", &origin(&state.origin))?;
        if let Some((_, generation)) = state.started {
            document.serialize_entry("generation", &generation.0)?;
        }
        document.serialize_entry("submitted", &rfc3339(state.submitted))?;
        if let Some((started, _)) = state.started {
            document.serialize_entry("started", &rfc3339(started))?;
        }
        if let Some(ended) = state.ended {
            document.serialize_entry("ended", &rfc3339(ended))?;
        }
        document.serialize_entry("events", &state.events)?;
        if !state.spent.is_nothing() {
            document.serialize_entry("usage", &Usage(&state.spent))?;
        }
        if let Standing::Ended(outcome) = &state.standing
            && let Some(problem) = Problem::of_outcome(outcome)
        {
            document.serialize_entry("problem", &problem.of(state.run))?;
        }
        document.end()
    }
}

/// What a run asked of models.
struct Usage<'a>(&'a Spent);

impl Serialize for Usage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(spent) = self;
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("requests", &spent.requests)?;
        document.serialize_entry("input_tokens", &spent.input_tokens)?;
        document.serialize_entry("output_tokens", &spent.output_tokens)?;
        if spent.money != Money::default() {
            document.serialize_entry("money", &spent.money)?;
        }
        document.end()
    }
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Client(address) => json!({ "client": address }),
        Origin::Agent(agent) => json!({ "agent": agent.to_string() }),
        Origin::Schedule(name) => json!({ "schedule": name }),
    }
}

/// Whether the run has ended and its client has seen that. One that has seen even more saw what a crash took, and has the
/// end before it.
pub(crate) fn is_over(state: &RunState, seen: u64) -> bool {
    matches!(state.standing, Standing::Ended(_)) && seen == state.events
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rookery_core::{AgentId, Code, Failure, Generation, Outcome, Stop};

    use super::*;

    fn state(standing: Standing) -> RunState {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_795_548_600 + seconds);
        let started = !matches!(standing, Standing::Queued(_));
        RunState {
            run: "018f3f5e-0000-7000-8000-000000000001".parse().unwrap(),
            agent: AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() },
            origin: Origin::Client(Some("127.0.0.1:9".into())),
            prompt: "hello".into(),
            prompt_cut: false,
            submitted: at(0),
            started: started.then_some((at(1), Generation(7))),
            ended: matches!(standing, Standing::Ended(_)).then_some(at(2)),
            standing,
            events: 3,
            spent: Spent::default(),
        }
    }

    #[test]
    fn every_standing_reads_like_this() {
        let all = [
            Standing::Queued(2),
            Standing::Running,
            Standing::Ended(Outcome::Done),
            Standing::Ended(Outcome::Failed(Failure::new(Code::Failed, "no"))),
            Standing::Ended(Outcome::Cancelled(Stop::Dropped)),
        ];
        let all: Vec<_> = all.map(|standing| serde_json::to_string(&Shown(&state(standing))).unwrap()).into();
        insta::assert_snapshot!(all.join("\n"), @r#"
        {"run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice","state":"queued","place":2,"prompt":"hello","origin":{"client":"127.0.0.1:9"},"submitted":"2026-11-24T19:30:00.000Z","events":3}
        {"run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice","state":"running","prompt":"hello","origin":{"client":"127.0.0.1:9"},"generation":7,"submitted":"2026-11-24T19:30:00.000Z","started":"2026-11-24T19:30:01.000Z","events":3}
        {"run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice","state":"done","prompt":"hello","origin":{"client":"127.0.0.1:9"},"generation":7,"submitted":"2026-11-24T19:30:00.000Z","started":"2026-11-24T19:30:01.000Z","ended":"2026-11-24T19:30:02.000Z","events":3}
        {"run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice","state":"failed","prompt":"hello","origin":{"client":"127.0.0.1:9"},"generation":7,"submitted":"2026-11-24T19:30:00.000Z","started":"2026-11-24T19:30:01.000Z","ended":"2026-11-24T19:30:02.000Z","events":3,"problem":{"title":"Internal Server Error","status":500,"code":"failed","detail":"no","run":"018f3f5e-0000-7000-8000-000000000001"}}
        {"run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice","state":"cancelled","prompt":"hello","origin":{"client":"127.0.0.1:9"},"generation":7,"submitted":"2026-11-24T19:30:00.000Z","started":"2026-11-24T19:30:01.000Z","ended":"2026-11-24T19:30:02.000Z","events":3,"problem":{"title":"Conflict","status":409,"code":"cancelled","detail":"the run was cancelled; the agent did not stop by itself, so its instance was dropped","run":"018f3f5e-0000-7000-8000-000000000001","stop":"dropped"}}
        "#);
    }

    #[test]
    fn a_prompt_that_was_cut_does_not_look_whole() {
        let cut = RunState { prompt_cut: true, ..state(Standing::Running) };
        let document = serde_json::to_string(&Shown(&cut)).unwrap();
        assert!(document.contains(r#""prompt":"hello","prompt_truncated":true,"origin""#), "{document}");
    }

    #[test]
    fn what_a_run_asked_of_models_reads_like_this() {
        let spent = |[requests, input_tokens, output_tokens, micros]: [u64; 4]| {
            let spent = Spent { requests, input_tokens, output_tokens, money: Money(micros) };
            let state = RunState { spent, ..state(Standing::Ended(Outcome::Done)) };
            let document = serde_json::to_string(&Shown(&state)).unwrap();
            document[document.find(r#""events""#).unwrap()..].to_owned()
        };
        insta::assert_snapshot!([[2, 31, 12, 123], [1, 5, 0, 0], [0; 4]].map(spent).join("\n"), @r#"
        "events":3,"usage":{"requests":2,"input_tokens":31,"output_tokens":12,"money":"0.000123"}}
        "events":3,"usage":{"requests":1,"input_tokens":5,"output_tokens":0}}
        "events":3}
        "#);
    }

    #[test]
    fn every_origin_has_its_name() {
        let agent = AgentId { plugin: "chat".parse().unwrap(), name: "bob".parse().unwrap() };
        assert_eq!(origin(&Origin::Client(None)), json!({ "client": null }));
        assert_eq!(origin(&Origin::Agent(agent)), json!({ "agent": "chat/bob" }));
        assert_eq!(origin(&Origin::Schedule("nightly".into())), json!({ "schedule": "nightly" }));
    }
}
