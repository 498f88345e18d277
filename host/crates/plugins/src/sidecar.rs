//! What may be said of a plugin beside it: what it may reach, what its guests may read, how its runs are served, and
//! how much it may use.
//!
//! Promises: a sidecar that parsed is whole, and in bounds; one that did not is told all that is wrong with it, with
//! the lines. No message repeats a value of [http.inject].

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use rookery_core::{ByteSize, Overlap};
use rookery_outgoing::{DEFAULT_OPEN_REQUESTS, GrantError, Grants, Timeouts};
use rookery_tables::{
    COUNT, Expected, MONEY, Mistake, Mistakes, NUMBER, SPAN, TEXTS, Table, count, money, number, span, texts,
};
use rookery_usage::{Budget, Limits as Limited};
use toml::de::{DeTable, DeValue};

/// A plugin's sidecar. The default is what holds for a plugin without one.
#[derive(Debug, Default)]
pub struct Sidecar {
    /// What it may reach, and what the host adds to its requests.
    pub grants: Grants,
    /// How its requests are made.
    pub http: Http,
    /// The host's models that it may ask.
    pub models: Models,
    /// What it may spend on them.
    pub budget: Budget,
    /// Values that its guests may read.
    pub config: BTreeMap<String, String>,
    /// How runs of its agents are served.
    pub runs: Runs,
    /// How its instances come and go.
    pub lifecycle: Lifecycle,
    /// What its agents may use.
    pub limits: Limits,
}

/// How a plugin's outgoing requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// How many requests all of its agents may have open together.
    pub open_requests: usize,
    /// How long connecting may take, where it is not what the host gives.
    pub connect_timeout: Option<Duration>,
    /// How long the head of a response may take from then, likewise.
    pub first_byte_timeout: Option<Duration>,
}

/// Which of the host's models a plugin may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// The one that is asked where the guest names none.
    pub default: Option<String>,
    /// Those that the guest may name besides.
    pub others: Vec<String>,
}

/// How runs of a plugin's agents are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// How long a run may take.
    pub deadline: Duration,
    /// How many runs of one agent may wait for their turn.
    pub queue: usize,
    /// What happens to a run that comes while another one is queued or running.
    pub overlap: Overlap,
    /// Whether a run is cancelled when the last of its readers leaves.
    pub cancel_on_detach: bool,
    /// How long a guest may take to return after its run was cancelled.
    pub grace: Duration,
    /// How long a response may be silent while a guest waits for more of it.
    pub stall: Duration,
}

/// How a plugin's instances come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// How long an instance that has nothing to do stays live.
    pub sleep_after: Duration,
}

/// What a plugin's agents may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, for each instance.
    pub memory: u64,
    /// Bytes of output, for each run.
    pub output: u64,
    /// Bytes of storage, for each agent.
    pub storage: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self { open_requests: DEFAULT_OPEN_REQUESTS, connect_timeout: None, first_byte_timeout: None }
    }
}

impl Default for Runs {
    /// A model that thinks and uses tools takes minutes; a thousand waiting runs are a few hundred KiB. A guest that
    /// hears of its end has only to return. A model that streams says something every few seconds.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            queue: 1024,
            overlap: Overlap::Queue,
            cancel_on_detach: false,
            grace: Duration::from_secs(5),
            stall: Timeouts::default().between_bytes,
        }
    }
}

/// How many runs overlap where the plugin wants that and does not say how many. As many requests to a model at once as
/// an ordinary key allows.
const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(16).unwrap();

impl Default for Lifecycle {
    /// Longer than a person thinks between two prompts, and short enough that memory follows those who are there.
    fn default() -> Self {
        Self { sleep_after: Duration::from_secs(60) }
    }
}

impl Default for Limits {
    /// Python, the largest of the languages that were tried, needs 9 MiB to begin with. As much output is ten thousand
    /// pages of text.
    fn default() -> Self {
        Self { memory: 64 << 20, output: 64 << 20, storage: 1 << 30 }
    }
}

/// Every table, with every key that it knows. In [config] and below [http.inject] any key is good.
const TABLES: [(&str, &[&str]); 7] = [
    ("http", &["allow", "inject", "open_requests", "connect_timeout", "first_byte_timeout"]),
    ("models", &["default", "others"]),
    ("budget", &["run", "agent", "plugin"]),
    ("config", &[]),
    ("runs", &["deadline", "queue", "overlap", "concurrency", "on_detach", "grace", "stall"]),
    ("lifecycle", &["sleep_after"]),
    ("limits", &["memory", "output", "storage"]),
];

