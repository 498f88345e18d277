//! What a host counts, for those who watch it: what the admin face shows at `/metrics`.
//!
//! Promises: a counter never goes back while the host runs; the numbers of every plugin that is served are there from the
//! start, but for those of a model, which come with its first call.
//! Bounded by: plugins, the secrets that their sidecars name, and 65 models of each. Models come last, so that a plugin
//! that makes them up takes no other number's room.

use std::collections::BTreeMap;

use rookery_agents::{Counts, Directory};
use rookery_core::PluginName;
use rookery_http::{Family, Measure, Metrics, Sample};
use rookery_usage::{Ledger, Spent, Total};

/// Says how often a leak guard found a value: of which plugin, the value's name, and how many times.
pub(crate) type Leaks = Box<dyn Fn() -> Vec<(String, String, u64)> + Send + Sync>;

/// What a host counts.
pub(crate) struct Counted {
    directory: Directory,
    ledger: Ledger,
    leaks: Leaks,
}

impl Counted {
    pub(crate) fn new(directory: Directory, ledger: Ledger, leaks: Leaks) -> Self {
        Self { directory, ledger, leaks }
    }
}

impl Metrics for Counted {
    fn families(&self) -> Vec<Family> {
        let (counts, totals) = (self.directory.counts(), self.ledger.totals());
        vec![
            build(),
            gauge(
                "rookery_instances_live",
                "Instances that are live, of all plugins.",
                vec![sample([], self.directory.live() as f64)],
            ),
            gauge("rookery_agents_live", "Agents that are in memory.", live(&counts)),
            gauge("rookery_runs", "Runs that have no outcome, by whether they have begun.", runs(&counts)),
            counter(
                "rookery_leaks_total",
                "Values of secrets that were found in what guests wrote, and masked.",
                leaks((self.leaks)()),
            ),
            counter(
                "rookery_model_requests_total",
                "Calls of models.",
                of_models(&totals, |spent| spent.requests as f64),
            ),
            counter(
                "rookery_model_cost_total",
                "What calls of models that have ended cost, in the currency that the prices are written in.",
                of_models(&totals, |spent| spent.money.0 as f64 / 1e6),
            ),
            counter(
                "rookery_model_tokens_total",
                "Tokens of calls of models that have ended.",
                tokens(&totals),
            ),
        ]
    }
}

fn build() -> Family {
    let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
    gauge("rookery_build_info", "Always 1; which host this is.", vec![sample([version], 1.0)])
}

fn live(counts: &BTreeMap<PluginName, Counts>) -> Vec<Sample> {
    counts.iter().map(|(name, counts)| sample([plugin(name)], counts.live as f64)).collect()
}

fn runs(counts: &BTreeMap<PluginName, Counts>) -> Vec<Sample> {
    let of_one = |(name, counts): (&PluginName, &Counts)| {
        [("running", counts.running), ("queued", counts.queued)]
            .map(|(state, runs)| sample([plugin(name), ("state", state.to_owned())], runs as f64))
    };
    counts.iter().flat_map(of_one).collect()
}

/// A plugin may have several guards that know a value by the same name.
fn leaks(found: Vec<(String, String, u64)>) -> Vec<Sample> {
    let mut sums = BTreeMap::<_, u64>::new();
    for (plugin, secret, times) in found {
        let sum = sums.entry((plugin, secret)).or_default();
        *sum = sum.saturating_add(times);
    }
    sums.into_iter()
        .map(|((plugin, secret), times)| sample([("plugin", plugin), ("secret", secret)], times as f64))
        .collect()
}

fn of_models(totals: &[Total], value: impl Fn(&Spent) -> f64) -> Vec<Sample> {
    totals.iter().map(|total| sample([plugin(&total.plugin), model(total)], value(&total.spent))).collect()
}

fn tokens(totals: &[Total]) -> Vec<Sample> {
    let of_one = |total: &Total| {
        [("input", total.spent.input_tokens), ("output", total.spent.output_tokens)].map(
            |(direction, tokens)| {
                let labels = [plugin(&total.plugin), model(total), ("direction", direction.to_owned())];
                sample(labels, tokens as f64)
            },
        )
    };
    totals.iter().flat_map(of_one).collect()
}

fn plugin(name: &PluginName) -> (&'static str, String) {
    ("plugin", name.to_string())
}

fn model(total: &Total) -> (&'static str, String) {
    ("model", total.model.to_string())
}

