//! How much a server answers under load, and what of the processors it takes for that.

use std::time::Duration;

use crate::load::{Load, Until};
use crate::process::{Server, processor_time};
use crate::series::Series;
use crate::table::{Compare, Row, Unit};

/// How many clients ask at once.
pub(crate) const CONNECTIONS: usize = 64;
/// How many times host and floor take turns; odd, so that a median is one that was measured.
pub(crate) const ROUNDS: usize = 5;
/// How long a turn is: thousands of answers, and several hundred of the system's ticks of processor time.
const TURN: Duration = Duration::from_millis(1500);

/// What one server did in its turns.
#[derive(Default)]
pub(crate) struct Throughput {
    /// How much was done per second.
    pub(crate) rate: Series,
    /// Microseconds of processor time for each, of the server alone: what its client and its model take is not in
    /// it, and it is the steadier figure on a machine that does other things as well.
    processor: Series,
}

impl Throughput {
    /// Gives a server a turn, in which every answer counts for `each`.
    pub(crate) async fn turn<F>(&mut self, server: Server, agent: F, prompt: &'static str, each: usize)
    where
        F: Fn(usize, usize) -> String + Clone + Send + 'static,
    {
        self.turn_of(server, agent, prompt, (each, each + 1)).await;
    }

    /// The same where the answer ends with what it used, which counts for nothing here.
    pub(crate) async fn turn_with_usage<F>(
        &mut self,
        server: Server,
        agent: F,
        prompt: &'static str,
        each: usize,
    ) where
        F: Fn(usize, usize) -> String + Clone + Send + 'static,
    {
        self.turn_of(server, agent, prompt, (each, each + 2)).await;
    }

    async fn turn_of<F>(
        &mut self,
        server: Server,
        agent: F,
        prompt: &'static str,
        (each, events): (usize, usize),
    ) where
        F: Fn(usize, usize) -> String + Clone + Send + 'static,
    {
        let load = Load { connections: CONNECTIONS, until: Until::Time(TURN), agent, prompt, events };
        let before = processor_time(server.id);
        let answered = load.on(server.address).await;
        let processor = processor_time(server.id) - before;
        assert_eq!(answered.failure, None);
        self.add(answered.answers * each, answered.time, processor);
    }

    /// Takes in what was done in a turn.
    pub(crate) fn add(&mut self, done: usize, time: Duration, processor: Duration) {
        self.rate.add(done as f64 / time.as_secs_f64());
        self.processor.add(processor.as_secs_f64() * 1e6 / done as f64);
    }

    /// How much was done, beside the floor's.
    pub(crate) fn row(&self, what: &str, floor: &Self) -> Row {
        Row::new(what, Unit::Count, self.rate.clone(), floor.rate.clone(), Compare::Ratio)
    }

    /// What it took of the processors, beside the floor's.
    pub(crate) fn processor_row(&self, floor: &Self) -> Row {
        let what = "  processor time of the server, each";
        let (own, floor) = (self.processor.clone(), floor.processor.clone());
        Row::new(what, Unit::Microseconds, own, floor, Compare::Ratio)
    }
}
