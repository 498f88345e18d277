//! Keys: every note is kept under its number, and the list is read page by page in the order of the keys.

wit_bindgen::generate!({ path: "../../wit", world: "rookery:agent/plugin", generate_all });

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::storage::{self, Error, Order, Range};
use rookery::agent::types::Chunk;

const PREFIX: &str = "note/";

struct Notes;

impl Guest for Notes {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let text = prompt.text.trim();
        let done = match text.split_once(' ').unwrap_or((text, "")) {
            ("add", note) => add(note, &reply),
            ("list", "") => list(&reply),
            ("delete", number) => delete(number, &reply),
            _ => return Err(Failure::Rejected("say `add <note>`, `list` or `delete <number>`".into())),
        };
        done.map_err(|error| match error {
            Error::Full => Failure::Rejected("there is no more room; delete some notes".into()),
            Error::OutOfBounds(bound) => Failure::Rejected(bound),
            Error::Unavailable(why) => Failure::Unavailable(why),
        })
    }
}

fn add(note: &str, reply: &Reply) -> Result<(), Error> {
    let last = Range { prefix: PREFIX.into(), after: None, order: Order::Descending, limit: 1 };
    let number = storage::list(&last)?.entries.first().map_or(0, |last| number(&last.key)) + 1;
    storage::set(&key(number), note.as_bytes())?;
    // What this claims is committed before it leaves the agent.
    let _ = reply.write(&Chunk::Text(format!("{number}. {note}")));
    Ok(())
}

fn list(reply: &Reply) -> Result<(), Error> {
    let mut range = Range { prefix: PREFIX.into(), after: None, order: Order::Ascending, limit: 100 };
    loop {
        let page = storage::list(&range)?;
        for note in &page.entries {
            let line = format!("{}. {}\n", number(&note.key), String::from_utf8_lossy(&note.value));
            if reply.write(&Chunk::Text(line)).is_err() {
                return Ok(());
            }
        }
        if !page.more {
            return Ok(());
        }
        range.after = page.entries.into_iter().next_back().map(|note| note.key);
    }
}

fn delete(number: &str, reply: &Reply) -> Result<(), Error> {
    let there = number.parse().map_or(Ok(false), |number| storage::delete(&key(number)))?;
    let said = if there { format!("{number} is deleted") } else { format!("there is no {number}") };
    let _ = reply.write(&Chunk::Text(said));
    Ok(())
}

/// With leading zeros: keys are ordered by their bytes, so that `10` would come before `9`.
fn key(number: u64) -> String {
    format!("{PREFIX}{number:010}")
}

fn number(key: &str) -> u64 {
    key.strip_prefix(PREFIX).and_then(|number| number.parse().ok()).unwrap_or(0)
}

export!(Notes);
