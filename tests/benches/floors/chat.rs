//! Chunks per second through the host, beside a bare hyper relay of the same model's stream.

use rookery_tests::host::by_hand_sidecar;

use crate::load::{Load, Until, sample};
use crate::process::{Floor, Host, KEEP_NOTHING, Model, Server};
use crate::table::{Bar, Table};
use crate::throughput::{CONNECTIONS, ROUNDS, Throughput};

pub(crate) const PROMPT: &str = "/tokens 64";
pub(crate) const CHUNKS: usize = 64;

/// After so many runs a conversation is as long as the agent remembers, and asking costs the same each time.
const CONVERSATION: usize = 20;

pub(crate) async fn measure(table: &mut Table) {
    let model = Model::without_delay().await;
    let sidecar = by_hand_sidecar(model.address);
    let host = Host::serve("by-hand", &sidecar, &[]).await;
    let forgetful = Host::serve("by-hand", &sidecar, &KEEP_NOTHING).await;
    // Agents that come new at every run soon have to make room for each other: here they do from the first round.
    let crowded = Host::serve("by-hand", &sidecar, &["--max-live", "1000"]).await;
    let (head, _) = sample(host.server.address, "by-hand/sample", PROMPT).await;
    let (_floor, floor) = Floor::serving(&["relay", &head, &model.address.to_string()]).await;

    for server in [host.server, forgetful.server] {
        warm(server).await;
    }
    let (mut kept, mut new) = <(Throughput, Throughput)>::default();
    let (mut forgotten, mut bare) = <(Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("chat: round {round} of {ROUNDS}");
        kept.turn(host.server, own, PROMPT, CHUNKS).await;
        bare.turn(floor, own, PROMPT, CHUNKS).await;
        forgotten.turn(forgetful.server, own, PROMPT, CHUNKS).await;
        new.turn(crowded.server, move |_, request| format!("by-hand/n{round}-{request}"), PROMPT, CHUNKS)
            .await;
    }
    table.add(kept.row("chat: chunks/s, 64 a run, 64 connections", &bare).bar(Bar::AtLeast(0.5)));
    table.add(kept.processor_row(&bare));
    table.add(new.row("  every run a new agent's first", &bare));
    table.add(forgotten.row("chat with --keep off", &bare).bar(Bar::AtLeast(0.5)));
    table.add(forgotten.processor_row(&bare));
}

/// Every client has an agent of its own.
pub(crate) fn own(connection: usize, _: usize) -> String {
    format!("by-hand/c{connection}")
}

/// Has everybody's agent talk until asking it costs the same each time.
pub(crate) async fn warm(server: Server) {
    let until = Until::Count(CONNECTIONS * CONVERSATION);
    let warm = Load { connections: CONNECTIONS, until, agent: own, prompt: PROMPT, events: CHUNKS + 1 };
    assert_eq!(warm.on(server.address).await.failure, None);
}
