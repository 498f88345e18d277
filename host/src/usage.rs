//! `rookery usage`: what models were asked and what it cost, from the data folder of a host that may be running.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use rookery_core::{AgentId, PluginName};
use rookery_database::OpenError;
use rookery_usage::{Day, Of, Query, Row};

use crate::ask::agent;
use crate::ask::table::{aligned, one_line};
use crate::command::Hint;
use crate::terminal::Terminal;

/// `rookery usage`.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// The data folder of a host, whether it runs or not; what a running one counted in the last second may be missing
    #[arg(long, value_name = "FOLDER", env = "ROOKERY_DATA", default_value = ".rookery")]
    data: PathBuf,
    /// Only what agents of this plugin asked
    #[arg(long, value_name = "PLUGIN", conflicts_with = "agent")]
    plugin: Option<PluginName>,
    /// Only what this agent asked: a plugin and a name, such as `chat/alice`
    #[arg(long, value_name = "AGENT", value_parser = agent)]
    agent: Option<AgentId>,
    /// How many days, of which today is the last one; a day begins at midnight in UTC
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
    /// What has a line of its own
    #[arg(long, value_enum, default_value_t = By::Agent)]
    by: By,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Plugin,
    Agent,
    Model,
    Day,
}

/// As many lines as somebody reads; whoever wants more asks for a part.
const MOST: usize = 1000;

/// Does what is asked.
pub(crate) async fn usage(usage: Usage, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    if !usage.data.is_dir() {
        let error = anyhow::anyhow!("there is no data folder `{}`", usage.data.display());
        return Err(error.context(Hint::new("name it with --data")));
    }
    let (by, json, query) = (usage.by, usage.json, usage.query(SystemTime::now()));
    let reading = tokio::task::spawn_blocking(move || rookery_usage::report(&usage.data, &query));
    let mut rows = reading.await?.map_err(refused)?;
    let more = rows.len() > MOST;
    rows.truncate(MOST);
    match (json, rows.is_empty()) {
        (true, _) => rows.iter().for_each(|row| terminal.answer(&row.json())),
        (false, true) => terminal.note("no model was asked"),
        (false, false) => terminal.answer(&table(&rows, by)),
    }
    if more {
        terminal.note(&format!("there are more than these {MOST}; --plugin or --agent shows a part"));
    }
    Ok(ExitCode::SUCCESS)
}

impl Usage {
    fn query(&self, now: SystemTime) -> Query {
        let of = match (&self.agent, &self.plugin) {
            (Some(agent), _) => Of::Agent(agent.clone()),
            (None, Some(plugin)) => Of::Plugin(plugin.clone()),
            (None, None) => Of::All,
        };
        let today = Day::of(now);
        let by = match self.by {
            By::Plugin => rookery_usage::By::Plugin,
            By::Agent => rookery_usage::By::Agent,
            By::Model => rookery_usage::By::Model,
            By::Day => rookery_usage::By::Day,
        };
        // One more than is shown tells whether there is more.
        Query { of, from: today.before(self.days - 1), to: today, by, limit: MOST + 1 }
    }
}

/// What it comes to, a line each, without the last line's end.
fn table(rows: &[Row], by: By) -> String {
    let heading = match by {
        By::Plugin => "PLUGIN",
        By::Agent => "AGENT",
        By::Model => "MODEL",
        By::Day => "DAY",
    };
    let headings = [heading, "REQUESTS", "INPUT", "OUTPUT", "COST"];
    aligned(headings, rows.iter().map(|row| cells(row, by)))
}

fn cells(row: &Row, by: By) -> [String; 5] {
    let name = match by {
        By::Plugin => row.plugin.as_ref().map(ToString::to_string),
        By::Agent => row.agent.as_ref().map(ToString::to_string),
        // A guest may have chosen it.
        By::Model => row.model.as_deref().map(one_line),
        By::Day => row.day.map(|day| day.to_string()),
    };
    let spent = &row.spent;
    let counts = [spent.requests, spent.input_tokens, spent.output_tokens];
    let [requests, input, output] = counts.map(|count| count.to_string());
    [name.unwrap_or_default(), requests, input, output, spent.money.to_string()]
}

