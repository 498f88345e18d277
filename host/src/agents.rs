//! What the command line does with agents as things that are kept: each is a file.
//!
//! With `--admin` a running host is asked. Without, it is done in the data folder: whatever changes something takes the lock
//! that a running host holds, so it is refused beside one; whatever only looks or copies is not.

mod local;
mod table;
mod target;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use rookery_client::{Admin, Agent, Base, ClientError, ExportError, Settings};
use rookery_core::{AgentId, PluginName};
use rookery_http::Token;

use crate::ask::agent;
use crate::ask::harmless::harmless;
use crate::command::Hint;
use crate::terminal::Terminal;
use local::Files;
use target::Target;

/// `rookery agents`.
#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// List agents that keep something
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show what an agent keeps
    Show(One),
    /// Remove an agent: all it keeps, and its runs
    Rm(Remove),
    /// Write what an agent keeps into a file, also while it lives
    Export(Export),
    /// Make a file that was exported an agent that keeps nothing yet
    Import(Import),
    /// Begin a new agent with what another one keeps, also while that one lives
    Fork(Fork),
}

/// `rookery agents ls`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only agents of this plugin
    plugin: Option<PluginName>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// `rookery agents show`.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Which agent: a plugin and a name, such as `chat/alice`
    #[arg(value_parser = agent)]
    agent: AgentId,
    /// All that is known of it, as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// `rookery agents rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Which agent: a plugin and a name, such as `chat/alice`
    #[arg(value_parser = agent)]
    agent: AgentId,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

/// `rookery agents export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Which agent: a plugin and a name, such as `chat/alice`
    #[arg(value_parser = agent)]
    agent: AgentId,
    /// The file, which must not exist yet
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// `rookery agents import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file, which an export wrote
    file: PathBuf,
    /// What the agent is called then: a plugin and a name, such as `chat/bob`
    #[arg(value_parser = agent)]
    agent: AgentId,
    #[command(flatten)]
    place: Place,
}

/// `rookery agents fork`.
#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// Which agent: a plugin and a name, such as `chat/alice`
    #[arg(value_parser = agent)]
    agent: AgentId,
    /// What the new one is called, such as `chat/bob`
    #[arg(value_parser = agent)]
    new: AgentId,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The admin address of a running host, such as 127.0.0.1:7072. Goes before --data
    #[arg(long, value_name = "ADDRESS", env = "ROOKERY_ADMIN", value_parser = base)]
    admin: Option<Base>,
    /// The token that this host wants
    #[arg(long, value_name = "TOKEN", env = "ROOKERY_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<Token>,
    /// The data folder of a host that does not run
    #[arg(long, value_name = "FOLDER", env = "ROOKERY_DATA", default_value = ".rookery")]
    data: PathBuf,
}

