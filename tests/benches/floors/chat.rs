//! Chunks per second through the host, beside a bare hyper relay of the same model's stream.

use rookery_tests::host::chat_sidecar;

use crate::load::{Load, Until, sample};
use crate::process::{Floor, Host, Model};
use crate::table::{Bar, Compare, Row, Table, Unit};
use crate::throughput::{CONNECTIONS, ROUNDS, Throughput};

const PROMPT: &str = "/tokens 64";
const CHUNKS: usize = 64;

/// After so many runs a conversation is as long as the agent remembers, and asking costs the same each time.
const CONVERSATION: usize = 20;

pub(crate) async fn measure(table: &mut Table) {
    let model = Model::without_delay().await;
    let host = Host::serve("chat", &chat_sidecar(model.address), &[]).await;
    let (head, _) = sample(host.server.address, "chat/sample", PROMPT).await;
    let (_floor, floor) = Floor::serving(&["relay", &head, &model.address.to_string()]).await;

    let until = Until::Count(CONNECTIONS * CONVERSATION);
    let own_name = |connection, _| format!("chat/c{connection}");
    let warm = Load { connections: CONNECTIONS, until, agent: own_name, prompt: PROMPT, events: CHUNKS + 1 };
    warm.on(host.server.address).await;

    let (mut own, mut new, mut bare) = <(Throughput, Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("chat: round {round} of {ROUNDS}");
        own.turn(host.server, own_name, PROMPT, CHUNKS).await;
        bare.turn(floor, own_name, PROMPT, CHUNKS).await;
        new.turn(host.server, move |_, request| format!("chat/n{round}-{request}"), PROMPT, CHUNKS).await;
    }
    table.add(
        Row::new(
            "chat: chunks/s, 64 a run, 64 connections",
            Unit::Count,
            own.rate,
            bare.rate.clone(),
            Compare::Ratio,
        )
        .bar(Bar::AtLeast(0.5)),
    );
    table.add(Row::new("  every run a new agent", Unit::Count, new.rate, bare.rate, Compare::Ratio));
    let processor = "  processor time of the server, each";
    table.add(Row::new(processor, Unit::Microseconds, own.processor, bare.processor.clone(), Compare::Ratio));
    let processor = "  the same, every run a new agent";
    table.add(Row::new(processor, Unit::Microseconds, new.processor, bare.processor, Compare::Ratio));
}
