//! Keeps things with wasi:keyvalue, as components from elsewhere do, and looks at them with the contract's `storage`.
//!
//! The prompt is steps, separated by `; `, each done before the next; `own` ones go through `storage`. What they find is
//! said at the end, so that nothing leaves the agent but where a step is `say`.

wit_bindgen::generate!({
    inline: "
        package test:keyvalue;
        world keyvalue {
            include rookery:agent/plugin@0.1.0;
            import wasi:keyvalue/store@0.2.0-draft;
        }
    ",
    path: "../../../wit",
    generate_all,
});

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::storage;
use rookery::agent::types::Chunk;
use wasi::keyvalue::store::{self, Bucket, Error};

struct KeyValue;

impl Guest for KeyValue {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let mut found = Vec::new();
        for step in prompt.text.split("; ") {
            let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
            match verb {
                "say" => say(&reply, rest),
                "trap" => panic!("as it was asked to"),
                "own" => found.push(own(rest)),
                _ => found.push(keep(verb, rest).unwrap_or_else(|error| format!("{error:?}"))),
            }
        }
        if !found.is_empty() {
            say(&reply, &found.join("\n"));
        }
        Ok(())
    }
}

fn say(reply: &Reply, text: &str) {
    let _ = reply.write(&Chunk::Text(text.into()));
}

fn keep(verb: &str, rest: &str) -> Result<String, Error> {
    let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
    let bucket = store::open(if verb == "open" { rest } else { "" })?;
    match verb {
        "open" => Ok("opened".into()),
        "set" => bucket.set(key, value.as_bytes()).map(|()| "set".into()),
        "get" => bucket.get(key).map(shown),
        "delete" => bucket.delete(key).map(|()| "deleted".into()),
        "exists" => bucket.exists(key).map(|there| there.to_string()),
        "keys" => Ok(bucket.list_keys(rest.parse().ok())?.keys.join(" ")),
        "pages" => pages(&bucket),
        "sweep" => sweep(&bucket),
        other => Ok(format!("nothing to keep of {other}")),
    }
}

fn own(step: &str) -> String {
    let words: Vec<_> = step.split(' ').collect();
    match words[..] {
        ["set", key, value] => format!("{:?}", storage::set(key, value.as_bytes())),
        ["get", key] => shown(storage::get(key).expect("storage that can be read")),
        ["fill", keys] => {
            for key in 0..keys.parse().unwrap_or(0) {
                storage::set(&format!("key-{key:06}"), b"").expect("room for a key");
            }
            "filled".into()
        }
        _ => format!("nothing to keep of {step}"),
    }
}

/// How many keys there are on each page, and whether all are there once. Every page is asked for from a bucket of its own.
fn pages(bucket: &Bucket) -> Result<String, Error> {
    let (mut keys, mut lengths) = (Vec::new(), Vec::new());
    let mut page = bucket.list_keys(None)?;
    loop {
        lengths.push(page.keys.len());
        keys.append(&mut page.keys);
        let Some(cursor) = page.cursor else { break };
        page = store::open("default")?.list_keys(Some(cursor))?;
    }
    let listed = keys.len();
    keys.sort();
    keys.dedup();
    Ok(format!("{lengths:?}, {} of them once", listed - 2 * (listed - keys.len())))
}

/// Deletes each page before it asks for the next.
fn sweep(bucket: &Bucket) -> Result<String, Error> {
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor)?;
        page.keys.iter().try_for_each(|key| bucket.delete(key))?;
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok("swept".into());
        }
    }
}

fn shown(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "none".into(), |value| String::from_utf8_lossy(&value).into_owned())
}

export!(KeyValue);
