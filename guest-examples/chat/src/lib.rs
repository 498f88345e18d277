//! A conversation with a model: its words are passed on as they come, and each agent remembers what was said.

wit_bindgen::generate!({ path: "../../wit", world: "rookery:agent/plugin", generate_all });

mod model;

use std::cell::RefCell;

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::types::Chunk;
use serde_json::{Value, json};

/// What is sent along at most; older messages are forgotten.
const REMEMBERED: usize = 40;

thread_local! {
    static CONVERSATION: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

struct Chat;

impl Guest for Chat {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let mut messages = CONVERSATION.with_borrow(Clone::clone);
        messages.push(json!({ "role": "user", "content": prompt.text }));

        let mut words = model::stream(&messages).await?;
        let mut answer = String::new();
        while let Some(word) = words.next().await? {
            answer.push_str(&word);
            if reply.write(&Chunk::Text(word)).is_err() {
                return Ok(());
            }
        }

        // Only what was answered becomes part of the conversation.
        messages.push(json!({ "role": "assistant", "content": answer }));
        let forgotten = messages.len().saturating_sub(REMEMBERED);
        CONVERSATION.set(messages.split_off(forgotten));
        Ok(())
    }
}

export!(Chat);
