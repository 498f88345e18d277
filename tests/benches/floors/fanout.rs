//! One live run and a thousand readers: what an event costs for each of them, beside bare hyper that sends the same
//! bytes at the same pace to as many.
//!
//! It is processor time that is compared: at the pace of a model neither has all of the machine to do, and how fast it
//! could be is not what its readers wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rookery_tests::host::by_hand_sidecar;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::load::{Connection, get, post, run_id, sample};
use crate::process::{Floor, Host, Model, Server, open_files, processor_time};
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};

const READERS: usize = 1_000;
/// Events of the run, its end counted.
const EVENTS: usize = 101;
/// Between two of them. Fast enough for some seconds of a turn to be a hundred of the system's ticks of processor time,
/// slow enough that both servers have sent one event before the next comes, on a machine that does other things too.
const PACE: Duration = Duration::from_millis(40);
const ROUNDS: usize = 5;

pub(crate) async fn measure(table: &mut Table) {
    // Each reader is a connection, and whoever serves them has a few files more.
    if open_files() < READERS + 100 {
        return table.note("fanout: not measured, for want of open files (`ulimit -n 2000`)".into());
    }
    let model = Model::without_delay().await;
    let sidecar = by_hand_sidecar(model.address);
    let host = Host::serve("by-hand", &sidecar, &[]).await;
    let prompt = format!("/tokens {} /delay {}", EVENTS - 1, PACE.as_millis());
    let (head, body) = sample(host.server.address, "by-hand/sample", &prompt).await;
    let (_floor, floor) = Floor::serving(&["fanout", &head, &body]).await;

    let (mut own, mut bare) = <(Series, Series)>::default();
    for round in 1..=ROUNDS {
        eprintln!("fanout: round {round} of {ROUNDS}");
        own.add(followed(host.server, &prompt).await);
        bare.add(followed(floor, &prompt).await);
    }
    let what = "fanout: processor time per event and reader, 1,000 readers";
    let row = Row::new(what, Unit::Microseconds, own, bare, Compare::Ratio);
    table.add(row.bar(Bar::AtMost(2.0)));
}

/// Microseconds of the server's processor time for each event that a reader received, from when all of them read.
async fn followed(server: Server, prompt: &str) -> f64 {
    let mut connections = Vec::new();
    for _ in 0..READERS {
        connections.push(Connection::open(server.address).await);
    }
    let mut first = Connection::open(server.address).await;
    let head = first.begin(&post("by-hand/fanout", prompt)).await;
    let request: Arc<[u8]> = get(&format!("/runs/{}", run_id(&head))).into();
    let (delivered, reading) = (Arc::<AtomicUsize>::default(), Arc::new(Barrier::new(READERS + 1)));
    let mut readers = JoinSet::new();
    for mut connection in connections {
        let (request, delivered, reading) = (request.clone(), delivered.clone(), reading.clone());
        readers.spawn(async move {
            connection.begin(&request).await;
            reading.wait().await;
            let mut events = 0;
            while connection.piece(|piece| events += count(piece, &delivered)).await {}
            assert_eq!(events, EVENTS, "every reader sees all of the run");
            // Closing it is no part of an event.
            connection
        });
    }
    reading.wait().await;
    let (before, already) = (processor_time(server.id), delivered.load(Ordering::Relaxed));
    while first.piece(|_| {}).await {}
    let connections = readers.join_all().await;
    let processor = processor_time(server.id) - before;
    let events = delivered.load(Ordering::Relaxed) - already;
    drop(connections);
    assert!(events > READERS * EVENTS * 4 / 5, "the readers came too late: {events} events");
    processor.as_secs_f64() * 1e6 / events as f64
}

/// How many events end in this piece; also adds them to the sum of all readers.
fn count(piece: &[u8], sum: &AtomicUsize) -> usize {
    // The words of the practice model hold no line ends.
    let events = piece.windows(2).filter(|pair| pair == b"\n\n").count();
    sum.fetch_add(events, Ordering::Relaxed);
    events
}

/// The floor's side: bare hyper, and a channel of everybody's own end.
pub(crate) mod floor {
    use std::convert::Infallible;
    use std::sync::{Mutex, PoisonError};

    use bytes::{Bytes, BytesMut};
    use futures_util::stream;
    use http::Request;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::{Frame, Incoming};
    use tokio::sync::broadcast::{self, Receiver, Sender};
    use tokio::time::sleep;

    use super::{Arc, EVENTS, PACE};
    use crate::floor;

    /// What has been sent of the run so far, and where the rest goes.
    type Run = Mutex<(BytesMut, Sender<Bytes>)>;

    /// Answers a POST by beginning this body anew, an event at a time, and everything with all of it.
    pub(crate) async fn serve(head: &str, body: &str) {
        let head = floor::parsed(head);
        let events: Vec<_> = floor::events(body);
        let run: Arc<Run> = Arc::new(Mutex::new((BytesMut::new(), broadcast::channel(1).0)));
        floor::serve(move |request: Request<Incoming>| {
            let (head, events, run) = (head.clone(), events.clone(), run.clone());
            async move {
                let begins = request.method() == http::Method::POST;
                request.into_body().collect().await.unwrap();
                if begins {
                    *lock(&run) = (BytesMut::new(), broadcast::channel(EVENTS).0);
                    tokio::spawn(pace(run.clone(), events));
                }
                let (past, rest) = {
                    let run = lock(&run);
                    (run.0.clone().freeze(), run.1.subscribe())
                };
                head.map(|()| StreamBody::new(stream::unfold((Some(past), rest), next)))
            }
        })
        .await;
    }

    /// Sends one event after the other, as the model says its words.
    async fn pace(run: Arc<Run>, events: Vec<Bytes>) {
        let last = events.len() - 1;
        for (number, event) in events.into_iter().enumerate() {
            {
                let mut run = lock(&run);
                run.0.extend_from_slice(&event);
                // Readers that have gone are no news.
                let _ = run.1.send(event);
            }
            // The end comes with the last word.
            if number + 1 < last {
                sleep(PACE).await;
            }
        }
        lock(&run).1 = broadcast::channel(1).0;
    }

    type Left = (Option<Bytes>, Receiver<Bytes>);

    async fn next((past, mut rest): Left) -> Option<(Result<Frame<Bytes>, Infallible>, Left)> {
        let event = match past.filter(|past| !past.is_empty()) {
            Some(past) => past,
            None => rest.recv().await.ok()?,
        };
        Some((Ok(Frame::data(event)), (None, rest)))
    }

    fn lock(run: &Run) -> std::sync::MutexGuard<'_, (BytesMut, Sender<Bytes>)> {
        run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
