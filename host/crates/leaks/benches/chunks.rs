//! What the guard costs a chunk: beside a chunk that passes by, with no secret and with a few.
//!
//! `cargo bench -p rookery-leaks`. *Warm* is one stream whose guard stays in the processor's cache; *cold* takes each chunk
//! through another of so many guards that none does, as on a host of many plugins. *Hot* is a text of which every chunk looks
//! like a value and must be searched.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a bench is for who reads it")]

use std::hint::black_box;
use std::time::Duration;

use rookery_leaks::{Guard, Mask};
use tokio::time::Instant;

const CHUNKS: usize = 4_096;
const ROUNDS: usize = 40;
/// Each has a table of 512 bytes and more: together more than a core's caches hold once there are ten secrets.
const GUARDS: usize = 512;

const PROSE: &str = "The quick answer is that a relay passes on what the model says, word by word, and that most of \
    it is prose: sentences about tasks, keys of a map, a little code such as `let skip = tokens.len() - 1;` and JSON \
    like {\"status\": 200, \"token\": \"none\"}. Bearers of news wear many hats; \u{fc}ber alles wird geredet. ";

fn main() {
    println!(
        "{:>11} {:>8} {}",
        "ns a chunk",
        "secrets",
        ["by", "warm", "cold", "hot"].map(|h| format!("{h:>8}")).join("")
    );
    for length in [5, 40, 400] {
        for count in [0, 1, 10, 100] {
            let prose = chunks(PROSE, length);
            let by = timed(&prose, &mut [()], |(), chunk| chunk);
            let through = |mask: &mut Mask, chunk| mask.push(chunk).text;
            let guards: Vec<_> = (0..GUARDS).map(|_| guard(count)).collect();
            let mut masks: Vec<_> = guards.iter().map(Guard::stream).collect();
            let warm = timed(&prose, &mut masks[..1], through);
            let cold = timed(&prose, &mut masks, through);
            let hot = timed(&chunks("Bearer sk-pro ", length), &mut masks[..1], through);
            println!("{length:>5} bytes {count:8} {by:8.1}{warm:8.1}{cold:8.1}{hot:8.1}");
        }
    }
}

/// Half of the values begin as many keys do, the others each in its own way.
fn guard(count: usize) -> Guard {
    let value = |n: usize| {
        let digits = (n as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        if n.is_multiple_of(2) { format!("Bearer sk-proj-{digits:032x}") } else { format!("{digits:032x}") }
    };
    Guard::new(&(0..count).map(|n| (format!("KEY_{n}"), value(n))).collect()).expect("a guard")
}

fn chunks(text: &str, length: usize) -> Vec<String> {
    let mut letters = text.chars().cycle();
    let mut chunk = || {
        let mut chunk = String::new();
        while chunk.len() < length {
            chunk.extend(letters.next());
        }
        chunk
    };
    (0..CHUNKS).map(|_| chunk()).collect()
}

/// The median over the rounds, for one chunk. Making the chunks is not counted, letting go of them is.
fn timed<T>(chunks: &[String], masks: &mut [T], mut push: impl FnMut(&mut T, String) -> String) -> f64 {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let fresh = chunks.to_vec();
            let began = Instant::now();
            for (n, chunk) in fresh.into_iter().enumerate() {
                let mask = n % masks.len();
                black_box(push(&mut masks[mask], black_box(chunk)));
            }
            began.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2].as_nanos() as f64 / CHUNKS as f64
}
