//! The smallest agent: it answers with what it was asked, word by word.

wit_bindgen::generate!({ path: "../../wit", world: "rookery:agent/plugin", generate_all });

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::types::Chunk;

struct Echo;

impl Guest for Echo {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        for word in prompt.text.split_inclusive(' ') {
            // A refusal says that nobody wants the rest: the run was cancelled, or is too large.
            if reply.write(&Chunk::Text(word.into())).is_err() {
                break;
            }
        }
        Ok(())
    }
}

export!(Echo);
