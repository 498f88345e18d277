//! Tells what a run saw of the others in its instance.

wit_bindgen::generate!({
    inline: "
        package test:witness;
        world witness {
            include rookery:agent/plugin@0.1.0;
            import wasi:clocks/monotonic-clock@0.3.0;
        }
    ",
    path: "../../../wit",
    generate_all,
});

use std::sync::atomic::{AtomicU64, Ordering};

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::types::{Chunk, NamedData};
use wasi::clocks::monotonic_clock::wait_for;

/// Runs that this instance has begun, those that are inside, and the most that were.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static INSIDE: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

const MOMENT: u64 = 1_000_000;

struct Witness;

impl Guest for Witness {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        let _inside = Inside::enter();
        let (what, rest) = prompt.text.split_once(' ').unwrap_or((&prompt.text, ""));
        match what {
            "look" => {}
            "join" => join(rest.parse().unwrap_or(0)).await,
            "hold" => {
                look(begun, &reply);
                return hold(&reply).await;
            }
            "stay" => {
                look(begun, &reply);
                wait_for(u64::MAX).await;
            }
            other => return Err(Failure::Rejected(format!("nothing to see of {other}"))),
        }
        look(begun, &reply);
        Ok(())
    }
}

struct Inside;

impl Inside {
    fn enter() -> Self {
        let inside = INSIDE.fetch_add(1, Ordering::Relaxed) + 1;
        MOST.fetch_max(inside, Ordering::Relaxed);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::Relaxed);
    }
}

fn look(begun: u64, reply: &Reply) {
    let (inside, most) = (INSIDE.load(Ordering::Relaxed), MOST.load(Ordering::Relaxed));
    let _ = reply.write(&Chunk::Text(format!("run {begun}, {inside} inside, {most} at most")));
}

/// Waits until so many are inside.
async fn join(runs: u64) {
    while MOST.load(Ordering::Relaxed) < runs {
        wait_for(MOMENT).await;
    }
}

/// Stays until the run is over for its client.
async fn hold(reply: &Reply) -> Result<(), Failure> {
    let tick = Chunk::Data(NamedData { name: "tick".into(), json: "1".into() });
    while reply.write(&tick).is_ok() {
        wait_for(MOMENT).await;
    }
    Ok(())
}

export!(Witness);
