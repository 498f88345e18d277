//! SQL: who paid how much for what, in a table of the agent's own, and a report that the database adds up.

wit_bindgen::generate!({ path: "../../wit", world: "rookery:agent/plugin", generate_all });

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::sql::{self, Error, Value};
use rookery::agent::types::Chunk;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS paid (
    who TEXT NOT NULL,
    amount INTEGER NOT NULL CONSTRAINT \"an amount is 1 to 1,000,000\" CHECK (amount BETWEEN 1 AND 1000000),
    what TEXT NOT NULL
)";

const REPORT: &str = "SELECT who, sum(amount), group_concat(DISTINCT what ORDER BY what)
    FROM paid GROUP BY who ORDER BY sum(amount) DESC, who";

struct Ledger;

impl Guest for Ledger {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        sql::execute(TABLE, &[]).map_err(failure)?;
        if prompt.text.trim() != "report" {
            // A line that is refused changes nothing, and those before it stand.
            for line in prompt.text.lines() {
                record(line)?;
            }
        }
        let rows = sql::query(REPORT, &[]).map_err(failure)?;
        loop {
            let next = rows.next(100);
            if next.is_empty() || reply.write(&Chunk::Text(next.iter().map(line).collect())).is_err() {
                return Ok(());
            }
        }
    }
}

fn record(line: &str) -> Result<(), Failure> {
    let words: Vec<_> = line.splitn(3, ' ').collect();
    let [who, amount, what] = words[..] else {
        return Err(Failure::Rejected(format!("say `alice 10 lunch` or `report`, not {line:?}")));
    };
    let amount = amount.parse().map_err(|_| Failure::Rejected(format!("{amount:?} is no whole number")))?;
    // Bound, never made part of the statement: a name is a name here, whatever it says.
    let row = [Value::Text(who.into()), Value::Integer(amount), Value::Text(what.into())];
    sql::execute("INSERT INTO paid (who, amount, what) VALUES (?, ?, ?)", &row).map_err(failure)?;
    Ok(())
}

fn line(row: &Vec<Value>) -> String {
    match &row[..] {
        [Value::Text(who), Value::Integer(sum), Value::Text(what)] => {
            format!("{who} paid {sum} for {what}\n")
        }
        other => format!("{other:?}\n"),
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Constraint(which) => Failure::Rejected(which),
        Error::Storage(why) => Failure::Unavailable(format!("the ledger cannot be used: {why:?}")),
        other => Failure::Failed(format!("{other:?}")),
    }
}

export!(Ledger);
