//! The resident memory of agents that are live and have nothing to do.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::{Load, Until};
use crate::process::{Floor, Host, Server, resident};
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};

/// Agents that run before anything is counted, so that what all share is there.
pub(crate) const WARM: usize = 100;
/// Agents after which a first figure is taken.
pub(crate) const FEW: usize = 1_000;
/// Agents after which the second one is.
pub(crate) const AGENTS: usize = 10_000;
/// More than there are, so that none has to make room.
pub(crate) const MOST_LIVE: usize = 12_000;

const CONNECTIONS: usize = 64;

pub(crate) async fn measure(table: &mut Table) {
    eprintln!("memory: {AGENTS} agents");
    let bare = Floor::bare().await.kib;
    let host = Host::serve("echo", "", &["--max-live", &MOST_LIVE.to_string()]).await;
    let mut kib = Vec::new();
    for (letter, count) in [("w", WARM), ("a", FEW), ("b", AGENTS - FEW)] {
        let agent = move |_, number| format!("echo/{letter}{number}");
        let until = Until::Count(count);
        Load { connections: CONNECTIONS, until, agent, prompt: "hello", events: 2 }
            .on(host.server.address)
            .await;
        kib.push(settled(host.server).await);
    }
    for (at, count, what, bar) in [
        (2, AGENTS, "memory: resident per idle agent, 10 000 agents", Some(Bar::AtMost(96.0))),
        (1, FEW, "  at 1 000 agents", None),
    ] {
        let each =
            |kib: &[u64]| Some((kib[at] - kib[0]) as f64 / count as f64).into_iter().collect::<Series>();
        table.add(Row { bar, ..Row::new(what, Unit::Kibibytes, each(&kib), each(&bare), Compare::Itself) });
    }
}

/// The resident memory once it no longer changes.
async fn settled(server: Server) -> u64 {
    let (mut last, mut same) = (0, 0);
    loop {
        let now = resident(&server.id.to_string());
        same = if now == last { same + 1 } else { 0 };
        if same == 5 {
            return now;
        }
        last = now;
        sleep(Duration::from_millis(50)).await;
    }
}
