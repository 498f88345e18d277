//! What the command line asks of a host that runs already: prompts, and what became of them.
//!
//! Answers go to stdout as they come, what is said about them to stderr. Exit codes: 0 when a run is done, 1 when it
//! is not or could not be asked for, 130 when ctrl-c detached from it.

mod answer;
pub(crate) mod harmless;
pub(crate) mod table;

use std::io::{IsTerminal, Read};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use rookery_client::{Base, Client, ClientError, Query, Run, Settings, State, StateName, Update};
use rookery_core::{AgentId, NameError, RunId};

use crate::interrupts::Interrupts;
use crate::terminal::Terminal;
use answer::{Answer, Gone};
use harmless::harmless;

/// `rookery prompt`.
#[derive(Debug, Args)]
pub(crate) struct Prompt {
    /// Which agent: a plugin and a name, such as `chat/alice`
    #[arg(value_parser = agent)]
    agent: AgentId,
    /// What is asked; `-`, or nothing, reads it from stdin
    text: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    telling: Telling,
    /// Print the run's id and leave; the run goes on by itself
    #[arg(long, conflicts_with_all = ["json", "events"])]
    background: bool,
}

/// `rookery runs`.
#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// List runs, the newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Show where a run stands
    Show(One),
    /// Write a run's answer as it comes, from its beginning
    Follow(Follow),
    /// Cancel a run; one that has ended stays as it is
    Cancel(One),
}

/// `rookery runs list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs of this agent, such as `chat/alice`
    #[arg(long, value_parser = agent)]
    agent: Option<AgentId>,
    /// Only runs in this state: queued, running, done, failed or cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<StateName>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value = "20")]
    limit: NonZeroUsize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// `rookery runs show` and `rookery runs cancel`.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The run's id
    run: RunId,
    /// All that the host knows of it, as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// `rookery runs follow`.
#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// The run's id
    run: RunId,
    /// Begin after the event of this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    telling: Telling,
}

#[derive(Debug, Args)]
struct Place {
    /// Where the host is
    #[arg(long, value_name = "URL", env = "ROOKERY_HOST", default_value = LOCAL)]
    host: Base,
}

#[derive(Clone, Copy, Debug, Args)]
struct Telling {
    /// One JSON object a line for every event
    #[arg(long)]
    json: bool,
    /// Write the events that are not text to stderr
    #[arg(long)]
    events: bool,
}

const LOCAL: &str = "http://127.0.0.1:7070";

/// More than any host takes by default; a host that takes less says so itself.
const LARGEST_PROMPT: u64 = 64 << 20;

/// How many runs are asked for at once.
const PAGE: usize = 100;

/// What shells say of a program that ctrl-c ended.
const INTERRUPTED: u8 = 130;

/// Submits a prompt, and writes the answer as it comes.
pub(crate) async fn prompt(prompt: Prompt, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let text = match prompt.text.as_deref() {
        Some("-") | None => read_prompt(terminal).await?,
        Some(text) => text.to_owned(),
    };
    let client = prompt.place.client();
    if prompt.background {
        return Ok(match client.submit(&prompt.agent, &text).await {
            Ok(run) => {
                terminal.answer(&run.to_string());
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error, terminal),
        });
    }
    match client.prompt(&prompt.agent, &text).await {
        Ok(run) => follow_run(run, &client, prompt.telling, terminal).await,
        Err(error) => Ok(failed(&error, terminal)),
    }
}

/// Lists, shows, follows or cancels runs.
pub(crate) async fn runs(runs: Runs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    match runs {
        Runs::List(list) => Ok(list_runs(list, terminal).await),
        Runs::Show(One { run, json, place }) => Ok(match place.client().state(run).await {
            Ok(state) => {
                if json {
                    terminal.answer(&state.json());
                } else {
                    terminal.answer(&table::shown(&state, SystemTime::now()));
                }
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error, terminal),
        }),
        Runs::Follow(Follow { run, after, place, telling }) => {
            let client = place.client();
            follow_run(client.follow(run, after), &client, telling, terminal).await
        }
        Runs::Cancel(One { run, json, place }) => Ok(match place.client().cancel(run).await {
            Ok(state) => {
                terminal.answer(&match (&state, json) {
                    (Some(state), true) => state.json(),
                    (None, true) => format!("{{\"run\":\"{run}\"}}"),
                    (state, false) => format!("{run} {}", cancelled(state.as_ref())),
                });
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error, terminal),
        }),
    }
}

