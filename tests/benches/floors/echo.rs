//! Requests per second: the smallest agent beside bare hyper that answers the same bytes.

use crate::load::sample;
use crate::process::{Floor, Host};
use crate::table::{Bar, Compare, Row, Table, Unit};
use crate::throughput::{ROUNDS, Throughput};

const PROMPT: &str = "hello";

pub(crate) async fn measure(table: &mut Table) {
    let host = Host::serve("echo", "", &[]).await;
    let (head, body) = sample(host.server.address, "echo/sample", PROMPT).await;
    let (_floor, floor) = Floor::serving(&["answer", &head, &body]).await;
    let (same_head, same_body) = sample(floor.address, "echo/sample", PROMPT).await;
    assert_eq!((same_head.len(), &same_body), (head.len(), &body), "the floor answers the same bytes");

    let (mut own, mut shared, mut bare) = <(Throughput, Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("echo: round {round} of {ROUNDS}");
        own.turn(host.server, |connection, _| format!("echo/c{connection}"), PROMPT, 1).await;
        bare.turn(floor, |connection, _| format!("echo/c{connection}"), PROMPT, 1).await;
        shared.turn(host.server, |_, _| "echo/shared".into(), PROMPT, 1).await;
    }
    table.add(
        Row::new(
            "echo: requests/s, 64 connections",
            Unit::Count,
            own.rate,
            bare.rate.clone(),
            Compare::Ratio,
        )
        .bar(Bar::AtLeast(0.4)),
    );
    table.add(Row::new("  all of them to one agent", Unit::Count, shared.rate, bare.rate, Compare::Ratio));
    let processor = "  processor time of the server, each";
    table.add(Row::new(processor, Unit::Microseconds, own.processor, bare.processor, Compare::Ratio));
}
