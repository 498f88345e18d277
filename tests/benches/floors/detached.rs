//! What runs leave behind in the host's memory when they have ended and nobody reads them: large ones beside small ones.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::load::{Connection, get, post_detached};
use crate::process::{Host, Server};
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};

/// Bytes that a run writes.
const SMALL: usize = 1_000;
const LARGE: usize = 20_000;
/// How many runs fill what is as large as it gets: the database's caches and its log, and the memory of the agents.
const WARM: usize = 4_000;
const RUNS: usize = 10_000;
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 50;
/// How long runs may go on after the last was accepted.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure(table: &mut Table) {
    let (mut small, mut large) = <(Series, Series)>::default();
    for round in 1..=ROUNDS {
        eprintln!("detached: round {round} of {ROUNDS}");
        small.add(left_behind(SMALL).await);
        large.add(left_behind(LARGE).await);
    }
    let what = "detached: resident per finished run of 20 kB, 10,000 runs; floor: of 1 kB";
    let row = Row::new(what, Unit::Bytes, large, small, Compare::Difference);
    // Nothing of 20 kB, but for the noise that there is in the memory of a process.
    table.add(row.bar(Bar::AtMost(1_000.0)));
}

/// Bytes of resident memory for each run of this size that has ended, in a host of its own.
async fn left_behind(size: usize) -> f64 {
    let host = Host::serve("badly", "", &[]).await;
    run(host.server, size, WARM).await;
    let before = host.server.settled().await;
    run(host.server, size, RUNS).await;
    let after = host.server.settled().await;
    (after as f64 - before as f64) * 1024.0 / RUNS as f64
}

/// Has this many runs write so many bytes, and waits until all of them are over.
async fn run(server: Server, size: usize, runs: usize) {
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        tasks.spawn(async move {
            let request = post_detached(&format!("badly/d{number}"), &format!("huge {size}"));
            let mut connection = Connection::open(server.address).await;
            for _ in 0..runs / CONNECTIONS {
                let (status, body) = connection.document(&request).await;
                assert_eq!(status, 202, "{body}");
            }
        });
    }
    tasks.join_all().await;
    let accepted = Instant::now();
    let mut connection = Connection::open(server.address).await;
    for state in ["queued", "running"] {
        let left = get(&format!("/runs?limit=1&state={state}"));
        while connection.document(&left).await.1 != r#"{"runs":[]}"# {
            assert!(accepted.elapsed() < PATIENCE, "there are still runs {state}");
            sleep(Duration::from_millis(50)).await;
        }
    }
    let failed = connection.document(&get("/runs?limit=1&state=failed")).await.1;
    assert_eq!(failed, r#"{"runs":[]}"#);
}
