//! Runs as people read them: a table of many, or all about one. Pure.

use std::time::{Duration, SystemTime};

use rookery_client::{State, age};
use rookery_core::{Money, Spent};

use super::harmless::harmless;

const HEADINGS: [&str; 6] = ["RUN", "AGENT", "STATE", "SUBMITTED", "EVENTS", "PROMPT"];

/// As much of a prompt as tells it from others.
const PROMPT: usize = 48;

/// A table of runs, one a line, without the last line's end.
pub(crate) fn listed(runs: &[State], now: SystemTime) -> String {
    aligned(HEADINGS, runs.iter().map(|run| row(run, now)))
}

/// Rows below headings, in columns, without the last line's end.
pub(crate) fn aligned<const N: usize>(
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = rows.iter().map(|row| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// All about one run, without the last line's end.
pub(crate) fn shown(run: &State, now: SystemTime) -> String {
    let time = |written: &String| time(written, now);
    facts([
        ("run", Some(run.run.to_string())),
        ("agent", Some(one_line(&run.agent))),
        ("state", Some(standing(run))),
        ("problem", run.problem.as_ref().map(|problem| harmless(&problem.to_string()).into_owned())),
        ("origin", run.origin.as_ref().map(|origin| one_line(origin))),
        ("submitted", Some(time(&run.submitted))),
        ("started", run.started.as_ref().map(time)),
        ("ended", run.ended.as_ref().map(time)),
        ("events", Some(run.events.to_string())),
        ("usage", usage(&run.spent)),
        ("prompt", Some(prompt(run))),
    ])
}

/// Facts by name, each on a line of its own, as far as they are known.
pub(crate) fn facts<const N: usize>(facts: [(&str, Option<String>); N]) -> String {
    let lines = facts.into_iter().filter_map(|(name, fact)| {
        // What has several lines goes on below its first.
        fact.map(|fact| format!("{name:9}  {}", fact.trim_end().replace('\n', &format!("\n{:11}", ""))))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A point in time, and how long ago that was.
pub(crate) fn time(written: &str, now: SystemTime) -> String {
    match age(written, now) {
        Some(age) => format!("{} ({} ago)", one_line(written), short(age)),
        None => one_line(written),
    }
}

/// How long ago a point in time was.
pub(crate) fn ago(written: &str, now: SystemTime) -> String {
    match age(written, now) {
        Some(age) => format!("{} ago", short(age)),
        None => one_line(written),
    }
}

/// What was asked of models, if any was, and what it cost, if it did.
fn usage(spent: &Spent) -> Option<String> {
    let Spent { requests, input_tokens, output_tokens, money } = spent;
    let counts = match requests {
        1 => format!("1 request, {input_tokens} tokens in, {output_tokens} out"),
        _ => format!("{requests} requests, {input_tokens} tokens in, {output_tokens} out"),
    };
    let cost = if *money == Money::default() { String::new() } else { format!(", cost {money}") };
    (!spent.is_nothing()).then(|| counts + &cost)
}

/// A prompt of which the host gave only the beginning does not look whole.
fn prompt(run: &State) -> String {
    let prompt = harmless(&run.prompt);
    if run.prompt_truncated { format!("{prompt}…") } else { prompt.into_owned() }
}

fn row(run: &State, now: SystemTime) -> [String; 6] {
    [
        run.run.to_string(),
        one_line(&run.agent),
        run.standing.to_string(),
        ago(&run.submitted, now),
        run.events.to_string(),
        beginning(&run.prompt, run.prompt_truncated),
    ]
}

fn standing(run: &State) -> String {
    match run.place {
        Some(0) => format!("{}, next", run.standing),
        Some(place) => format!("{}, {place} before it", run.standing),
        None => run.standing.to_string(),
    }
}

/// The beginning of a text that may go on after that, on one line.
fn beginning(text: &str, goes_on: bool) -> String {
    // No more than is shown is looked at: a prompt may have megabytes.
    let start: String = text.chars().take(PROMPT + 1).collect();
    let start = one_line(&start);
    if start.chars().count() <= PROMPT && !goes_on {
        return start;
    }
    start.chars().take(PROMPT - 1).chain(['…']).collect()
}

pub(crate) fn one_line(text: &str) -> String {
    harmless(text).replace(['\n', '\t'], " ")
}

fn short(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3_600 => format!("{}m", seconds / 60),
        seconds @ ..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        // 2026-11-24T10:00:00Z
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400)
    }

    fn state(more: &str) -> State {
        let known = r#""run":"018f3f5e-0000-7000-8000-000000000001","agent":"chat/alice""#;
        format!("{{{known},{more}}}").parse().unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_every_run_is_one_line() {
        let runs = [
            state(
                r#""state":"running","submitted":"2026-11-24T09:59:55Z","events":12,"prompt":"hello\nthere\u001b[2J""#,
            ),
            state(r#""state":"cancelled","submitted":"2026-11-21T10:00:00.5Z","events":0,"prompt":"é""#),
            state(r#""state":"done","submitted":"once","events":3"#),
        ];
        let table = listed(&runs, now());
        let expected = "\
RUN                                   AGENT       STATE      SUBMITTED  EVENTS  PROMPT
018f3f5e-0000-7000-8000-000000000001  chat/alice  running    5s ago     12      hello there\u{fffd}[2J
018f3f5e-0000-7000-8000-000000000001  chat/alice  cancelled  2d ago     0       é
018f3f5e-0000-7000-8000-000000000001  chat/alice  done       once       3";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_run_is_shown_with_all_that_is_known_and_nothing_else() {
        let failed = state(
            r#""state":"failed","submitted":"2026-11-24T09:00:00Z","started":"2026-11-24T09:58:00Z","ended":null,
               "events":2,"usage":{"requests":2,"input_tokens":31,"output_tokens":12,"money":"0.000123"},"prompt":"one\ntwo\n","origin":{"client":"127.0.0.1:9"},"problem":{"status":503,"code":"unavailable","detail":"the model is away"}"#,
        );
        let expected = "\
run        018f3f5e-0000-7000-8000-000000000001
agent      chat/alice
state      failed
problem    the model is away (unavailable)
origin     client 127.0.0.1:9
submitted  2026-11-24T09:00:00Z (1h ago)
started    2026-11-24T09:58:00Z (2m ago)
events     2
usage      2 requests, 31 tokens in, 12 out, cost 0.000123
prompt     one
           two";
        assert_eq!(shown(&failed, now()), expected);
        let queued = state(r#""state":"queued","place":2,"submitted":"2026-11-24T10:00:00Z","prompt":"x""#);
        assert!(shown(&queued, now()).contains("state      queued, 2 before it\n"));
        let cut =
            r#""state":"running","submitted":"2026-11-24T10:00:00Z","prompt":"x","prompt_truncated":true"#;
        assert!(shown(&state(cut), now()).ends_with("prompt     x…"));
    }

    #[test]
    fn what_was_asked_of_models_is_a_line_where_any_was() {
        let spent =
            |requests, money| Spent { requests, input_tokens: 5, output_tokens: 0, money: Money(money) };
        assert_eq!(usage(&Spent::default()), None);
        assert_eq!(usage(&spent(1, 0)).unwrap(), "1 request, 5 tokens in, 0 out");
        assert_eq!(usage(&spent(3, 1_250_000)).unwrap(), "3 requests, 5 tokens in, 0 out, cost 1.25");
    }

    #[test]
    fn a_long_prompt_shows_its_beginning() {
        assert_eq!(beginning(&"é".repeat(PROMPT), false), "é".repeat(PROMPT));
        assert_eq!(beginning(&"é".repeat(1 << 20), false), format!("{}…", "é".repeat(PROMPT - 1)));
        assert_eq!(beginning("é", true), "é…", "the host has more of it");
    }
}