async fn list_runs(list: List, terminal: &Terminal) -> ExitCode {
    let limit = list.limit.get();
    let query = Query { agent: list.agent, standing: list.state, page: Some(limit.min(PAGE)) };
    let mut pages = list.place.client().list(&query);
    let mut runs = Vec::new();
    while runs.len() < limit {
        match pages.next().await {
            Some(Ok(page)) => runs.extend(page),
            Some(Err(error)) => return failed(&error, terminal),
            None => break,
        }
    }
    runs.truncate(limit);
    if list.json {
        for run in &runs {
            terminal.answer(&run.json());
        }
    } else if runs.is_empty() {
        terminal.note("no runs");
    } else {
        terminal.answer(&table::listed(&runs, SystemTime::now()));
    }
    ExitCode::SUCCESS
}

/// Writes what comes of a run until it has its outcome, or until ctrl-c.
async fn follow_run(
    mut run: Run,
    client: &Client,
    telling: Telling,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    let mut answer = Answer::new(std::io::stdout());
    let mut interrupts = Interrupts::listen()?;
    loop {
        let update = tokio::select! {
            () = interrupts.next() => {
                answer.end();
                detached(&run, client.base(), terminal);
                return Ok(ExitCode::from(INTERRUPTED));
            }
            update = run.next() => update,
        };
        match update {
            None => return Ok(ended_before(&run, client, terminal).await),
            Some(Err(error)) => {
                answer.end();
                return Ok(failed(&error, terminal));
            }
            Some(Ok(update)) => match tell(&update, &run, telling, &mut answer, terminal) {
                Ok(None) => {}
                Ok(Some(code)) => return Ok(code),
                // As with `| head`: whoever reads has enough, and the run goes on without them.
                Err(Gone) => return Ok(ExitCode::SUCCESS),
            },
        }
    }
}

/// Writes one update; says how the program ends where the run has.
fn tell(
    update: &Update,
    run: &Run,
    telling: Telling,
    answer: &mut Answer,
    terminal: &Terminal,
) -> Result<Option<ExitCode>, Gone> {
    if telling.json
        && let Some(line) = update.json(run.seen())
    {
        answer.text(&line)?;
        answer.end();
    }
    match update {
        Update::Text(text) if !telling.json => answer.text(text)?,
        Update::Named { name, json } if telling.events => {
            answer.aside(terminal, &harmless(&format!("{name} {json}")));
        }
        Update::Text(_) | Update::Named { .. } => {}
        // Only once: how often it is tried is nobody's concern, unless it is given up.
        Update::Reconnecting { attempt: 1, error } => {
            answer.aside(terminal, &harmless(&format!("{error}; asking the host for the rest")));
        }
        Update::Reconnecting { .. } => {}
        Update::Done { .. } => {
            answer.end();
            return Ok(Some(ExitCode::SUCCESS));
        }
        Update::Failed { problem, .. } => {
            answer.end();
            terminal.error(&harmless(&problem.to_string()), None);
            return Ok(Some(ExitCode::FAILURE));
        }
    }
    Ok(None)
}

/// There was nothing to follow any more, so the run's state tells how it ended.
async fn ended_before(run: &Run, client: &Client, terminal: &Terminal) -> ExitCode {
    match client.state(run.id()).await {
        Ok(state) => {
            terminal.note(&format!("nothing after event {}: the run is {}", run.seen(), state.standing));
            if let Some(problem) = &state.problem {
                terminal.error(&harmless(&problem.to_string()), None);
            }
            if state.standing == StateName::Done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => failed(&error, terminal),
    }
}

fn detached(run: &Run, host: &Base, terminal: &Terminal) {
    let (id, after) = (run.id(), run.seen());
    let elsewhere = if host.to_string() == LOCAL { String::new() } else { format!(" --host {host}") };
    terminal.note(&format!("detached; run {id} goes on"));
    terminal.note(&format!("follow it with: rookery runs follow {id} --after {after}{elsewhere}"));
    terminal.note(&format!("cancel it with: rookery runs cancel {id}{elsewhere}"));
}

fn cancelled(state: Option<&State>) -> &'static str {
    match state.map(|state| state.standing) {
        Some(StateName::Cancelled) => "is cancelled",
        Some(StateName::Queued | StateName::Running) => "is being cancelled",
        Some(StateName::Done) => "was done already",
        Some(StateName::Failed) => "had failed already",
        None => "has ended, and the host keeps nothing of it",
    }
}

