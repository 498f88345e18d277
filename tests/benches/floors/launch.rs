//! The first run of an agent that never ran before, as its client sees it, beside bare wasmtime that launches the
//! same component and calls it once.

use tokio::time::Instant;

use crate::load::{Connection, done, post};
use crate::process::{Floor, Host};
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};

pub(crate) const ROUNDS: usize = 4;
/// New agents a round.
pub(crate) const AGENTS: usize = 500;

pub(crate) async fn measure(table: &mut Table) {
    eprintln!("launch: {} agents", ROUNDS * AGENTS);
    let bare = Floor::bare().await.launch_ms;
    let host = Host::serve("echo", "", &[]).await;
    let mut connection = Connection::open(host.server.address).await;
    // The first of all also sets up what the rest find ready.
    runs(&mut connection, |_| "echo/sample".into()).await;

    let (mut first, mut later) = <(Series, Series)>::default();
    for round in 0..ROUNDS {
        first.add(runs(&mut connection, |number| format!("echo/n{round}-{number}")).await.median());
        later.add(runs(&mut connection, |_| "echo/sample".into()).await.median());
    }
    let bare: Series =
        bare.chunks(AGENTS).map(|round| round.iter().copied().collect::<Series>().median()).collect();
    table.add(
        Row::new(
            "launch: a new agent's first run, median",
            Unit::Milliseconds,
            first,
            bare.clone(),
            Compare::Itself,
        )
        .bar(Bar::AtMost(0.5)),
    );
    table.add(Row::new("  a run of an agent that is live", Unit::Milliseconds, later, None, Compare::Itself));
}

/// Milliseconds from a prompt to the end of its answer, one after another on a connection that is open.
async fn runs(connection: &mut Connection, agent: impl Fn(usize) -> String) -> Series {
    let mut times = Vec::with_capacity(AGENTS);
    for number in 0..AGENTS {
        let request = post(&agent(number), "hello");
        let began = Instant::now();
        connection.whole(&request, &done(2)).await;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.into_iter().collect()
}
