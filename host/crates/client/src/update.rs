//! What happens while a run is followed.

use serde::de::IgnoredAny;

use crate::error::{Broken, ClientError, Problem};

/// What happened next. All but [`Update::Reconnecting`] are events of the run, each of which comes once.
#[derive(Debug)]
pub enum Update {
    /// A piece of the answer.
    Text(String),
    /// Another event that the guest wrote.
    Named {
        /// `reasoning`, `tool-call`, `tool-result`, `usage`, or a name that the plugin chose.
        name: String,
        /// One JSON value, on one line.
        json: String,
    },
    /// The run is done. The last event.
    Done {
        /// One JSON value, on one line.
        json: String,
    },
    /// The run failed or was cancelled. The last event.
    Failed {
        /// Why.
        problem: Problem,
        /// The whole problem document, on one line.
        json: String,
    },
    /// The link broke, and is being taken up again.
    Reconnecting {
        /// 1, 2, 3 … since something new came.
        attempt: u32,
        /// What went wrong.
        error: ClientError,
    },
}

impl Update {
    /// What an event of the stream says.
    pub(crate) fn read(name: String, data: String) -> Result<Self, Broken> {
        if name == "message" {
            return Ok(Self::Text(data));
        }
        let json = one_line(data)?;
        Ok(match name.as_str() {
            "done" => Self::Done { json },
            "error" => {
                let problem = serde_json::from_str(&json);
                let problem = problem.map_err(|_| Broken::Garbled("an error that is no problem document"))?;
                Self::Failed { problem, json }
            }
            _ => Self::Named { name, json },
        })
    }

    /// Whether the run has ended with this.
    pub(crate) fn is_outcome(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }

    /// The update as one line of JSON, as the event of this number; None where it is no event.
    pub fn json(&self, id: u64) -> Option<String> {
        let (name, data) = match self {
            Self::Text(text) => ("text", &serde_json::Value::from(text.as_str()).to_string()),
            Self::Named { name, json } => (name.as_str(), json),
            Self::Done { json } => ("done", json),
            Self::Failed { json, .. } => ("error", json),
            Self::Reconnecting { .. } => return None,
        };
        let name = serde_json::Value::from(name);
        Some(format!("{{\"id\":{id},\"event\":{name},\"data\":{data}}}"))
    }
}

/// A JSON value as it was written, on one line: line breaks can only be between its parts.
fn one_line(json: String) -> Result<String, Broken> {
    let valid = serde_json::from_str::<IgnoredAny>(&json);
    valid.map_err(|_| Broken::Garbled("an event whose data is not JSON"))?;
    Ok(if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, data: &str) -> String {
        Update::read(name.into(), data.into()).unwrap().json(7).unwrap()
    }

    #[test]
    fn every_event_is_one_line_of_json_with_numbers_left_as_they_were() {
        assert_eq!(line("message", "a\n\"b\""), r#"{"id":7,"event":"text","data":"a\n\"b\""}"#);
        assert_eq!(line("x", "{\"n\":\n1e999}"), r#"{"id":7,"event":"x","data":{"n": 1e999}}"#);
        assert_eq!(line("done", "{}"), r#"{"id":7,"event":"done","data":{}}"#);
        let failed = line("error", r#"{"status":500,"code":"failed","run":"r"}"#);
        assert_eq!(failed, r#"{"id":7,"event":"error","data":{"status":500,"code":"failed","run":"r"}}"#);
    }

    #[test]
    fn data_that_is_not_as_promised_is_no_event() {
        for (name, data) in [("done", ""), ("x", "{"), ("error", "{}"), ("error", "1")] {
            assert!(
                matches!(Update::read(name.into(), data.into()), Err(Broken::Garbled(_))),
                "{name} {data}"
            );
        }
    }
}
