//! Reads and writes what it keeps, as the prompt says: steps, separated by `; `, each done before the next.
//!
//! What the steps find is said at the end, so that nothing leaves the agent but where a step is `say`.

wit_bindgen::generate!({
    inline: "
        package test:keeper;
        world keeper {
            include rookery:agent/plugin@0.1.0;
            import wasi:clocks/monotonic-clock@0.3.0;
            export rookery:agent/lifecycle@0.1.0;
            export rookery:agent/alarm@0.1.0;
        }
    ",
    path: "../../../wit",
    generate_all,
});

use std::time::{Duration, Instant};

use exports::rookery::agent::alarm::{self, Ringing};
use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use exports::rookery::agent::lifecycle;
use rookery::agent::schedule::{self, Cron, Timing};
use rookery::agent::types::Chunk;
use rookery::agent::{sql, storage};
use wasi::clocks::monotonic_clock::wait_for;
use wasi::http::client;
use wasi::http::types::{Fields, Request, Scheme};

struct Keeper;

impl Guest for Keeper {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        follow(&prompt.text, &reply).await
    }
}

impl alarm::Guest for Keeper {
    /// Counts the attempts, and does what the payload says, in which `|` separates the steps.
    async fn ring(ringing: Ringing, reply: Reply) -> Result<(), Failure> {
        let Ringing { name, payload, attempt, .. } = ringing;
        storage::set(&format!("rang-{name}"), attempt.to_string().as_bytes()).expect("room for a number");
        follow(&payload.replace('|', "; "), &reply).await
    }
}

async fn follow(steps: &str, reply: &Reply) -> Result<(), Failure> {
    let mut found = Vec::new();
    for step in steps.split("; ") {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "say" => say(reply, rest),
            // Long enough that even a busy machine has to wait: what is over before it is looked at is no await.
            "await" => wait_for(20_000_000).await,
            "fetch" => fetch(rest).await,
            "trap" => panic!("as it was asked to"),
            "spin" => spin(rest),
            "fail" => return Err(Failure::Failed("as it was asked to".into())),
            _ => found.push(keep(verb, rest)),
        }
    }
    if !found.is_empty() {
        say(reply, &found.join("\n"));
    }
    Ok(())
}

impl lifecycle::Guest for Keeper {
    async fn wake() {
        count("woken");
    }

    async fn sleep() {
        count("slept");
    }
}

fn say(reply: &Reply, text: &str) {
    let _ = reply.write(&Chunk::Text(text.into()));
}

/// Counts in storage.
fn count(key: &str) {
    let before = storage::get(key).ok().flatten().and_then(|value| value.first().copied());
    storage::set(key, &[before.unwrap_or(0) + 1]).expect("room for a byte");
}

fn keep(verb: &str, rest: &str) -> String {
    let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "set" => format!("{:?}", storage::set(key, value.as_bytes())),
        "get" => shown(storage::get(key).map(|value| value.map(text))),
        "add" => add(key),
        "delete" => format!("{:?}", storage::delete(key)),
        "count" => format!("{:?}", storage::get(key).map(|value| value.map(|value| value[0]))),
        "list" => list(key),
        "fill" => fill(key, value.parse().unwrap_or(0)),
        "alarm" => set_alarm(key, value),
        "cancel" => format!("{:?}", schedule::cancel(key)),
        "alarms" => alarms(),
        "sql" => format!("{:?}", sql::execute(rest, &[])),
        "ask" => ask(rest),
        other => format!("nothing to keep of {other}"),
    }
}

/// Sets an alarm: after so many milliseconds, or `every` so many, or by a `cron` expression with `_` for spaces.
fn set_alarm(name: &str, rest: &str) -> String {
    let (when, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (timing, payload) = match when {
        "every" | "cron" => {
            let (what, payload) = rest.split_once(' ').unwrap_or((rest, ""));
            let timing = match when {
                "every" => Timing::Every(what.parse().unwrap_or(0)),
                _ => Timing::Cron(Cron {
                    expression: what.replace('_', " "),
                    time_zone: "Europe/Zurich".into(),
                }),
            };
            (timing, payload)
        }
        after => (Timing::After(after.parse().unwrap_or(0)), rest),
    };
    let (name, payload) = (name.to_owned(), payload.to_owned());
    let alarm = schedule::Alarm { name, timing, payload, missed: schedule::Missed::RingOnce };
    match schedule::set(&alarm) {
        Ok(_) => "set".into(),
        Err(error) => format!("{error:?}"),
    }
}

/// The alarms that are set, with their attempts and failures.
fn alarms() -> String {
    match schedule::list(None, 100) {
        Ok(pending) => {
            let shown = |pending: schedule::Pending| {
                let failure = pending.failure.map_or(String::new(), |failure| format!(" {failure}"));
                format!("{} {}{failure}", pending.alarm.name, pending.attempts)
            };
            pending.into_iter().map(shown).collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("{error:?}"),
    }
}

/// Adds one to a number, which is said.
fn add(key: &str) -> String {
    let before = storage::get(key).map(|value| value.and_then(|value| text(value).parse::<u64>().ok()));
    let after = before.map(|number| number.unwrap_or(0) + 1);
    match after.and_then(|number| storage::set(key, number.to_string().as_bytes()).map(|()| number)) {
        Ok(number) => number.to_string(),
        Err(error) => format!("{error:?}"),
    }
}

fn list(prefix: &str) -> String {
    let order = storage::Order::Ascending;
    let range = storage::Range { prefix: prefix.into(), after: None, order, limit: 1_000 };
    match storage::list(&range) {
        Ok(page) => page.entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>().join(" "),
        Err(error) => format!("{error:?}"),
    }
}

/// Sets keys of 100 kB until so many are there or there is no more room.
fn fill(prefix: &str, keys: usize) -> String {
    for key in 0..keys {
        if let Err(error) = storage::set(&format!("{prefix}{key}"), &vec![b'x'; 100_000]) {
            return format!("{error:?}");
        }
    }
    "filled".into()
}

fn ask(statement: &str) -> String {
    let rows = match sql::query(statement, &[]) {
        Ok(rows) => rows,
        Err(error) => return format!("{error:?}"),
    };
    let mut said = rows.columns().join(",");
    loop {
        let next = rows.next(2);
        if next.is_empty() {
            return said;
        }
        for row in next {
            said.push_str(&format!("|{row:?}"));
        }
    }
}

async fn fetch(url: &str) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, no_trailers, None);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    drop(client::send(request).await);
}

/// Computes for so many milliseconds, or for ever.
fn spin(long: &str) {
    let long = long.parse().map_or(Duration::MAX, Duration::from_millis);
    let began = Instant::now();
    while began.elapsed() < long {
        std::hint::black_box(0);
    }
}

fn shown(value: Result<Option<String>, storage::Error>) -> String {
    match value {
        Ok(value) => value.unwrap_or_else(|| "none".into()),
        Err(error) => format!("{error:?}"),
    }
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8_lossy(&value).into_owned()
}

export!(Keeper);