impl Sidecar {
    /// Reads a sidecar; `env` looks variables up in the host's environment.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, from the top down.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Mistake>> {
        let errors = Mistakes::of(text);
        let document = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| errors.line(span.start));
            let hint =
                "a key stands before its value, `key = \"text\"`, and a table's name in brackets, `[name]`"
                    .into();
            vec![Mistake { line, what: format!("it is no TOML: {}", error.message()), hint }]
        })?;
        let sidecar = read(&Table::root(&errors, document.get_ref()), &errors, env);
        if errors.is_empty() { Ok(sidecar) } else { Err(errors.into_found()) }
    }
}

fn read(root: &Table<'_>, errors: &Mistakes<'_>, env: &dyn Fn(&str) -> Option<String>) -> Sidecar {
    let mut sidecar = Sidecar::default();
    // First, as grants are parsed only where nothing was wrong with their table before.
    if let Some(http) = known(root, "http") {
        sidecar.http = read_http(&http);
        let (allow, inject) = (read_allow(&http), read_inject(&http));
        if errors.is_empty() {
            sidecar.grants = Grants::parse(&allow, &inject, env).unwrap_or_else(|error| {
                let line =
                    line_of(&error, &http, errors).or_else(|| root.get("http").map(|http| http.line()));
                errors.add(grant_error(&error, line));
                Grants::none()
            });
        }
    }
    if let Some(models) = known(root, "models") {
        let default = models.read("default", None, MODEL, |value| Some(Some(value.as_str()?.to_owned())));
        sidecar.models = Models { default, others: models.read("others", Vec::new(), TEXTS, texts) };
    }
    if let Some(budget) = known(root, "budget") {
        sidecar.budget = read_budget(&budget);
    }
    if let Some(config) = root.table("config") {
        sidecar.config = read_config(&config);
    }
    if let Some(runs) = known(root, "runs") {
        sidecar.runs = read_runs(&runs, errors);
    }
    if let Some(lifecycle) = known(root, "lifecycle") {
        let default = Lifecycle::default();
        sidecar.lifecycle.sleep_after = lifecycle.read("sleep_after", default.sleep_after, SPAN, span);
    }
    if let Some(limits) = known(root, "limits") {
        sidecar.limits = read_limits(&limits);
    }
    root.only(&TABLES.map(|(name, _)| name), home);
    sidecar
}

/// A table in which every key is known.
fn known<'a>(root: &'a Table<'a>, name: &str) -> Option<Table<'a>> {
    let table = root.table(name)?;
    let (_, keys) = TABLES.iter().find(|(table, _)| *table == name)?;
    table.only(keys, home);
    Some(table)
}

/// The table that knows this key.
fn home(key: &str) -> Option<&'static str> {
    TABLES.iter().find(|(_, keys)| keys.contains(&key)).map(|(table, _)| *table)
}

fn read_http(http: &Table<'_>) -> Http {
    let timeout = |key| http.read(key, None, SPAN, |value| span(value).map(Some));
    Http {
        open_requests: http.read("open_requests", DEFAULT_OPEN_REQUESTS, NUMBER, number),
        connect_timeout: timeout("connect_timeout"),
        first_byte_timeout: timeout("first_byte_timeout"),
    }
}

fn read_allow(http: &Table<'_>) -> Vec<String> {
    let expected = Expected { what: "a list of strings", example: r#"["https://api.openai.com"]"# };
    http.read("allow", Vec::new(), expected, texts)
}

fn read_inject(http: &Table<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    let Some(inject) = http.table("inject") else { return read };
    for entry in inject.entries() {
        let Some(table) = entry.table() else { continue };
        let headers: &mut BTreeMap<_, _> = read.entry(entry.key.to_owned()).or_default();
        for header in table.entries() {
            match header.value.as_str() {
                Some(value) => drop(headers.insert(header.key.to_owned(), value.to_owned())),
                None => {
                    let hint = "write for example `authorization = \"Bearer ${API_KEY}\"`".into();
                    header.hidden_is_not("a string", hint);
                }
            }
        }
    }
    read
}

fn grant_error(error: &GrantError, line: Option<usize>) -> Mistake {
    let hint = match error {
        GrantError::Entry { mend, .. } | GrantError::Header { mend, .. } => mend.clone(),
        GrantError::NotAllowed { entry } => format!("add \"{entry}\" there"),
        _ => String::new(),
    };
    // The message ends with what is said in the hint here.
    let what = error.to_string();
    let what = what.strip_suffix(&format!("; {hint}")).unwrap_or(&what).to_owned();
    Mistake { line, what, hint }
}

fn line_of(error: &GrantError, http: &Table<'_>, errors: &Mistakes<'_>) -> Option<usize> {
    match error {
        GrantError::Entry { key: "allow", entry, .. } => {
            let allow = http.get("allow")?.value.as_array()?;
            let wrong = allow.iter().find(|value| value.get_ref().as_str() == Some(entry))?;
            Some(errors.line(wrong.span().start))
        }
        GrantError::Header { entry, header, .. } => {
            Some(http.table("inject")?.table(entry)?.get(header)?.line())
        }
        GrantError::Entry { entry, .. } | GrantError::NotAllowed { entry } => {
            Some(http.table("inject")?.get(entry)?.line())
        }
        _ => None,
    }
}

fn read_budget(budget: &Table<'_>) -> Budget {
    let limits = |scope| {
        let Some(limits) = budget.table(scope) else { return Limited::default() };
        limits.only(&["requests", "tokens", "money"], home);
        Limited {
            requests: limits.read("requests", None, COUNT, |value| count(value).map(Some)),
            tokens: limits.read("tokens", None, COUNT, |value| count(value).map(Some)),
            money: limits.read("money", None, MONEY, |value| money(value).map(Some)),
        }
    };
    Budget { run: limits("run"), agent: limits("agent"), plugin: limits("plugin") }
}

fn read_config(config: &Table<'_>) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for entry in config.entries() {
        let text = match entry.value {
            DeValue::String(text) => Some(text.to_string()),
            // As it was written: 0.10 is not 0.1 to everybody.
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
            }
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        };
        match text {
            Some(text) => drop(read.insert(entry.key.to_owned(), text)),
            None => entry.is_not(
                "a plain value",
                "write a string, a number, true or false; put all else in a string".into(),
            ),
        }
    }
    read
}

