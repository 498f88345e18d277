//! How far keys and SQL are from SQLite alone: `cargo run --release -p rookery-storage --example floor`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it measures, and somebody reads along")]

use std::path::Path;
use std::time::Duration;

use rookery_core::{AgentId, Durability};
use rookery_storage::{Databases, Storage, Value};
use rusqlite::{Connection, OptionalExtension};
use tokio::time::Instant;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u32 = 20_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::open(folder.path().join("agents"), Durability::Normal).unwrap();
    let mut bare = bare(&folder.path().join("bare.db"));
    let mut ours = databases.agent(&agent("warm"), 1 << 30);
    let value = [7; 200];
    for _ in 0..3 {
        show("get, set and commit: SQLite alone", each(ROUNDS, |n| round_bare(&mut bare, n, &value)));
        show("get, set and commit: ours", each(ROUNDS, |n| round(&mut ours, n, &value)));
    }
    show("get: ours", each(ROUNDS, |n| drop(ours.get(&key(n)).unwrap())));
    show("commit of nothing: ours", each(ROUNDS, |_| ours.commit().unwrap()));
    ours.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text)", &[]).unwrap();
    bare.execute_batch("CREATE TABLE notes (id INTEGER PRIMARY KEY, text)").unwrap();
    let insert = "INSERT INTO notes (text) VALUES (?)";
    show(
        "insert and commit: SQLite alone",
        each(ROUNDS, |_| {
            bare.prepare_cached(insert).unwrap().execute(["hello"]).unwrap();
        }),
    );
    show(
        "insert and commit: ours",
        each(ROUNDS, |_| {
            ours.execute(insert, &[Value::Text("hello".into())]).unwrap();
            ours.commit().unwrap();
        }),
    );
    show(
        "select one: ours",
        each(ROUNDS, |n| {
            drop(ours.query("SELECT text FROM notes WHERE id = ?", &[Value::Integer(n.into())]).unwrap());
        }),
    );

    let mut made = Vec::new();
    show(
        "first set and commit of a new agent",
        each(200, |n| {
            let mut storage = databases.agent(&agent(&format!("new{n}")), 1 << 30);
            storage.set("a", &value).unwrap();
            storage.commit().unwrap();
            made.push(storage);
        }),
    );
    show("closing it", each(200, |_| made.pop().unwrap().close().unwrap()));
    let mut large = databases.agent(&agent("large"), 1 << 30);
    for n in 0..4000 {
        large.set(&key(n), &value).unwrap();
    }
    large.commit().unwrap();
    large.close().unwrap();
    show(
        "opening 1 MiB and one get",
        each(500, |n| {
            let mut storage = databases.agent(&agent("large"), 1 << 30);
            storage.get(&key(n)).unwrap().unwrap();
        }),
    );
    show(
        "opening 1 MiB, one set and a commit",
        each(200, |n| {
            let mut storage = databases.agent(&agent("large"), 1 << 30);
            storage.set(&key(n), &value).unwrap();
            storage.commit().unwrap();
            std::mem::forget(storage);
        }),
    );
    show(
        "reading of an agent that has nothing",
        each(500, |n| {
            databases.agent(&agent(&format!("none{n}")), 1 << 30).get("a").unwrap();
        }),
    );
}

fn round(storage: &mut Storage, n: u32, value: &[u8]) {
    storage.get(&key(n)).unwrap();
    storage.set(&key(n), value).unwrap();
    storage.commit().unwrap();
}

fn round_bare(connection: &mut Connection, n: u32, value: &[u8]) {
    let key = key(n);
    let get = "SELECT value FROM keys WHERE key = ?";
    let mut get = connection.prepare_cached(get).unwrap();
    get.query_row([key.as_bytes()], |row| row.get::<_, Vec<u8>>(0)).optional().unwrap();
    drop(get);
    connection.prepare_cached("BEGIN IMMEDIATE").unwrap().execute(()).unwrap();
    let set = "INSERT INTO keys VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(set).unwrap().execute((key.as_bytes(), value)).unwrap();
    connection.prepare_cached("COMMIT").unwrap().execute(()).unwrap();
}

fn bare(path: &Path) -> Connection {
    let connection = rookery_sqlite::open(path).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
    connection.execute_batch("CREATE TABLE keys (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID").unwrap();
    connection
}

fn key(n: u32) -> String {
    format!("key {}", n % 4000)
}

fn agent(name: &str) -> AgentId {
    AgentId { plugin: "chat".parse().unwrap(), name: name.parse().unwrap() }
}

/// The median and the slowest but one in a hundred.
fn each(rounds: u32, mut act: impl FnMut(u32)) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..rounds)
        .map(|n| {
            let began = Instant::now();
            act(n);
            began.elapsed()
        })
        .collect();
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn show(what: &str, (median, slow): (Duration, Duration)) {
    let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
    println!("{what:<40} {:>9.1} µs   99 % {:>9.1} µs", micros(median), micros(slow));
}
