//! How much later a chunk arrives for having come through the host and not through a bare relay.

use std::net::SocketAddr;
use std::time::Duration;

use rookery_tests::host::chat_sidecar;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::load::{Connection, post, sample};
use crate::process::{Floor, Host};
use crate::series::Series;
use crate::stamps::{self, PACE, WORDS};
use crate::table::{Bar, Compare, Row, Table, Unit};

const CONNECTIONS: u32 = 100;
const ROUNDS: usize = 3;
const TURN: Duration = Duration::from_secs(3);

pub(crate) async fn measure(table: &mut Table) {
    let (_model, model) = Floor::serving(&["stamps"]).await;
    let host = Host::serve("chat", &chat_sidecar(model.address), &[]).await;
    let (head, _) = sample(host.server.address, "chat/sample", "hello").await;
    let (_floor, floor) = Floor::serving(&["relay", &head, &model.address.to_string()]).await;

    let (mut medians, mut bare_medians) = <(Series, Series)>::default();
    let (mut tails, mut bare_tails) = <(Series, Series)>::default();
    for round in 1..=ROUNDS {
        eprintln!("latency: round {round} of {ROUNDS}");
        for (server, median, tail) in
            [(host.server, &mut medians, &mut tails), (floor, &mut bare_medians, &mut bare_tails)]
        {
            let times = arrivals(server.address).await;
            median.add(times.median());
            tail.add(times.quantile(0.99));
        }
    }
    table.add(
        Row::new(
            "latency: median per chunk, 10 ms apart, 100 connections",
            Unit::Milliseconds,
            medians,
            bare_medians,
            Compare::Difference,
        )
        .bar(Bar::AtMost(0.3)),
    );
    table.add(Row::new(
        "  of a hundred, the slowest",
        Unit::Milliseconds,
        tails,
        bare_tails,
        Compare::Difference,
    ));
}

/// Milliseconds from the model to the client, of every chunk of a turn.
async fn arrivals(address: SocketAddr) -> Series {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await;
            // Models do not speak in unison.
            sleep(PACE * number / CONNECTIONS).await;
            let (request, mut times) = (post(&format!("chat/c{number}"), "hello"), Vec::new());
            while began.elapsed() < TURN {
                let before = times.len();
                connection.ask(&request, |piece| times.extend(ages(piece))).await;
                assert_eq!(times.len() - before, WORDS, "an answer lacks its end");
            }
            times
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// How long ago the words of these events left the model.
fn ages(events: &[u8]) -> impl Iterator<Item = f64> {
    let now = stamps::now();
    let lines = std::str::from_utf8(events).unwrap().lines();
    let stamps = lines.filter_map(|line| line.strip_prefix("data: ")?.parse::<u64>().ok());
    stamps.map(move |stamp| now.saturating_sub(stamp) as f64 / 1e6)
}