fn refused(error: OpenError) -> anyhow::Error {
    let hint = Hint::new(error.hint());
    anyhow::Error::new(error).context(hint)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, Parser};
    use rookery_usage::{Money, Spent};

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        usage: Usage,
    }

    fn parse(words: &str) -> Result<Usage, clap::Error> {
        let words = ["usage"].into_iter().chain(words.split_whitespace());
        Command::try_parse_from(words).map(|command| command.usage)
    }

    fn row(spent: Spent) -> Row {
        Row { day: None, plugin: None, agent: None, model: None, spent }
    }

    fn spent(requests: u64, input_tokens: u64, output_tokens: u64, micros: u64) -> Spent {
        Spent { requests, input_tokens, output_tokens, money: Money(micros) }
    }

    #[test]
    fn words_are_checked_before_anything_is_read() {
        Command::command().debug_assert();
        for good in
            ["", "--plugin chat --by model", "--agent chat/alice --days 7 --by day --json --data /data"]
        {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "chat",
            "--plugin Chat",
            "--agent chat",
            "--agent chat/..",
            "--days 0",
            "--days -1",
            "--by run",
            "--plugin chat --agent chat/alice",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_words_it_is_all_agents_of_today() {
        // 2026-11-24T10:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400);
        let today = Day(20_781);
        let all =
            Query { of: Of::All, from: today, to: today, by: rookery_usage::By::Agent, limit: MOST + 1 };
        assert_eq!(parse("").unwrap().query(now), all);
        let week = parse("--days 7 --by day --agent chat/alice").unwrap().query(now);
        let alice = AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() };
        let expected =
            Query { of: Of::Agent(alice), from: Day(20_775), by: rookery_usage::By::Day, ..all.clone() };
        assert_eq!(week, expected);
        let chat = parse("--plugin chat --days 4294967295").unwrap().query(now);
        assert_eq!(chat, Query { of: Of::Plugin("chat".parse().unwrap()), from: Day(0), ..all });
    }

    #[test]
    fn a_table_has_a_line_for_each_row_and_nothing_that_moves_the_cursor() {
        let agent = |text: &str, spent| {
            let (plugin, name) = text.split_once('/').unwrap();
            let plugin: PluginName = plugin.parse().unwrap();
            let agent = AgentId { plugin: plugin.clone(), name: name.parse().unwrap() };
            Row { plugin: Some(plugin), agent: Some(agent), ..row(spent) }
        };
        let rows =
            [agent("chat/alice", spent(12, 34_567, 890, 1_250_000)), agent("chat/b", spent(1, 5, 0, 0))];
        let expected = "\
AGENT       REQUESTS  INPUT  OUTPUT  COST
chat/alice  12        34567  890     1.25
chat/b      1         5      0       0";
        assert_eq!(table(&rows, By::Agent), expected);
        let plugin = Row { plugin: Some("chat".parse().unwrap()), ..row(spent(1, 2, 3, 4)) };
        let expected = "PLUGIN  REQUESTS  INPUT  OUTPUT  COST\nchat    1         2      3       0.000004";
        assert_eq!(table(&[plugin], By::Plugin), expected);
        let model = Row { model: Some("a\u{1b}[2J\nb".into()), ..row(spent(1, 2, 3, 4)) };
        assert!(table(&[model], By::Model).ends_with("\na\u{fffd}[2J b  1         2      3       0.000004"));
        let day = Row { day: Some(Day(20_781)), ..row(spent(1, 2, 3, 4)) };
        assert!(table(&[day], By::Day).ends_with("\n2026-11-24  1         2      3       0.000004"));
    }
}
