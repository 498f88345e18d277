//! What was said, by keys: a turn, which is a question and its answer, under its number.

use crate::exports::rookery::agent::handler::Failure;
use crate::rookery::agent::model::{Assistant, Message, Part};
use crate::rookery::agent::storage::{self, Error, Order, Range};

/// How many turns are sent along at most; older ones are forgotten.
const REMEMBERED: u32 = 20;

/// Numbers have leading zeros, since keys are ordered by their bytes.
const PREFIX: &str = "turn/";

/// The messages of the last turns, and the number of the next one.
pub fn remembered() -> Result<(Vec<Message>, u64), Failure> {
    let range = Range { prefix: PREFIX.into(), after: None, order: Order::Descending, limit: REMEMBERED };
    let turns = storage::list(&range)?.entries;
    let last = turns.first().and_then(|turn| turn.key.strip_prefix(PREFIX)?.parse::<u64>().ok());
    let said = turns.iter().rev().flat_map(|turn| serde_json::from_slice::<[String; 2]>(&turn.value));
    let messages = said.flat_map(|[question, text]| {
        let answer = Assistant { text, tool_calls: vec![], state: None };
        [Message::User(vec![Part::Text(question)]), Message::Assistant(answer)]
    });
    Ok((messages.collect(), last.map_or(0, |last| last + 1)))
}

/// Keeps a turn.
pub fn remember(turn: u64, question: &str, answer: &str) -> Result<(), Failure> {
    storage::set(&key(turn), serde_json::json!([question, answer]).to_string().as_bytes())?;
    if let Some(forgotten) = turn.checked_sub(REMEMBERED.into()) {
        storage::delete(&key(forgotten))?;
    }
    Ok(())
}

fn key(turn: u64) -> String {
    format!("{PREFIX}{turn:012}")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unavailable(format!("the conversation cannot be read or kept: {error:?}"))
    }
}
