//! What remembering costs: a counter that is kept, and agents that wake to what they keep, beside bare hyper and rusqlite.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rusqlite::Connection as Database;
use tokio::time::Instant;

use crate::floor::{events, parsed, serve};
use crate::load::{Connection, Load, Until, done, post, sample};
use crate::process::{Floor, Host};
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};
use crate::throughput::{CONNECTIONS, ROUNDS, Throughput};

const PROMPT: &str = "add n";

/// Over how many names the counting is spread.
const NAMES: usize = 1_000;

/// Agents that take turns, each with a database of a MiB. So many that the file of each has long been closed when its turn
/// comes again.
const SLEEPERS: usize = 50;

pub(crate) async fn measure(table: &mut Table) {
    counting(table).await;
    waking(table).await;
    first(table).await;
}

async fn counting(table: &mut Table) {
    let host = Host::serve("keeper", "", &[]).await;
    let (head, body) = sample(host.server.address, "keeper/sample", PROMPT).await;
    let (_floor, floor) = Floor::serving(&["persisted", &head, &body]).await;
    // All files are there before: what making one takes is measured by itself, below.
    let (connections, until) = (CONNECTIONS, Until::Count(NAMES));
    let load = Load { connections, until, agent: |_, number| many_names(number), prompt: PROMPT, events: 2 };
    assert_eq!(load.on(host.server.address).await.failure, None);
    let (mut one, mut many, mut bare) = <(Throughput, Throughput, Throughput)>::default();
    for round in 1..=ROUNDS {
        eprintln!("persisted: round {round} of {ROUNDS}");
        one.turn(host.server, |_, _| "keeper/one".into(), PROMPT, 1).await;
        bare.turn(floor, |_, _| "keeper/one".into(), PROMPT, 1).await;
        many.turn(host.server, |_, request| many_names(request), PROMPT, 1).await;
    }
    table.add(one.row("persisted: runs/s of a kept counter, one name", &bare).bar(Bar::AtLeast(0.4)));
    table.add(one.processor_row(&bare));
    table.add(many.row("  over 1,000 names, against one name", &one).bar(Bar::AtLeast(0.8)));
}

fn many_names(number: usize) -> String {
    format!("keeper/n{}", number % NAMES)
}

async fn waking(table: &mut Table) {
    // One instance at most, so that every run wakes its agent.
    let host = Host::serve("keeper", "", &["--max-live", "1"]).await;
    let mut connection = Connection::open(host.server.address).await;
    for agent in 0..SLEEPERS {
        run(&mut connection, &format!("keeper/s{agent}"), "fill x 10").await;
    }
    let mut times = Series::default();
    for round in 1..=ROUNDS {
        eprintln!("waking: round {round} of {ROUNDS}");
        let mut woken = Vec::new();
        for agent in 0..SLEEPERS {
            woken.push(run(&mut connection, &format!("keeper/s{agent}"), PROMPT).await);
        }
        times.add(woken.into_iter().collect::<Series>().median());
    }
    let what = "waking: a sleeping agent with 1 MiB, to the end of its run, median";
    table.add(Row::new(what, Unit::Milliseconds, times, None, Compare::Itself).bar(Bar::AtMost(1.5)));
}

async fn first(table: &mut Table) {
    let host = Host::serve("keeper", "", &[]).await;
    let mut connection = Connection::open(host.server.address).await;
    run(&mut connection, "keeper/sample", "set k v").await;
    let mut times = Series::default();
    for round in 0..ROUNDS {
        let mut began = Vec::new();
        for agent in 0..100 {
            began.push(run(&mut connection, &format!("keeper/f{round}-{agent}"), "set k v").await);
        }
        times.add(began.into_iter().collect::<Series>().median());
    }
    let what = "first: the first run ever of a name, with one stored key, median";
    table.add(Row::new(what, Unit::Milliseconds, times, None, Compare::Itself).bar(Bar::AtMost(3.0)));
}

/// Milliseconds that a run took whose answer is one chunk.
async fn run(connection: &mut Connection, agent: &str, prompt: &str) -> f64 {
    let request = post(agent, prompt);
    let began = Instant::now();
    connection.whole(&request, &done(2)).await.unwrap();
    began.elapsed().as_secs_f64() * 1e3
}

/// The floor: bare hyper that counts in SQLite, one committed statement a request, and answers the same bytes.
#[allow(clippy::disallowed_methods, reason = "the floor is SQLite as it comes; no guest asks it anything")]
pub(crate) async fn count(head: &str, body: &str) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("counter.db")).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
             CREATE TABLE keys (key BLOB PRIMARY KEY, value BLOB) STRICT, WITHOUT ROWID",
        )
        .unwrap();
    let database = Arc::new(Mutex::new(database));
    let (head, frames) = (parsed(head), events(body));
    serve(move |request: http::Request<hyper::body::Incoming>| {
        let (head, frames, database) = (head.clone(), frames.clone(), database.clone());
        async move {
            request.into_body().collect().await.unwrap();
            add(&database.lock().unwrap());
            let frames =
                frames.into_iter().map(|frame| Ok::<_, std::convert::Infallible>(Frame::data(frame)));
            head.map(|()| StreamBody::new(futures_util::stream::iter(frames)))
        }
    })
    .await;
}

fn add(database: &Database) {
    let read = "SELECT value FROM keys WHERE key = x'6e'";
    let value: Option<Vec<u8>> = database.prepare_cached(read).unwrap().query_row((), |row| row.get(0)).ok();
    let before: u64 = value.map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap());
    let write =
        "INSERT INTO keys (key, value) VALUES (x'6e', ?) ON CONFLICT DO UPDATE SET value = excluded.value";
    database.prepare_cached(write).unwrap().execute([(before + 1).to_string().into_bytes()]).unwrap();
}