fn read_runs(runs: &Table<'_>, errors: &Mistakes<'_>) -> Runs {
    let default = Runs::default();
    let concurrency = runs.read("concurrency", None, NUMBER, |value| Some(number(value)?.try_into().ok()));
    let read = Runs {
        deadline: runs.read("deadline", default.deadline, SPAN, span),
        queue: runs.read("queue", default.queue, NUMBER, number),
        overlap: runs.read("overlap", default.overlap, OVERLAP, |value| match value.as_str()? {
            "queue" => Some(Overlap::Queue),
            "reject" => Some(Overlap::Reject),
            "interrupt" => Some(Overlap::Interrupt),
            "concurrent" => Some(Overlap::Concurrent(concurrency.unwrap_or(CONCURRENCY))),
            _ => None,
        }),
        cancel_on_detach: runs.read("on_detach", default.cancel_on_detach, DETACH, |value| {
            match value.as_str()? {
                "continue" => Some(false),
                "cancel" => Some(true),
                _ => None,
            }
        }),
        grace: runs.read("grace", default.grace, SPAN, span),
        stall: runs.read("stall", default.stall, SPAN, span),
    };
    if concurrency.is_some() && !matches!(read.overlap, Overlap::Concurrent(_)) {
        let what = "`concurrency` in [runs] does nothing here, as runs do not overlap".into();
        errors.add(Mistake {
            line: runs.get("concurrency").map(|entry| entry.line()),
            what,
            hint: "add `overlap = \"concurrent\"`, or take it out".into(),
        });
    }
    read
}

fn read_limits(limits: &Table<'_>) -> Limits {
    let default = Limits::default();
    let size = |key, default, what, bounds: RangeInclusive<u64>| {
        limits.read(key, default, Expected { what, example: r#""64MiB""# }, |value| {
            let ByteSize(bytes) = value.as_str()?.parse().ok()?;
            bounds.contains(&bytes).then_some(bytes)
        })
    };
    Limits {
        memory: size("memory", default.memory, "a size from 64KiB to 4GiB", 64 << 10..=4 << 30),
        output: size("output", default.output, "a size of at least 1KiB", 1 << 10..=u64::MAX),
        storage: size("storage", default.storage, "a size from 1MiB to 1TiB", 1 << 20..=1 << 40),
    }
}

const MODEL: Expected<'_> = Expected { what: "the name of a model", example: r#""fast""# };

const OVERLAP: Expected<'_> =
    Expected { what: r#""queue", "reject", "interrupt" or "concurrent""#, example: r#""queue""# };

const DETACH: Expected<'_> = Expected { what: r#""continue" or "cancel""#, example: r#""continue""# };

#[cfg(test)]
mod tests {
    use rookery_usage::Money;

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
            let expected = format!(
                "2: `{key} = {value}` in [{table}] is not {what}; write for example `{key} = {example}`"
            );
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
            (
                "[http]\nallow = [\n  \"https://a.com\",\n  \"a.com\",\n]".to_owned(),
                4,
                "write `https://a.com`",
            ),
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
        let lines: Vec<_> =
            parse(text).expect_err("wrong").into_iter().filter_map(|error| error.line).collect();
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
}
