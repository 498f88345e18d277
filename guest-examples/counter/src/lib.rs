//! One live instance per name: every agent counts its own runs, in nothing but its memory.

wit_bindgen::generate!({ path: "../../wit", world: "rookery:agent/plugin", generate_all });

use std::sync::atomic::{AtomicU64, Ordering};

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::identity;
use rookery::agent::types::Chunk;

static RUNS: AtomicU64 = AtomicU64::new(0);

struct Counter;

impl Guest for Counter {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let run = RUNS.fetch_add(1, Ordering::Relaxed) + 1;
        let me = identity::agent();
        let answer = match prompt.text.trim() {
            "" | "count" => run.to_string(),
            "who" => format!("{}/{}, run {run}", me.plugin, me.name),
            other => return Err(Failure::Rejected(format!("ask for `count` or `who`, not for {other:?}"))),
        };
        let _ = reply.write(&Chunk::Text(answer));
        Ok(())
    }
}

export!(Counter);
