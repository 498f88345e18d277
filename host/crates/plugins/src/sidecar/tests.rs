use std::time::Duration;

use rookery_core::Overlap;
use rookery_usage::{Limits as Limited, Money};

use super::*;

fn parse(text: &str) -> Result<Sidecar, Vec<Mistake>> {
    Sidecar::parse(text, &|name| (name == "KEY").then(|| "sk-1".into()))
}

/// Every error as `line: what; hint`.
fn wrong(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err(text);
    errors
        .into_iter()
        .map(|Mistake { line, what, hint }| format!("{}: {what}; {hint}", line.expect("a line")))
        .collect()
}

#[test]
fn an_empty_sidecar_says_what_none_says() {
    for text in ["", "# nothing\n", "[http]\n[config]\n[runs]\n[limits]\n"] {
        let sidecar = parse(text).expect(text);
        assert_eq!(format!("{sidecar:?}"), format!("{:?}", Sidecar::default()), "{text}");
    }
    let Sidecar { http, config, runs, lifecycle, limits, .. } = Sidecar::default();
    assert_eq!(lifecycle, Lifecycle { sleep_after: Duration::from_secs(60) });
    assert_eq!(http, Http { open_requests: 256, connect_timeout: None, first_byte_timeout: None });
    assert_eq!(config, BTreeMap::new());
    let expected = Runs {
        deadline: Duration::from_secs(600),
        queue: 1024,
        overlap: Overlap::Queue,
        cancel_on_detach: false,
        grace: Duration::from_secs(5),
        stall: Duration::from_secs(300),
    };
    assert_eq!(runs, expected);
    assert_eq!(limits, Limits { memory: 64 << 20, output: 64 << 20, storage: 1 << 30 });
}

#[test]
fn all_that_can_be_said_is_understood() {
    let sidecar = parse(
        r#"
        [http]
        allow = ["https://api.openai.com", "http://127.0.0.1:7071/v1"]
        open_requests = 8
        connect_timeout = "2s"
        first_byte_timeout = "90s"
        [http.inject."https://api.openai.com"]
        authorization = "Bearer ${KEY}"
        [models]
        default = "fast"
        others = ["wise", "cheap"]
        [budget.run]
        requests = 20
        tokens = 100000
        [budget.agent]
        money = "1.50"
        [budget.plugin]
        money = 20
        [config]
        model = "gpt-4o-mini"
        [runs]
        overlap = "interrupt"
        on_detach = "cancel"
        grace = "2s"
        stall = "500ms"
        deadline = "2h"
        queue = 1
        [limits]
        memory = "1GiB"
        output = "1KiB"
        storage = "10GiB"
        [lifecycle]
        sleep_after = "7d"
        "#,
    )
    .expect("a good sidecar");
    let http = Http {
        open_requests: 8,
        connect_timeout: Some(Duration::from_secs(2)),
        first_byte_timeout: Some(Duration::from_secs(90)),
    };
    assert_eq!(sidecar.http, http);
    let models = Models { default: Some("fast".into()), others: vec!["wise".into(), "cheap".into()] };
    assert_eq!(sidecar.models, models);
    let budget = Budget {
        run: Limited { requests: Some(20), tokens: Some(100_000), money: None },
        agent: Limited { money: Some(Money(1_500_000)), ..Limited::default() },
        plugin: Limited { money: Some(Money(20_000_000)), ..Limited::default() },
    };
    assert_eq!(sidecar.budget, budget);
    assert_eq!(sidecar.config["model"], "gpt-4o-mini");
    let expected = Runs {
        deadline: Duration::from_secs(7200),
        queue: 1,
        overlap: Overlap::Interrupt,
        cancel_on_detach: true,
        grace: Duration::from_secs(2),
        stall: Duration::from_millis(500),
    };
    assert_eq!(sidecar.runs, expected);
    assert_eq!(sidecar.limits, Limits { memory: 1 << 30, output: 1 << 10, storage: 10 << 30 });
    assert_eq!(sidecar.lifecycle, Lifecycle { sleep_after: Duration::from_secs(7 * 24 * 3600) });
    let grants = format!("{:?}", sidecar.grants);
    for part in ["api.openai.com", "7071", "authorization"] {
        assert!(grants.contains(part), "{part} is missing in {grants}");
    }
    assert!(!format!("{sidecar:?}").contains("sk-1"), "a secret is not printed");
}