fn failed(error: &ClientError, terminal: &Terminal) -> ExitCode {
    terminal.error(&harmless(&error.to_string()), hint(error).as_deref());
    ExitCode::FAILURE
}

fn hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable { .. } => {
            Some("start one with `rookery serve <folder>`, or name another with --host".into())
        }
        ClientError::Unanswered { .. } => Some("`rookery runs list` tells what the host has accepted".into()),
        ClientError::Foreign { .. } => Some("name the host's own URL with --host".into()),
        ClientError::GaveUp { run, seen, .. } => {
            Some(format!("go on with `rookery runs follow {run} --after {seen}` when the host is back"))
        }
        _ => None,
    }
}

async fn read_prompt(terminal: &Terminal) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        terminal.note("write the prompt, and end it with ctrl-d");
    }
    let text = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().take(LARGEST_PROMPT + 1).read_to_string(&mut text).map(|_| text)
    });
    let text = text.await?.map_err(|error| anyhow::anyhow!("the prompt on stdin cannot be read: {error}"))?;
    anyhow::ensure!(text.len() as u64 <= LARGEST_PROMPT, "the prompt on stdin has more than 64 MiB");
    Ok(text)
}

impl Place {
    fn client(&self) -> Client {
        Client::with(self.host.clone(), Settings::default())
    }
}

/// An agent's name as people write it.
pub(crate) fn agent(text: &str) -> Result<AgentId, String> {
    let Some((plugin, name)) = text.split_once('/') else {
        return Err("write a plugin and a name, such as chat/alice".into());
    };
    let named = |error: NameError| error.to_string();
    Ok(AgentId { plugin: plugin.parse().map_err(named)?, name: name.parse().map_err(named)? })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    enum Verb {
        Prompt(Prompt),
        #[command(subcommand)]
        Runs(Runs),
    }

    const RUN: &str = "018f3f5e-0000-7000-8000-000000000001";

    #[test]
    fn the_words_are_well_formed() {
        Verb::command().debug_assert();
    }

    #[test]
    fn names_ids_and_urls_are_checked_before_anything_is_asked() {
        for good in [
            &["", "prompt", "chat/alice", "hello"][..],
            &["", "prompt", "chat/alice"],
            &["", "prompt", "chat/alice", "-", "--json", "--events"],
            &["", "prompt", "chat/alice", "--background", "--host", "http://a:1/b"],
            &["", "runs", "list", "--agent", "chat/alice", "--state", "done", "--limit", "3", "--json"],
            &["", "runs", "ls"],
            &["", "runs", "follow", RUN, "--after", "7"],
            &["", "runs", "show", RUN, "--json"],
            &["", "runs", "cancel", RUN],
        ] {
            assert!(Verb::try_parse_from(good).is_ok(), "{good:?}");
        }
        for bad in [
            &["", "prompt", "chat"][..],
            &["", "prompt", "chat/../alice", "hello"],
            &["", "prompt", "chat/alice", "hello", "--background", "--json"],
            &["", "prompt", "chat/alice", "hello", "--host", "https://a"],
            &["", "runs", "list", "--state", "gone"],
            &["", "runs", "list", "--limit", "0"],
            &["", "runs", "show", "7"],
            &["", "runs", "follow", RUN, "--after", "-1"],
        ] {
            assert!(Verb::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_host_says_how_to_start_or_find_one() {
        let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let base: Base = LOCAL.parse().unwrap();
        let error = ClientError::Unreachable { base, source: source.into() };
        assert_eq!(error.to_string(), "no host answers at http://127.0.0.1:7070");
        let hint = hint(&error).unwrap();
        assert_eq!(hint, "start one with `rookery serve <folder>`, or name another with --host");
    }
}