/// Does what is asked.
pub(crate) async fn agents(verb: Agents, terminal: &Arc<Terminal>) -> anyhow::Result<ExitCode> {
    match verb {
        Agents::Ls(list) => ls(list, terminal).await?,
        Agents::Show(One { agent, json, place }) => {
            let state = place.state(agent).await?;
            terminal.answer(&if json { state.json() } else { table::shown(&state, SystemTime::now()) });
        }
        Agents::Rm(remove) => return rm(remove, terminal).await,
        Agents::Export(export) => self::export(export, terminal).await?,
        Agents::Import(import) => self::import(import, terminal).await?,
        Agents::Fork(Fork { agent, new, place }) => {
            let (from, to) = (agent.clone(), new.clone());
            let made = match place.admin() {
                Some(admin) => admin.fork(&agent, &new).await.map_err(refused)?,
                None => place.on_disk(move |files| files.fork(&from, &to)).await?,
            };
            terminal.answer(&format!("forked {agent} to {new} ({})", table::size(made.bytes)));
            warn_unserved(&made, &new, terminal);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ls(List { plugin, json, place }: List, terminal: &Terminal) -> anyhow::Result<()> {
    let mut agents = Vec::new();
    let mut take = |page: Vec<Agent>| match json {
        true => page.iter().for_each(|agent| terminal.answer(&agent.json())),
        false => agents.extend(page),
    };
    match place.admin() {
        Some(admin) => {
            let mut pages = admin.list(plugin.as_ref());
            while let Some(page) = pages.next().await {
                take(page.map_err(refused)?);
            }
        }
        None => take(place.on_disk(move |files| files.list(plugin.as_ref())).await?),
    }
    match (json, agents.is_empty()) {
        (true, _) => {}
        (false, true) => terminal.note("no agent keeps anything"),
        (false, false) => terminal.answer(&table::listed(&agents, SystemTime::now())),
    }
    Ok(())
}

async fn rm(Remove { agent, yes, place }: Remove, terminal: &Arc<Terminal>) -> anyhow::Result<ExitCode> {
    if !yes {
        let state = place.state(agent.clone()).await?;
        if !std::io::stdin().is_terminal() {
            let error = anyhow::anyhow!("nobody is there to be asked whether to remove agent `{agent}`");
            return Err(error.context(Hint::new("add --yes")));
        }
        let question = format!("remove {agent} ({}) for good?", table::belongings(&state));
        let asked = terminal.clone();
        if !tokio::task::spawn_blocking(move || asked.confirm(&question)).await?? {
            terminal.note("nothing was removed");
            return Ok(ExitCode::FAILURE);
        }
    }
    let gone = match place.admin() {
        Some(admin) => admin.remove(&agent).await.map_err(refused)?,
        None => {
            let whose = agent.clone();
            place.on_disk(move |files| files.remove(&whose)).await?
        }
    };
    terminal.answer(&format!("removed {agent}: {}", table::belongings(&gone)));
    Ok(ExitCode::SUCCESS)
}

async fn export(Export { agent, file, place }: Export, terminal: &Terminal) -> anyhow::Result<()> {
    let bytes = match place.admin() {
        Some(admin) => {
            let mut target = Target::create(&file).await?;
            let bytes = admin.export(&agent, target.file()).await.map_err(|error| match error {
                ExportError::Client(error) => refused(error),
                ExportError::Written(error) => target::unwritten(&file, &error),
            })?;
            target.finish().await?;
            bytes
        }
        None => {
            let (whose, to) = (agent.clone(), file.clone());
            place.on_disk(move |files| files.export(&whose, &to)).await?
        }
    };
    terminal.answer(&format!("exported {agent} to {} ({})", file.display(), table::size(bytes)));
    Ok(())
}

async fn import(Import { file, agent, place }: Import, terminal: &Terminal) -> anyhow::Result<()> {
    let made = match place.admin() {
        Some(admin) => {
            let unread = |error| {
                let error = anyhow::anyhow!("`{}` cannot be read: {error}", file.display());
                error.context(Hint::new("name a file that an export wrote"))
            };
            let opened = tokio::fs::File::open(&file).await.map_err(unread)?;
            let length = opened.metadata().await.map_err(unread)?.len();
            admin.import(&agent, opened, length).await.map_err(refused)?
        }
        None => {
            let (whose, from) = (agent.clone(), file.clone());
            place.on_disk(move |files| files.import(&whose, &from)).await?
        }
    };
    terminal.answer(&format!("imported {} as {agent} ({})", file.display(), table::size(made.bytes)));
    warn_unserved(&made, &agent, terminal);
    Ok(())
}

/// An agent may well come to be before its plugin does; but more often a name was mistyped.
fn warn_unserved(made: &Agent, agent: &AgentId, terminal: &Terminal) {
    if made.served == Some(false) {
        let plugin = &agent.plugin;
        let warning = format!("no plugin `{plugin}` is served there, so nobody can ask the agent yet");
        let hint = format!("serve `{plugin}.wasm`, or remove the agent: rookery agents rm {agent}");
        terminal.warning(&warning, Some(&hint));
    }
}

impl Place {
    fn admin(&self) -> Option<Admin> {
        let base = self.admin.clone()?;
        Some(Admin::new(base, Settings::default(), self.admin_token.as_ref().map(Token::secret)))
    }

    async fn state(&self, agent: AgentId) -> anyhow::Result<Agent> {
        match self.admin() {
            Some(admin) => admin.state(&agent).await.map_err(refused),
            None => self.on_disk(move |files| files.state(&agent)).await,
        }
    }

    /// Does it in the data folder, on a thread that may wait for the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let files = Files::new(self.data.clone());
        tokio::task::spawn_blocking(move || work(&files)).await?
    }
}

fn refused(error: ClientError) -> anyhow::Error {
    let hint = match &error {
        ClientError::Unreachable { .. } => Some(
            "start the host with --admin; or leave --admin and ROOKERY_ADMIN out, and it is done in the data folder",
        ),
        ClientError::Unanswered { .. } => Some("`rookery agents show` tells what became of it"),
        ClientError::Foreign { .. } => Some("name the address that the host says `admin on` of"),
        ClientError::Problem(problem) => match problem.code.as_str() {
            "unauthorized" | "too-many-tokens" => Some("put the host's token into ROOKERY_ADMIN_TOKEN"),
            "not-found" => Some("name the address that the host says `admin on` of"),
            _ => None,
        },
        _ => None,
    };
    let shown = anyhow::anyhow!("{}", harmless(&error.to_string()));
    match hint {
        Some(hint) => shown.context(Hint::new(hint)),
        None => shown,
    }
}

/// Where a host is, as it is told to one: without `http://`, which is all that is spoken.
fn base(text: &str) -> Result<Base, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    url.parse().map_err(|error: rookery_client::BaseError| error.to_string())
}

/// Where a host shall listen; also as one writes where it is, so that one variable does for both.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").map_or(text, |address| address.trim_end_matches('/'));
    address.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:7072".into())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    enum Verb {
        #[command(subcommand)]
        Agents(Agents),
    }

    #[test]
    fn the_words_are_well_formed_and_names_are_checked_before_anything_is_done() {
        Verb::command().debug_assert();
        for good in [
            "ls",
            "list chat --json --data /data",
            "show chat/alice --admin 127.0.0.1:7072",
            "rm chat/alice -y --admin http://[::1]:7072/",
            "export chat/alice alice.db --admin host:7072 --admin-token 0123456789abcdef",
            "import alice.db chat/bob",
            "fork chat/alice other/bob",
        ] {
            let words = ["", "agents"].into_iter().chain(good.split(' '));
            assert!(Verb::try_parse_from(words).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ls Chat",
            "show chat",
            "rm chat/..",
            "export chat/alice",
            "import chat/alice",
            "fork chat/alice",
            "ls --admin https://a",
            "ls --admin-token short",
        ] {
            let words = ["", "agents"].into_iter().chain(bad.split(' '));
            assert!(Verb::try_parse_from(words).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_text_tells_a_host_where_to_listen_and_a_person_where_it_is() {
        for text in ["127.0.0.1:7072", "http://127.0.0.1:7072", "http://127.0.0.1:7072/"] {
            assert_eq!(address(text), Ok("127.0.0.1:7072".parse().unwrap()), "{text}");
            assert_eq!(base(text).unwrap().to_string(), "http://127.0.0.1:7072", "{text}");
        }
        assert!(address("localhost").unwrap_err().contains("127.0.0.1:7072"));
    }
}
