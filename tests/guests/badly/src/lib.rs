//! Does what a hostile or broken plugin would do; the first word of the prompt says what, the second how much.

wit_bindgen::generate!({
    inline: "
        package test:badly;
        world badly {
            include rookery:agent/plugin@0.1.0;
            import wasi:clocks/monotonic-clock@0.3.0;
        }
    ",
    path: "../../../wit",
    generate_all,
});

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::output::Refusal;
use rookery::agent::types::{Chunk, NamedData};
use wasi::clocks::monotonic_clock::wait_for;

static RUNS: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

struct Badly;

impl Guest for Badly {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let run = RUNS.fetch_add(1, Ordering::Relaxed) + 1;
        let (deed, rest) = prompt.text.split_once(' ').unwrap_or((&prompt.text, ""));
        let amount: usize = rest.parse().unwrap_or(0);
        match deed {
            // Which run of this instance it is: tells whether the instance is still the same.
            "count" => say(&reply, &run.to_string()),
            "spin" => spin(),
            "compute" => compute(Duration::from_millis(amount as u64)),
            "grow" => grow(),
            "trap" => panic!("trapped at once"),
            "trap-midway" => {
                say(&reply, "half an answer");
                panic!("trapped midway");
            }
            "flood" => flood(&reply, amount),
            "never" => wait_for(u64::MAX).await,
            "block" => std::thread::sleep(Duration::from_secs(3600)),
            "nap" => std::thread::sleep(Duration::from_millis(amount as u64)),
            "drip" => drip(&reply, amount).await,
            "huge" => return huge(&reply, amount),
            "ignore-refusals" => ignore_refusals(&reply, amount),
            "forge" => forge(&reply),
            "fail" => return Err(Failure::Failed("as it was asked to".into())),
            "reject" => return Err(Failure::Rejected("not like this".into())),
            "away" => return Err(Failure::Unavailable("not now".into())),
            "leave-a-trap" => leave_a_trap(),
            "leave-work" => {
                say(&reply, "left");
                leave_work(amount as u64);
            }
            "work-done" => {
                while !DONE.load(Ordering::Relaxed) {
                    wait_for(1_000_000).await;
                }
                say(&reply, "true");
            }
            "recurse" => say(&reply, &recurse(u64::MAX).to_string()),
            "leak" => std::mem::forget(reply),
            other => return Err(Failure::Rejected(format!("no such deed: {other}"))),
        }
        Ok(())
    }
}

fn say(reply: &Reply, text: &str) {
    let _ = reply.write(&Chunk::Text(text.into()));
}

fn spin() {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn compute(long: Duration) {
    let began = Instant::now();
    while began.elapsed() < long {
        std::hint::black_box(0);
    }
}

fn grow() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

fn flood(reply: &Reply, chunks: usize) {
    for n in 0..chunks {
        if reply.write(&Chunk::Text(format!("{n}\n"))).is_err() {
            return;
        }
    }
}

/// Writes a chunk each millisecond, until nobody wants more.
async fn drip(reply: &Reply, chunks: usize) {
    for n in 0..chunks {
        if reply.write(&Chunk::Text(format!("{n} "))).is_err() {
            return;
        }
        wait_for(1_000_000).await;
    }
}

fn huge(reply: &Reply, bytes: usize) -> Result<(), Failure> {
    match reply.write(&Chunk::Text("x".repeat(bytes))) {
        Ok(()) => Ok(()),
        Err(Refusal::TooLarge) => Err(Failure::Failed("it was too large".into())),
        Err(refusal) => Err(Failure::Failed(format!("{refusal:?}"))),
    }
}

fn ignore_refusals(reply: &Reply, bytes: usize) {
    for _ in 0..bytes / 1024 {
        say(reply, &"x".repeat(1024));
    }
}

fn forge(reply: &Reply) {
    let forged =
        ["done", "error", "a\nid: 99", ""].map(|name| NamedData { name: name.into(), json: "{}".into() });
    let broken = NamedData { name: "broken".into(), json: "{}\n\nevent: done".into() };
    for data in forged.into_iter().chain([broken]) {
        if !matches!(reply.write(&Chunk::Data(data.clone())), Err(Refusal::Invalid)) {
            say(reply, &format!("{data:?} was taken"));
        }
    }
    say(reply, "event: done\rdata: {}\r\r\n\nid: 7\n\n");
}

fn leave_a_trap() {
    wit_bindgen::spawn_local(async {
        wit_bindgen::yield_async().await;
        panic!("trapped after the run");
    });
}

/// Leaves work over that takes so many milliseconds.
fn leave_work(long: u64) {
    wit_bindgen::spawn_local(async move {
        wait_for(long * 1_000_000).await;
        DONE.store(true, Ordering::Relaxed);
    });
}

fn recurse(depth: u64) -> u64 {
    if depth == 0 { 0 } else { std::hint::black_box(recurse(depth - 1)) + 1 }
}

export!(Badly);
