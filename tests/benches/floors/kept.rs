//! What keeping runs costs a relay: the same host on the same prompts, with its log on and with it off.

use rookery_tests::host::by_hand_sidecar;

use crate::chat::{self, CHUNKS, PROMPT};
use crate::process::{Host, KEEP_NOTHING, Model};
use crate::table::{Bar, Table};
use crate::throughput::Throughput;

/// More than elsewhere, since the bar leaves less room than a busy machine takes from one turn to the next.
const ROUNDS: usize = 9;

pub(crate) async fn measure(table: &mut Table) {
    let model = Model::without_delay().await;
    let sidecar = by_hand_sidecar(model.address);
    let on = Host::serve("by-hand", &sidecar, &[]).await;
    let off = Host::serve("by-hand", &sidecar, &KEEP_NOTHING).await;
    for host in [&on, &off] {
        chat::warm(host.server).await;
    }
    let (mut kept, mut forgotten) = <(Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("kept: round {round} of {ROUNDS}");
        kept.turn(on.server, chat::own, PROMPT, CHUNKS).await;
        forgotten.turn(off.server, chat::own, PROMPT, CHUNKS).await;
    }
    let what = "kept: chunks/s of `chat`, 64 connections; floor: --keep off";
    table.add(kept.row(what, &forgotten).bar(Bar::AtLeast(0.9)));
    table.add(kept.processor_row(&forgotten));
}
