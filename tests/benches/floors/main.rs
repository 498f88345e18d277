//! What the host costs: every figure of it beside its floor, measured in the same run on the same bytes.
//!
//! Promises: host and floor are processes of their own, are asked by the same load client, and take turns under load,
//! so that what else the machine does is felt by both. A missed bar is printed and is no error: a bench informs.
//! Costs: about five minutes on two cores. Whatever else runs on the machine meanwhile is in the figures; the load
//! average is printed above them.
//!
//! `cargo bench -p rookery-tests` measures everything, `… -- echo memory` only that, `… -- --json` prints JSON.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench talks to a terminal, and says what went wrong by panicking"
)]

mod bare;
mod chat;
mod detached;
mod echo;
mod fanout;
mod floor;
mod forward;
mod kept;
mod latency;
mod launch;
mod load;
mod machine;
mod memory;
mod names;
mod persisted;
mod process;
mod relay;
mod replay;
mod series;
mod stamps;
mod table;
mod throughput;

use table::Table;

const USAGE: &str = "usage: cargo bench -p rookery-tests -- [--json] [echo] [chat] [forward] [kept] [replay] [fanout] [latency] \
     [launch] [memory] [detached] [persisted] [names]";
const ALL: [&str; 12] = [
    "echo",
    "chat",
    "forward",
    "kept",
    "replay",
    "fanout",
    "latency",
    "launch",
    "memory",
    "detached",
    "persisted",
    "names",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((process::FLOOR, role)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return floor::run(role);
    }
    // `cargo test --all-targets` starts benches too, in a profile that has nothing to say about speed.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return println!("{USAGE}");
    }
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !ALL.contains(&wanted.as_str())) {
        eprintln!("there is no bench `{unknown}`\n{USAGE}");
        std::process::exit(2);
    }
    // One thread, so that the client takes no more of the machine than it needs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table =
        runtime.block_on(measured(|name| wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name)));
    if arguments.iter().any(|argument| argument == "--json") {
        println!("{}", table.json());
    } else {
        println!("{table}");
    }
}

async fn measured(wanted: impl Fn(&str) -> bool) -> Table {
    let mut table = Table::new(machine::describe());
    if wanted("echo") {
        echo::measure(&mut table).await;
    }
    if wanted("chat") {
        chat::measure(&mut table).await;
    }
    if wanted("forward") {
        forward::measure(&mut table).await;
    }
    if wanted("kept") {
        kept::measure(&mut table).await;
    }
    if wanted("replay") {
        replay::measure(&mut table).await;
    }
    if wanted("fanout") {
        fanout::measure(&mut table).await;
    }
    if wanted("latency") {
        latency::measure(&mut table).await;
    }
    if wanted("launch") {
        launch::measure(&mut table).await;
    }
    if wanted("memory") {
        memory::measure(&mut table).await;
    }
    if wanted("detached") {
        detached::measure(&mut table).await;
    }
    if wanted("persisted") {
        persisted::measure(&mut table).await;
    }
    if wanted("names") {
        names::measure(&mut table).await;
    }
    table
}
