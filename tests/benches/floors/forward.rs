//! Answers of a model that the host speaks to itself: passed on by the host, and by a guest's loop, beside a bare hyper relay
//! of the same model's stream.

use rookery_tests::languages::{self, Language};

use crate::chat::CHUNKS;
use crate::load::sample;
use crate::process::{Floor, Host, KEEP_NOTHING, Model};
use crate::table::{Bar, Table};
use crate::throughput::{ROUNDS, Throughput};

/// The guest returns, and the host passes the answer on.
const FORWARD: &str = "forget /tokens 64";
/// The guest reads what there is, and writes each delta.
const LOOP: &str = "loop /tokens 64";
/// The guest reads each delta by itself, and writes it.
const ONE_BY_ONE: &str = "one-by-one /tokens 64";
/// What the guest in JavaScript passes on by itself.
const PLAIN: &str = "/tokens 64";

pub(crate) async fn measure(table: &mut Table) {
    let model = Model::without_delay().await;
    let host = Host::asking(model.address, None, "asker", &[]).await;
    // The same, but that each chunk is searched for a key.
    let guarded =
        Host::asking(model.address, Some("sk-0123456789abcdefghijklmnopqrstuv"), "asker", &[]).await;
    let forgetful = Host::asking(model.address, None, "asker", &KEEP_NOTHING).await;
    let js = match languages::built(Language::JavaScript).await {
        true => Some(Host::asking(model.address, None, "loop-js", &[]).await),
        false => None,
    };
    let (head, _) = sample(host.server.address, "asker/sample", FORWARD).await;
    let (_floor, floor) = Floor::serving(&["relay", &head, &model.address.to_string()]).await;

    let (mut kept, mut forgotten, mut bare) = <(Throughput, Throughput, Throughput)>::default();
    let (mut looped, mut one_by_one) = <(Throughput, Throughput)>::default();
    let (mut searched, mut in_js) = <(Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("forward: round {round} of {ROUNDS}");
        kept.turn_with_usage(host.server, own, FORWARD, CHUNKS).await;
        bare.turn(floor, own, PLAIN, CHUNKS).await;
        forgotten.turn_with_usage(forgetful.server, own, FORWARD, CHUNKS).await;
        looped.turn_with_usage(host.server, own, LOOP, CHUNKS).await;
        one_by_one.turn_with_usage(host.server, own, ONE_BY_ONE, CHUNKS).await;
        searched.turn_with_usage(guarded.server, own, FORWARD, CHUNKS).await;
        if let Some(js) = &js {
            in_js
                .turn_with_usage(js.server, |connection, _| format!("loop-js/c{connection}"), PLAIN, CHUNKS)
                .await;
        }
    }
    let what = "forward: chunks/s the host passes on, 64 a run, 64 connections";
    table.add(kept.row(what, &bare).bar(Bar::AtLeast(1.0)));
    table.add(kept.processor_row(&bare).bar(Bar::AtMost(1.0)));
    table.add(forgotten.row("  with --keep off", &bare));
    table.add(forgotten.processor_row(&bare));
    table
        .add(looped.row("  chunks/s a guest passes on, reading what there is", &bare).bar(Bar::AtLeast(0.6)));
    table.add(
        one_by_one.row("  chunks/s a guest passes on, reading one by one", &bare).bar(Bar::AtLeast(0.6)),
    );
    if js.is_some() {
        table.add(in_js.row("  chunks/s a guest in JavaScript passes on", &bare));
    }
    table.add(searched.row("  the host's, searched for a key against not", &kept));
    table.add(searched.processor_row(&kept).bar(Bar::AtMost(1.05)));
    table.add(kept.row("  the host's, its log on against off", &forgotten));
}

/// Each connection asks an agent of its own.
fn own(connection: usize, _: usize) -> String {
    format!("asker/c{connection}")
}
