//! What agents cost that sleep: a hundred thousand names that keep something, of which a thousand are live.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::{Load, Until};
use crate::process::Host;
use crate::series::Series;
use crate::table::{Bar, Compare, Row, Table, Unit};
use crate::throughput::CONNECTIONS;

/// How many agents may be live at once.
const LIVE: &str = "1000";

/// Agents that lost their instance to others are asleep a second later, so that few are on their way to sleep at the end.
const SIDECAR: &str = "[lifecycle]\nsleep_after = \"1s\"\n";
const ASLEEP: Duration = Duration::from_secs(3);

/// How many names there are when memory is looked at. The first ones fill what is as large as it gets.
const NAMES: [usize; 2] = [10_000, 100_000];

pub(crate) async fn measure(table: &mut Table) {
    let [few, many] = NAMES;
    let host = Host::serve("keeper", SIDECAR, &["--max-live", LIVE]).await;
    let (mut made, mut resident) = (0, Vec::new());
    for until in NAMES {
        eprintln!("names: {until} agents");
        let agent = move |_, number| format!("keeper/n{}", made + number);
        let until = Until::Count(until - made);
        let load = Load { connections: CONNECTIONS, until, agent, prompt: "set k v", events: 2 };
        let answered = load.on(host.server.address).await;
        assert_eq!(answered.failure, None);
        made += answered.answers;
        sleep(ASLEEP).await;
        resident.push(host.server.settled().await);
    }
    let bytes = (resident[1] as f64 - resident[0] as f64) * 1024.0 / (many - few) as f64;
    let series: Series = [bytes].into_iter().collect();
    let what = format!("names: resident for each sleeping agent, {many} names, {LIVE} live");
    // A tenth of what remembering a name alone would take. What grows beyond it is free memory that allocators keep from one
    // peak to the next: that nothing is in use for a name is tested, in `tests/names.rs`.
    table.add(Row::new(what, Unit::Bytes, series, None, Compare::Itself).bar(Bar::AtMost(16.0)));
    let mib: Series = [resident[1] as f64].into_iter().collect();
    table.add(Row::new("  resident, all in all", Unit::Kibibytes, mib, None, Compare::Itself));
}
