//! Which runs an agent has.
//!
//! Promise: a run is among its agent's as soon as it is committed. In an index it would cost every commit a page for each
//! agent that has a run in it; so runs are entered many at once, and who reads looks at those that are not entered one by one.
//! Bounded by: some [`MANY`] runs that are not entered, which take a reader 1 to 4 ms.

use rusqlite::Connection;

/// So many runs are entered at once. Of a thousand agents' runs several go into the same page then, and the writer is back
/// at its work within some 10 ms.
pub(crate) const MANY: i64 = 4096;

/// The runs that are entered, by agent and then by age.
pub(crate) const ENTERED: &str = "of_agent CROSS JOIN runs ON no = at";

/// Which of them are an agent's.
pub(crate) const ARE_ITS: &str = "of_plugin = :plugin AND of_name = :name";

/// Which of `runs` are an agent's and not entered.
pub(crate) const ARE_NEW: &str = "no > (SELECT up_to FROM entered) AND plugin = :plugin AND name = :name";

/// Enters all runs that are not entered yet.
pub(crate) fn enter(to: &Connection) -> rusqlite::Result<()> {
    to.prepare_cached(
        "INSERT INTO of_agent SELECT plugin, name, id, no FROM runs WHERE no > (SELECT up_to FROM entered) \
         ORDER BY plugin, name, id",
    )?
    .execute(())?;
    // Only where it is news: a row that is written again as it was is a page too.
    to.prepare_cached(
        "UPDATE entered SET up_to = last FROM (SELECT max(no) AS last FROM runs) WHERE up_to < last",
    )?
    .execute(())
    .map(drop)
}

/// How many runs an agent has.
pub(crate) fn count(from: &Connection, plugin: &str, name: &str) -> rusqlite::Result<i64> {
    let count = format!(
        "SELECT (SELECT count(*) FROM of_agent WHERE {ARE_ITS}) + (SELECT count(*) FROM runs NOT INDEXED WHERE {ARE_NEW})"
    );
    from.prepare_cached(&count)?.query_row(&[(":plugin", plugin), (":name", name)], |row| row.get(0))
}
