//! The resident memory of agents that are live and have nothing to do.

use crate::load::{Load, Until};
use crate::process::{Floor, Host};
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};

/// How many agents are live when their memory is looked at. The first ones warm up what all share, and are not
/// counted; the last are as many as a host serves by default.
pub(crate) const LIVE: [usize; 3] = [100, 1_000, 10_000];

const CONNECTIONS: usize = 64;

pub(crate) async fn measure(table: &mut Table) {
    let [warm, few, many] = LIVE;
    eprintln!("memory: {many} agents");
    let bare = Floor::bare().await.kib;
    let host = Host::serve("echo", "", &["--max-live", &many.to_string()]).await;
    let mut kib = Vec::new();
    let mut live = 0;
    for until in LIVE {
        let agent = move |_, number| format!("echo/n{}", live + number);
        let until = Until::Count(until - live);
        let load = Load { connections: CONNECTIONS, until, agent, prompt: "hello", events: 2 };
        let answered = load.on(host.server.address).await;
        live += answered.answers;
        if let Some(failure) = answered.failure {
            table.note(format!("memory: after {live} agents the next one failed: {}", failure.trim_end()));
            break;
        }
        kib.push(host.server.settled().await);
    }
    let each = |kib: &[u64], at: usize| -> Series {
        let taken = kib.get(at).map(|kib_at| (kib_at - kib[0]) as f64 / (LIVE[at] - warm) as f64);
        [taken.unwrap_or(f64::INFINITY)].into_iter().collect()
    };
    table.add(
        Row::new(
            format!("memory: resident per idle agent, {many} agents"),
            Unit::Kibibytes,
            each(&kib, 2),
            each(&bare, 2),
            Compare::Itself,
        )
        .bar(Bar::AtMost(96.0)),
    );
    let what = format!("  {few} agents");
    table.add(Row::new(what, Unit::Kibibytes, each(&kib, 1), each(&bare, 1), Compare::Itself));
}
