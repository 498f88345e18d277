//! The first run of an agent that never ran before, as its client sees it, beside bare wasmtime that launches the
//! same component and calls it once.

use tokio::time::Instant;

use crate::load::{Connection, done, post};
use crate::process::{Floor, Host, KEEP_NOTHING};
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};

pub(crate) const ROUNDS: usize = 5;
/// New agents a round.
pub(crate) const AGENTS: usize = 200;

pub(crate) async fn measure(table: &mut Table) {
    eprintln!("launch: {} agents", ROUNDS * AGENTS);
    let bare = Floor::bare().await.launch_ms;
    let bare: Series =
        bare.chunks(AGENTS).map(|round| Series::from_iter(round.iter().copied()).median()).collect();
    for (what, arguments) in
        [("launch: a new agent's first run, median", &[][..]), ("launch with --keep off", &KEEP_NOTHING)]
    {
        let host = Host::serve("echo", "", arguments).await;
        let mut connection = Connection::open(host.server.address).await;
        // The first of all also sets up what the rest find ready.
        runs(&mut connection, |_| "echo/sample".into()).await;
        let (mut first, mut later) = <(Series, Series)>::default();
        for round in 0..ROUNDS {
            first.add(runs(&mut connection, |number| format!("echo/n{round}-{number}")).await.median());
            later.add(runs(&mut connection, |_| "echo/sample".into()).await.median());
        }
        let first = Row::new(what, Unit::Milliseconds, first, bare.clone(), Compare::Itself);
        table.add(first.bar(Bar::AtMost(0.5)));
        table.add(Row::new(
            "  a run of an agent that is live",
            Unit::Milliseconds,
            later,
            None,
            Compare::Itself,
        ));
    }
}

/// Milliseconds from a prompt to the end of its answer, one after another on a connection that is open.
async fn runs(connection: &mut Connection, agent: impl Fn(usize) -> String) -> Series {
    let mut times = Vec::with_capacity(AGENTS);
    for number in 0..AGENTS {
        let request = post(&agent(number), "hello");
        let began = Instant::now();
        connection.whole(&request, &done(2)).await.unwrap();
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.into_iter().collect()
}
