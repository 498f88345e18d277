use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, UNIX_EPOCH};

use rookery_core::{AgentId, AgentName, PluginName};

use crate::*;

mod counting;
mod days;
mod failing;
mod limits;
mod many;
mod model;
mod opening;
mod reporting;

/// A wall clock that stands still until it is set. Begins on 2026-11-24, an hour before midnight.
#[derive(Clone)]
struct Wall(Arc<AtomicU64>);

const TODAY: Day = Day(20_781);

impl Wall {
    fn new() -> Self {
        let since = TODAY.next().begins().duration_since(UNIX_EPOCH).unwrap();
        Self(Arc::new(AtomicU64::new(since.as_secs() - 3600)))
    }

    fn set(&self, day: Day) {
        self.0.store(day.begins().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600, SeqCst);
    }

    fn clock(&self) -> Clock {
        let seconds = self.0.clone();
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(seconds.load(SeqCst)))
    }
}

fn settings(folder: &Path, wall: &Wall) -> Settings {
    Settings { clock: wall.clock(), ..Settings::new(folder) }
}

fn open(folder: &Path) -> Ledger {
    Ledger::open(&settings(folder, &Wall::new())).unwrap()
}

fn plugin(text: &str) -> PluginName {
    text.parse().unwrap()
}

fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

fn agent(text: &str) -> AgentId {
    let (plugin, name) = text.split_once('/').unwrap();
    AgentId { plugin: plugin.parse().unwrap(), name: name.parse().unwrap() }
}

fn run() -> Arc<RunSpend> {
    Arc::default()
}

/// A millionth for a token that goes in, two for one that comes out.
const PRICE: Price = Price { input: Money(1_000_000), output: Money(2_000_000) };

fn spent(requests: u64, input_tokens: u64, output_tokens: u64, micros: u64) -> Spent {
    Spent { requests, input_tokens, output_tokens, money: Money(micros) }
}

fn tokens(limit: u64) -> Limits {
    Limits { tokens: Some(limit), ..Limits::default() }
}

fn money(limit: u64) -> Limits {
    Limits { money: Some(Money(limit)), ..Limits::default() }
}

fn requests(limit: u64) -> Limits {
    Limits { requests: Some(limit), ..Limits::default() }
}

fn over(refused: Result<Charge, Refused>) -> Over {
    match refused.err().unwrap() {
        Refused::Over(over) => over,
        Refused::Unpriced(error) => panic!("{error}"),
    }
}

fn query(by: By) -> Query {
    Query { of: Of::All, from: TODAY.before(400), to: TODAY.next(), by, limit: 100 }
}

fn whole(rows: &[Row]) -> Spent {
    let mut sum = Spent::default();
    for row in rows {
        sum.requests += row.spent.requests;
        sum.input_tokens += row.spent.input_tokens;
        sum.output_tokens += row.spent.output_tokens;
        sum.money.0 += row.spent.money.0;
    }
    sum
}

fn all(ledger: &Ledger) -> Spent {
    whole(&ledger.report(&query(By::Day)).unwrap())
}

/// What a process that dies now would leave behind.
fn crash(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["usage.db", "usage.db-wal"] {
        std::fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

/// A linear congruential generator (the constants are Knuth's, of MMIX): the same seed is the same run of events.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn what_is_handed_around_may_be_used_from_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Ledger>();
    anywhere::<Meter>();
    anywhere::<Charge>();
    anywhere::<RunSpend>();
}