#[test]
fn runs_overlap_as_many_as_are_asked_for() {
    for (text, runs) in [("", 16), ("concurrency = 3", 3)] {
        let sidecar = parse(&format!("[runs]\noverlap = \"concurrent\"\n{text}")).expect(text);
        assert_eq!(sidecar.runs.overlap.at_once(), runs);
    }
    for overlap in ["", "overlap = \"queue\""] {
        let expected = "2: `concurrency` in [runs] does nothing here, as runs do not overlap; \
                        add `overlap = \"concurrent\"`, or take it out";
        assert_eq!(wrong(&format!("[runs]\nconcurrency = 3\n{overlap}")), [expected]);
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest_known_one() {
    for (text, expected) in [
        ("[limit]", "1: unknown key `limit`; did you mean `limits`?"),
        ("[htpp]", "1: unknown key `htpp`; did you mean `http`?"),
        ("[Config]", "1: unknown key `Config`; did you mean `config`?"),
        (
            "[secrets]",
            "1: unknown key `secrets`; the keys here are `http`, `models`, `budget`, `config`, `runs`, `lifecycle`, `limits`",
        ),
        ("\n\n[limits]\nmemry = \"64MiB\"", "4: unknown key `memry` in [limits]; did you mean `memory`?"),
        ("[limits]\nmem = \"64MiB\"", "2: unknown key `mem` in [limits]; did you mean `memory`?"),
        (
            "[limits]\nstack = 1",
            "2: unknown key `stack` in [limits]; the keys here are `memory`, `output`, `storage`",
        ),
        ("[http]\nallowed = []", "2: unknown key `allowed` in [http]; did you mean `allow`?"),
        (
            "[http]\nconnection_timeout = \"1s\"",
            "2: unknown key `connection_timeout` in [http]; did you mean `connect_timeout`?",
        ),
        (
            "[runs]\non-detach = \"continue\"",
            "2: unknown key `on-detach` in [runs]; did you mean `on_detach`?",
        ),
        ("[runs]\nqueued = 3", "2: unknown key `queued` in [runs]; did you mean `queue`?"),
        ("[http]\ndeadline = \"1m\"", "2: unknown key `deadline` in [http]; it belongs in [runs]"),
        ("memory = \"64MiB\"", "1: unknown key `memory`; it belongs in [limits]"),
        ("runs.deadlin = \"1m\"", "1: unknown key `deadlin` in [runs]; did you mean `deadline`?"),
    ] {
        assert_eq!(wrong(text), [expected], "{text}");
    }
}

#[test]
fn every_known_key_is_known_in_its_table_and_in_no_other() {
    for (table, keys) in TABLES {
        for key in keys {
            for (other, _) in TABLES.iter().filter(|(other, _)| !["config", table].contains(other)) {
                let expected = format!("2: unknown key `{key}` in [{other}]; it belongs in [{table}]");
                assert_eq!(wrong(&format!("[{other}]\n{key} = 0")), [expected]);
            }
            let errors = parse(&format!("[{table}]\n{key} = 0.5")).expect_err("no key takes a fraction");
            assert!(errors.iter().all(|error| error.what.contains(" is not ")), "{errors:?}");
        }
    }
}

#[test]
fn a_wrong_value_is_named_with_what_it_should_be() {
    let memory = ("a size from 64KiB to 4GiB", "\"64MiB\"");
    let span = ("a span of time above zero, up to \"7d\"", "\"10m\"");
    let number = ("a number from 1 to 65536", "256");
    let overlap = ("\"queue\", \"reject\", \"interrupt\" or \"concurrent\"", "\"queue\"");
    let detach = ("\"continue\" or \"cancel\"", "\"continue\"");
    let allow = ("a list of strings", "[\"https://api.openai.com\"]");
    for (table, key, value, (what, example)) in [
        ("limits", "memory", "\"lots\"", memory),
        ("limits", "memory", "\"63KiB\"", memory),
        ("limits", "memory", "\"5GiB\"", memory),
        ("limits", "memory", "67108864", memory),
        ("limits", "output", "\"1023B\"", ("a size of at least 1KiB", "\"64MiB\"")),
        ("limits", "storage", "\"1023KiB\"", ("a size from 1MiB to 1TiB", "\"64MiB\"")),
        ("lifecycle", "sleep_after", "0", span),
        ("runs", "deadline", "\"0s\"", span),
        ("runs", "deadline", "\"8d\"", span),
        ("runs", "deadline", "600", span),
        ("runs", "queue", "0", number),
        ("runs", "queue", "65537", number),
        ("runs", "queue", "-1", number),
        ("runs", "overlap", "\"both\"", overlap),
        ("runs", "on_detach", "\"leave\"", detach),
        ("runs", "grace", "\"0s\"", span),
        ("http", "open_requests", "0", number),
        ("http", "connect_timeout", "\"0ms\"", span),
        ("http", "first_byte_timeout", "true", span),
        ("runs", "stall", "1979-05-27", span),
        ("runs", "concurrency", "0", number),
        ("http", "allow", "\"https://a.com\"", allow),
    ] {
        let expected =
            format!("2: `{key} = {value}` in [{table}] is not {what}; write for example `{key} = {example}`");
        assert_eq!(wrong(&format!("[{table}]\n{key} = {value}")), [expected]);
    }
    assert!(wrong("[http]\nallow = [1]")[0].starts_with("2: `allow = […]` in [http] is not a list"));
}

#[test]
fn what_should_be_a_table_is_told_how_to_write_one() {
    for (text, what, title) in [
        ("http = 1", "`http`", "http"),
        ("config = 1", "`config`", "config"),
        ("[[runs]]", "`runs`", "runs"),
        ("http.inject = 1", "`inject` in [http]", "http.inject"),
        (
            "http.inject.\"https://a.com\" = 1",
            "`https://a.com` in [http.inject]",
            "http.inject.\"https://a.com\"",
        ),
    ] {
        let hint = format!("write [{title}] on a line of its own, and its keys below");
        assert_eq!(wrong(text), [format!("1: {what} is not a table; {hint}")]);
    }
}

#[test]
fn the_bounds_themselves_are_good() {
    for text in [
        "[limits]\nmemory = \"64KiB\"",
        "[limits]\nmemory = \"4GiB\"",
        "[limits]\noutput = \"1KiB\"",
        "[runs]\ndeadline = \"1ms\"",
        "[runs]\ndeadline = \"7d\"",
        "[runs]\nqueue = 65536",
        "[http]\nopen_requests = 0x1_0000",
    ] {
        parse(text).expect(text);
    }
}

#[test]
fn a_plain_value_of_config_becomes_a_string_as_it_was_written() {
    for (written, read) in [
        ("\"gpt\"", "gpt"),
        ("\"\"", ""),
        ("1_000", "1000"),
        ("-7", "-7"),
        ("0xff", "255"),
        ("0.10", "0.10"),
        ("1e3", "1e3"),
        ("true", "true"),
        ("false", "false"),
    ] {
        let sidecar = parse(&format!("[config]\n\"any key\" = {written}")).expect(written);
        assert_eq!(sidecar.config["any key"], read, "{written}");
    }
    for (written, repeated) in
        [("[1]", "[…]"), ("{ a = 1 }", "{…}"), ("1979-05-27", "1979-05-27"), ("[]", "[…]")]
    {
        let expected = format!(
            "2: `key = {repeated}` in [config] is not a plain value; write a string, a number, true or false; put \
             all else in a string"
        );
        assert_eq!(wrong(&format!("[config]\nkey = {written}")), [expected]);
    }
}

#[test]
fn a_grant_that_cannot_be_is_an_error_at_its_own_line() {
    let inject = "[http]\nallow = [\n  \"https://a.com\",\n]\n[http.inject.\"https://a.com\"]\n";
    for (text, line, part) in [
        ("[http]\nallow = [\n  \"https://a.com\",\n  \"a.com\",\n]".to_owned(), 4, "write `https://a.com`"),
        (format!("{inject}x = \"1\"\nauthorization = \"${{OTHER}}\""), 7, "variable OTHER"),
        (format!("{inject}host = \"b.com\""), 6, "`host`"),
        (format!("{inject}[http.inject.\"https://b.com\"]\nx = \"1\""), 6, "add \"https://b.com\" there"),
        (format!("{inject}[http.inject.\"b.com\"]\nx = \"1\""), 6, "write `https://b.com`"),
    ] {
        let errors = wrong(&text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&format!("{line}: ")) && errors[0].contains(part), "{errors:?}");
    }
}

#[test]
fn no_message_repeats_what_may_be_a_secret() {
    let allow = "[http]\nallow = [\"https://a.com\"]\n";
    for inject in [
        "[http.inject.\"https://a.com\"]\nauthorization = [\"sk-1\"]",
        "[http.inject.\"https://a.com\"]\nauthorization = 4242",
        "[http.inject]\n\"https://a.com\" = 4242",
        "[http.inject.\"https://a.com\"]\nauthorization = \"sk-1\\n\"",
        "[http.inject.\"https://a.com\"]\nauthorization = 'sk-1$x'",
        "[http.inject.\"https://a.com\"]\nauthorization.x = 'sk-1'",
        "[http.inject.\"https://a.com\"]\nauthorization = 'sk-1",
        "[http.inject.\"https://a.com\"]\nauthorization = 'sk-1' 'sk-1'",
        "[http.inject]\n\"https://a.com\" = 'sk-1'",
        "[http]\ninject = 'sk-1'",
        "inject = 'sk-1'",
    ] {
        let errors = wrong(&format!("{allow}{inject}"));
        assert!(
            !errors.is_empty()
                && errors.iter().all(|error| !error.contains("sk-1") && !error.contains("4242")),
            "{errors:?}"
        );
    }
}

#[test]
fn a_message_stays_one_short_line_whatever_is_in_the_file() {
    let long = format!("a\\n\\u001b{}", "b".repeat(100_000));
    for text in [
        format!("\"{long}\" = 1"),
        format!("[limits]\nmemory = \"{long}\""),
        format!("[http.inject.\"{long}\"]\nx = 1"),
        format!("[http.inject]\n\"{long}\" = 1"),
        format!("[runs]\nqueue = {}", "9".repeat(100_000)),
    ] {
        let error = &wrong(&text)[0];
        assert!(error.len() < 400 && !error.contains(char::is_control), "{error:?}");
    }
}

#[test]
fn all_that_is_wrong_is_said_from_the_top_down() {
    let text = "[limits]\nmemory = 1\noutput = 1\n[runs]\nqueue = 0\n[http]\nallow = 1\nx = 1\n[confg]\n";
    let lines: Vec<_> = parse(text).expect_err("wrong").into_iter().filter_map(|error| error.line).collect();
    assert_eq!(lines, [2, 3, 5, 7, 8, 9]);
}

#[test]
fn what_is_no_toml_is_told_where() {
    for (text, line) in
        [("[limits]\nmemory = ", 2), ("[http\n", 1), ("a = 1\n\na = 2", 3), ("[runs]\n\nx y", 3)]
    {
        let errors = wrong(text);
        assert!(errors[0].starts_with(&format!("{line}: it is no TOML: ")), "{errors:?}");
    }
    assert!(!wrong(&format!("x = {}", "[".repeat(100_000))).is_empty(), "nested without end");
}
