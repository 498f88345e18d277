//! Agents as people read them: a table of many, or all about one. Pure.

use std::time::SystemTime;

use rookery_client::Agent;

use crate::ask::table::{ago, aligned, facts, one_line, time};

/// A table of agents, one a line, without the last line's end. What only a host knows is there only if a host was asked.
pub(crate) fn listed(agents: &[Agent], now: SystemTime) -> String {
    let row = |agent: &Agent| {
        let used = agent.last_used.as_ref().map(|used| ago(used, now)).unwrap_or_default();
        [one_line(&agent.agent), size(agent.bytes), used, state(agent).unwrap_or_default()]
    };
    let [name, bytes, used, state] = ["AGENT", "SIZE", "LAST USED", "STATE"];
    if agents.iter().any(|agent| agent.live.is_some()) {
        return aligned([name, bytes, used, state], agents.iter().map(row));
    }
    let short = |agent: &Agent| {
        let [name, bytes, used, _] = row(agent);
        [name, bytes, used]
    };
    aligned([name, bytes, used], agents.iter().map(short))
}

/// All about one agent, without the last line's end.
pub(crate) fn shown(agent: &Agent, now: SystemTime) -> String {
    let exact = if agent.bytes < 1024 { String::new() } else { format!(" ({} bytes)", agent.bytes) };
    facts([
        ("agent", Some(one_line(&agent.agent))),
        ("size", Some(size(agent.bytes) + &exact)),
        ("last used", agent.last_used.as_ref().map(|used| time(used, now))),
        ("state", state(agent)),
        ("runs", agent.runs.map(|runs| format!("{runs} kept"))),
    ])
}

/// What goes with an agent that is removed.
pub(crate) fn belongings(agent: &Agent) -> String {
    let runs = match agent.runs {
        Some(1) => " and 1 run".into(),
        Some(runs) => format!(" and {runs} runs"),
        None => String::new(),
    };
    size(agent.bytes) + &runs
}

/// A size that is easily read: `512 B`, `1.2 MiB`, `64 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The largest unit of which there is one, after rounding.
    let mut size = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while size >= 1023.5
        && let Some(next) = units.next()
    {
        (size, unit) = (size / 1024.0, Some(next));
    }
    let places = usize::from(size < 9.95);
    format!("{size:.places$} {}", unit.unwrap_or(&""))
}

fn state(agent: &Agent) -> Option<String> {
    let live = agent.live?;
    let runs = [(agent.running, "running"), (agent.queued, "queued")];
    let runs =
        runs.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    let runs: Vec<_> = runs.collect();
    Some(match (runs.is_empty(), live, agent.served) {
        (false, ..) => runs.join(", "),
        (true, true, _) => "live".into(),
        (true, false, Some(false)) => "asleep, plugin not served".into(),
        (true, false, _) => "asleep".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now() -> SystemTime {
        // 2026-11-24T10:00:00Z
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400)
    }

    fn agent(name: &str, bytes: u64, more: &str) -> Agent {
        format!(r#"{{"agent":"{name}","bytes":{bytes}{more}}}"#).parse().unwrap()
    }

    const USED: &str = r#","last_used":"2026-11-24T09:58:00Z""#;

    #[test]
    fn what_a_host_knows_is_in_a_table_only_where_a_host_was_asked() {
        let state = |more: &str| format!(r#"{USED},"live":false,"served":true{more}"#);
        let asked = [
            agent("chat/alice", 20_480, &state(r#","running":1,"queued":2"#)),
            agent("chat/b", 5 << 20, &state("")),
            agent("old/c", 24_576, &format!(r#"{USED},"live":false,"served":false"#)),
            agent("chat/d", 24_576, &format!(r#"{USED},"live":true,"served":true"#)),
        ];
        let expected = "\
AGENT       SIZE     LAST USED  STATE
chat/alice  20 KiB   2m ago     1 running, 2 queued
chat/b      5.0 MiB  2m ago     asleep
old/c       24 KiB   2m ago     asleep, plugin not served
chat/d      24 KiB   2m ago     live";
        assert_eq!(listed(&asked, now()), expected);
        let looked = [agent("chat/alice", 20_480, USED)];
        assert_eq!(listed(&looked, now()), "AGENT       SIZE    LAST USED\nchat/alice  20 KiB  2m ago");
    }

    #[test]
    fn an_agent_is_shown_with_all_that_is_known_and_nothing_else() {
        let known = agent("chat/alice", 1_234_567, &format!(r#"{USED},"live":true,"runs":14"#));
        let expected = "\
agent      chat/alice
size       1.2 MiB (1234567 bytes)
last used  2026-11-24T09:58:00Z (2m ago)
state      live
runs       14 kept";
        assert_eq!(shown(&known, now()), expected);
        assert_eq!(shown(&agent("chat/a", 0, ""), now()), "agent      chat/a\nsize       0 B");
        assert_eq!(belongings(&known), "1.2 MiB and 14 runs");
        assert_eq!(belongings(&agent("chat/a", 10, r#","runs":1"#)), "10 B and 1 run");
    }

    #[test]
    fn a_size_is_short_and_in_a_unit_of_which_there_is_one() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_240, "10 KiB"),
            (1_048_000, "1023 KiB"),
            (1_048_500, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
    }
}