fn sample<const N: usize>(labels: [(&'static str, String); N], value: f64) -> Sample {
    Sample { labels: labels.into(), value }
}

fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Family {
    Family { name, help, measure: Measure::Gauge, samples }
}

fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Family {
    Family { name, help, measure: Measure::Counter, samples }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::future::BoxFuture;
    use rookery_agents::Limits;
    use rookery_agents::guest::{Instance, Plugin, Policy};
    use rookery_core::{AgentId, Code, Failure, Generation, Overlap};
    use rookery_usage::{Budget, Price, RunSpend, Settings};

    use super::*;

    /// A plugin that nobody asks.
    struct Idle;

    impl Plugin for Idle {
        fn policy(&self) -> Policy {
            Policy {
                queue: 1,
                deadline: Duration::from_secs(1),
                output: 1,
                overlap: Overlap::Queue,
                cancel_on_detach: false,
                grace: Duration::from_secs(1),
                sleep_after: Duration::from_secs(1),
            }
        }

        fn version(&self) -> &str {
            "v1"
        }

        fn launch(
            &self,
            _: &AgentId,
            _: Generation,
        ) -> BoxFuture<'static, Result<Box<dyn Instance>, Failure>> {
            Box::pin(async { Err(Failure::new(Code::LaunchFailed, "nobody asks")) })
        }
    }

    fn directory(plugins: &[&str]) -> Directory {
        let idle = |name: &&str| (name.parse().unwrap(), Arc::new(Idle) as Arc<dyn Plugin>);
        let limits = Limits { runs: 1, live: 1, prompts: 1, unread: 1 };
        Directory::new(plugins.iter().map(idle).collect(), limits, None)
    }

    /// Every number by its name and its labels' values.
    fn shown(counted: &Counted) -> Vec<String> {
        let lines = |family: Family| {
            family.samples.into_iter().map(move |Sample { labels, value }| {
                let values =
                    labels.iter().map(|(label, value)| format!(" {label}={value}")).collect::<String>();
                format!("{}{values}: {value}", family.name)
            })
        };
        counted.families().into_iter().flat_map(lines).collect()
    }

    #[tokio::test]
    async fn a_host_that_was_asked_nothing_shows_what_it_serves() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Settings::new(folder.path())).unwrap();
        let counted = Counted::new(directory(&["chat", "notes"]), ledger, Box::new(Vec::new));
        let version = format!("rookery_build_info version={}: 1", env!("CARGO_PKG_VERSION"));
        let expected = [
            &*version,
            "rookery_instances_live: 0",
            "rookery_agents_live plugin=chat: 0",
            "rookery_agents_live plugin=notes: 0",
            "rookery_runs plugin=chat state=running: 0",
            "rookery_runs plugin=chat state=queued: 0",
            "rookery_runs plugin=notes state=running: 0",
            "rookery_runs plugin=notes state=queued: 0",
        ];
        assert_eq!(shown(&counted), expected);
    }

    #[tokio::test]
    async fn what_models_were_asked_is_shown_by_plugin_and_model_and_leaks_by_secret() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Settings::new(folder.path())).unwrap();
        let price = Price { input: "2.5".parse().unwrap(), output: "10".parse().unwrap() };
        let meter = ledger.plugin("chat".parse().unwrap(), Budget::default());
        let call = |model, price| {
            let run = Arc::new(RunSpend::default());
            meter.begin(&"alice".parse().unwrap(), &run, model, price, 100).unwrap()
        };
        for _ in 0..2 {
            call("fast", Some(price)).usage(1000, 25);
        }
        let _open = call("own\"", None);
        let leaks = || {
            [("chat", "b", 2), ("chat", "a", 0), ("chat", "b", u64::from(u32::MAX)), ("calc", "b", 1)]
                .map(|(plugin, secret, times)| (plugin.to_owned(), secret.to_owned(), times))
                .to_vec()
        };
        let counted = Counted::new(directory(&[]), ledger, Box::new(leaks));
        let expected = [
            "rookery_leaks_total plugin=calc secret=b: 1",
            "rookery_leaks_total plugin=chat secret=a: 0",
            "rookery_leaks_total plugin=chat secret=b: 4294967297",
            "rookery_model_requests_total plugin=chat model=fast: 2",
            "rookery_model_requests_total plugin=chat model=own\": 1",
            "rookery_model_cost_total plugin=chat model=fast: 0.0055",
            "rookery_model_cost_total plugin=chat model=own\": 0",
            "rookery_model_tokens_total plugin=chat model=fast direction=input: 2000",
            "rookery_model_tokens_total plugin=chat model=fast direction=output: 50",
            "rookery_model_tokens_total plugin=chat model=own\" direction=input: 0",
            "rookery_model_tokens_total plugin=chat model=own\" direction=output: 0",
        ];
        assert_eq!(shown(&counted)[2..], expected);
    }

    #[tokio::test]
    async fn names_are_such_as_prometheus_takes_and_each_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Settings::new(folder.path())).unwrap();
        let leaks = || vec![("chat".to_owned(), "key".to_owned(), 1)];
        let families = Counted::new(directory(&["chat"]), ledger, Box::new(leaks)).families();
        let names: HashSet<_> = families.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), families.len());
        let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        for Family { name, help, measure, samples } in &families {
            assert!(word(name) && name.starts_with("rookery_"), "{name}");
            assert_eq!(name.ends_with("_total"), *measure == Measure::Counter, "{name}");
            assert!(!help.is_empty() && !help.contains(['\n', '\\']), "{help}");
            assert!(samples.iter().flat_map(|sample| &sample.labels).all(|(label, _)| word(label)), "{name}");
        }
    }
}
