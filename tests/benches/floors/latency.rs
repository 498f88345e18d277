//! How much later a chunk arrives for having come through the host and not through a bare relay.

use std::net::SocketAddr;
use std::time::Duration;

use rookery_tests::host::by_hand_sidecar;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::load::{Connection, post, sample};
use crate::process::{Floor, Host, KEEP_NOTHING};
use crate::series::Series;
use crate::stamps::{self, PACE, WORDS};
use crate::table::{Bar, Compare, Row, Table, Unit};

const CONNECTIONS: u32 = 100;
const ROUNDS: usize = 3;
const TURN: Duration = Duration::from_secs(3);

pub(crate) async fn measure(table: &mut Table) {
    let (_model, model) = Floor::serving(&["stamps"]).await;
    let sidecar = by_hand_sidecar(model.address);
    let host = Host::serve("by-hand", &sidecar, &[]).await;
    let forgetful = Host::serve("by-hand", &sidecar, &KEEP_NOTHING).await;
    let (head, _) = sample(host.server.address, "by-hand/sample", "hello").await;
    let (_floor, floor) = Floor::serving(&["relay", &head, &model.address.to_string()]).await;

    let (mut kept, mut forgotten, mut bare) = <(Delays, Delays, Delays)>::default();
    for round in 1..=ROUNDS {
        eprintln!("latency: round {round} of {ROUNDS}");
        kept.add(&arrivals(host.server.address).await);
        bare.add(&arrivals(floor.address).await);
        forgotten.add(&arrivals(forgetful.server.address).await);
    }
    let row = |what, own: Series, bare: &Series| {
        Row::new(what, Unit::Milliseconds, own, bare.clone(), Compare::Difference)
    };
    let what = "latency: median per chunk, 10 ms apart, 100 connections";
    table.add(row(what, kept.medians, &bare.medians).bar(Bar::AtMost(0.3)));
    table.add(row("  of a hundred, the slowest", kept.tails, &bare.tails));
    table.add(row("latency with --keep off", forgotten.medians, &bare.medians).bar(Bar::AtMost(0.3)));
    table.add(row("  of a hundred, the slowest", forgotten.tails, &bare.tails));
}

/// How long chunks took, turn by turn.
#[derive(Default)]
struct Delays {
    medians: Series,
    tails: Series,
}

impl Delays {
    fn add(&mut self, turn: &Series) {
        self.medians.add(turn.median());
        self.tails.add(turn.quantile(0.99));
    }
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
            let (request, mut times) = (post(&format!("by-hand/c{number}"), "hello"), Vec::new());
            while began.elapsed() < TURN {
                let (before, mut last) = (times.len(), Vec::new());
                let read = |piece: &[u8]| {
                    times.extend(ages(piece));
                    last = piece.to_vec();
                };
                connection.ask(&request, read).await;
                assert_eq!(times.len() - before, WORDS, "{}", String::from_utf8_lossy(&last));
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
