//! Events per second out of a run that ended before the host was started, beside bare hyper that has the same bytes in
//! memory.

use std::time::Duration;

use tokio::time::Instant;

use crate::load::{Connection, get, post, run_id};
use crate::process::{Floor, Host, Server, processor_time};
use crate::table::{Bar, Compare, Row, Table, Unit};
use crate::throughput::{ROUNDS, Throughput};

/// All but the last are chunks of a few bytes: the worst there is to read one by one.
const EVENTS: usize = 10_000;
const TURN: Duration = Duration::from_millis(1500);

pub(crate) async fn measure(table: &mut Table) {
    let host = Host::serve("badly", "", &[]).await;
    let prompt = post("badly/x", &format!("flood {}", EVENTS - 1));
    let head = Connection::open(host.server.address).await.ask(&prompt, |_| {}).await;
    let request = get(&format!("/runs/{}", run_id(&head)));
    // Nothing of the run is in the memory of a host that was not there when it ran.
    let host = host.again().await;
    let mut body = Vec::new();
    let mut connection = Connection::open(host.server.address).await;
    let head = connection.ask(&request, |piece| body.extend_from_slice(piece)).await;
    assert_eq!(body.windows(2).filter(|pair| pair == b"\n\n").count(), EVENTS);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, &body).unwrap();
    let (_floor, floor) = Floor::serving(&["replay", &head, file.path().to_str().unwrap()]).await;

    let (mut kept, mut bare) = <(Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("replay: round {round} of {ROUNDS}");
        turn(&mut kept, host.server, &request, body.len()).await;
        turn(&mut bare, floor, &request, body.len()).await;
    }
    let what = "replay: events/s of a finished run of 10,000, one client";
    let row = Row::new(what, Unit::Count, kept.rate.clone(), bare.rate.clone(), Compare::Itself);
    table.add(row.bar(Bar::AtLeast(200_000.0)));
    table.add(kept.processor_row(&bare));
}

/// One client reads the run again and again, each time to its end.
async fn turn(throughput: &mut Throughput, server: Server, request: &[u8], length: usize) {
    let mut connection = Connection::open(server.address).await;
    let (began, before, mut events) = (Instant::now(), processor_time(server.id), 0);
    while began.elapsed() < TURN {
        let mut read = 0;
        connection.ask(request, |piece| read += piece.len()).await;
        assert_eq!(read, length, "the same run is the same bytes every time");
        events += EVENTS;
    }
    let processor = processor_time(server.id) - before;
    throughput.add(events, began.elapsed(), processor);
}
