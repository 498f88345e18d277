//! A conversation with a model that is spoken to by hand, over wasi:http: what a component does that brings its own client.

wit_bindgen::generate!({ path: "../../../wit", world: "rookery:agent/plugin", generate_all });

mod model;

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::storage::{self, Error, Order, Range};
use rookery::agent::types::Chunk;
use serde_json::{Value, json};

/// How many turns, a question and its answer each, are sent along at most; older ones are forgotten.
const REMEMBERED: u32 = 20;

/// A turn is kept under its number, with leading zeros, since keys are ordered by their bytes.
const PREFIX: &str = "turn/";

struct ByHand;

impl Guest for ByHand {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let (mut messages, turn) = remembered().map_err(|error| failure("read", error))?;
        let question = json!({ "role": "user", "content": prompt.text });
        messages.push(question.clone());

        let mut words = model::stream(&messages).await?;
        let mut answer = String::new();
        while let Some(word) = words.next().await? {
            answer.push_str(&word);
            if reply.write(&Chunk::Text(word)).is_err() {
                return Ok(());
            }
        }

        // Only what was answered becomes part of the conversation.
        let answer = json!({ "role": "assistant", "content": answer });
        remember(turn, &[question, answer]).map_err(|error| failure("kept", error))
    }
}

/// The messages of the last turns, and the number of the next one.
fn remembered() -> Result<(Vec<Value>, u64), Error> {
    let range = Range { prefix: PREFIX.into(), after: None, order: Order::Descending, limit: REMEMBERED };
    let turns = storage::list(&range)?.entries;
    let last = turns.first().and_then(|turn| turn.key.strip_prefix(PREFIX)?.parse::<u64>().ok());
    let messages = turns.iter().rev().flat_map(|turn| serde_json::from_slice::<[Value; 2]>(&turn.value));
    Ok((messages.flatten().collect(), last.map_or(0, |last| last + 1)))
}

fn remember(turn: u64, messages: &[Value; 2]) -> Result<(), Error> {
    storage::set(&key(turn), json!(messages).to_string().as_bytes())?;
    if let Some(forgotten) = turn.checked_sub(REMEMBERED.into()) {
        storage::delete(&key(forgotten))?;
    }
    Ok(())
}

fn key(turn: u64) -> String {
    format!("{PREFIX}{turn:012}")
}

fn failure(what: &str, error: Error) -> Failure {
    Failure::Unavailable(format!("the conversation cannot be {what}: {error:?}"))
}

export!(ByHand);
