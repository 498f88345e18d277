//! Requests per second: the smallest agent beside bare hyper that answers the same bytes.

use crate::load::sample;
use crate::process::{Floor, Host, KEEP_NOTHING};
use crate::table::{Bar, Table};
use crate::throughput::{ROUNDS, Throughput};

const PROMPT: &str = "hello";

pub(crate) async fn measure(table: &mut Table) {
    let host = Host::serve("echo", "", &[]).await;
    let forgetful = Host::serve("echo", "", &KEEP_NOTHING).await;
    let (head, body) = sample(host.server.address, "echo/sample", PROMPT).await;
    let (_floor, floor) = Floor::serving(&["answer", &head, &body]).await;
    let (same_head, same_body) = sample(floor.address, "echo/sample", PROMPT).await;
    assert_eq!((same_head.len(), &same_body), (head.len(), &body), "the floor answers the same bytes");

    let (mut kept, mut shared) = <(Throughput, Throughput)>::default();
    let (mut forgotten, mut bare) = <(Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("echo: round {round} of {ROUNDS}");
        let own = |connection, _| format!("echo/c{connection}");
        kept.turn(host.server, own, PROMPT, 1).await;
        bare.turn(floor, own, PROMPT, 1).await;
        forgotten.turn(forgetful.server, own, PROMPT, 1).await;
        shared.turn(host.server, |_, _| "echo/shared".into(), PROMPT, 1).await;
    }
    table.add(kept.row("echo: requests/s, 64 connections", &bare).bar(Bar::AtLeast(0.4)));
    table.add(kept.processor_row(&bare));
    table.add(shared.row("  all of them to one agent", &bare));
    table.add(forgotten.row("echo with --keep off", &bare).bar(Bar::AtLeast(0.4)));
    table.add(forgotten.processor_row(&bare));
}
