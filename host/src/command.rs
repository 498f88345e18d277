//! The command line: what can be asked for, and what it answers with.
//!
//! Exit codes: 0 when what was asked for was done, 1 when it could not be, 2 when it was not understood, and 130 when
//! ctrl-c left a run that goes on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rookery_agents::Limits;
use rookery_cassettes::Cassettes;
use rookery_core::{ByteSize, Span};
use rookery_engine::EngineError;
use rookery_http::Token;
use rookery_models::{Dialect, ModelName, Provider};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::interrupts::Interrupts;
use crate::terminal::Terminal;
use crate::{Admin, Config, Host, Keeping, LockError, Settings, agents, ask, cassettes, dev, usage};

/// Hosts agents written as WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, propagate_version = true)]
struct Command {
    /// What goes to the log on stderr: error, warn, info, debug, trace, or a filter such as `guest=debug,warn`
    #[arg(long, global = true, env = "ROOKERY_LOG", default_value = "info")]
    log: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the plugins of a folder
    Serve {
        /// The folder with the plugins: `<name>.wasm`, and beside it `<name>.toml` where it needs one
        folder: PathBuf,
        #[command(flatten)]
        serving: Serving,
    },
    /// Build the guest projects of a folder, and serve them together with the practice model
    Dev {
        /// The folder with the projects: a cargo workspace or package, or folders that are
        folder: PathBuf,
        #[command(flatten)]
        serving: Serving,
        /// Where the practice model listens
        #[arg(
            long,
            value_name = "ADDRESS",
            env = "ROOKERY_PRACTICE_LISTEN",
            default_value = "127.0.0.1:7071"
        )]
        practice_listen: SocketAddr,
        /// How long the practice model waits between two tokens
        #[arg(long, value_name = "SPAN", default_value = "30ms")]
        practice_delay: Span,
        #[command(flatten)]
        cassettes: cassettes::Options,
    },
    /// Send a prompt to an agent, and write the answer as it comes
    Prompt(ask::Prompt),
    /// List, show, follow and cancel runs
    #[command(subcommand)]
    Runs(ask::Runs),
    /// List, show, remove, export, import and fork agents: each is a file
    ///
    /// With --admin, a running host does it; without, it is done in the data folder of a host that does not run. Looking
    /// and exporting works there in any case.
    #[command(subcommand)]
    Agents(agents::Agents),
    /// Show what models were asked and what that cost, of a host that may be running
    Usage(usage::Usage),
    /// Serve the practice model alone: an OpenAI-compatible model that needs no key and no network
    ///
    /// `curl http://127.0.0.1:7071/` tells what it answers to which prompt.
    PracticeModel {
        /// Where it listens; port 0 takes any free one
        #[arg(
            long,
            value_name = "ADDRESS",
            env = "ROOKERY_PRACTICE_LISTEN",
            default_value = "127.0.0.1:7071"
        )]
        listen: SocketAddr,
        /// How long it waits between two tokens
        #[arg(long, value_name = "SPAN", default_value = "30ms")]
        delay: Span,
    },
}

#[derive(Debug, Args)]
struct Serving {
    /// Where clients come in; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", env = "ROOKERY_LISTEN", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// The host's own file: the models that plugins may be granted. Without this, `rookery.toml` is read where it is in the
    /// current folder
    #[arg(long, value_name = "FILE", env = "ROOKERY_CONFIG")]
    config: Option<PathBuf>,
    /// Where those come in who look after agents (`rookery agents`, and `/admin/agents` over HTTP); nobody may if there is
    /// none
    #[arg(long, value_name = "ADDRESS", env = "ROOKERY_ADMIN", value_parser = agents::address)]
    admin: Option<SocketAddr>,
    /// What they have to show, 16 characters or more; has to be there where other machines reach the address. It is
    /// answered at any time; whoever sends more than 30 wrong ones a minute is told to come back. In the variable it is
    /// not seen in the list of processes
    #[arg(long, value_name = "TOKEN", env = "ROOKERY_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<Token>,
    /// What the host keeps between starts: agents' storage, runs and their streams, and compiled code
    #[arg(long, value_name = "FOLDER", env = "ROOKERY_DATA", default_value = ".rookery")]
    data: PathBuf,
    /// How long running runs may go on after ctrl-c
    #[arg(long, value_name = "SPAN", env = "ROOKERY_DRAIN", default_value = "30s")]
    drain: Span,
    /// Whether runs are kept on disk, so that clients can come back to them and a restart loses none
    #[arg(long, value_name = "ON|OFF", env = "ROOKERY_KEEP", default_value = "on")]
    keep: Switch,
    /// How long finished runs are kept
    #[arg(long, value_name = "SPAN", env = "ROOKERY_KEEP_FOR", default_value = "7d")]
    keep_for: Span,
    /// How many finished runs are kept of each agent
    #[arg(long, value_name = "COUNT", env = "ROOKERY_KEEP_RUNS", default_value_t = 1_000, value_parser = at_least_one)]
    keep_runs: usize,
    /// What committed runs and agents' storage survive: `normal` the end of the process, `full` that of the machine
    #[arg(long, value_name = "LEVEL", env = "ROOKERY_DURABILITY", default_value = "normal")]
    durability: Durability,
    /// How long chunks may be on the wire before they are committed, at most 40ms
    #[arg(long, value_name = "SPAN", env = "ROOKERY_GATHER", default_value = "5ms", value_parser = at_most_40ms)]
    gather: Span,
    /// Send nothing that is not committed
    #[arg(long, env = "ROOKERY_STRICT")]
    strict: bool,
    /// How many agents may be live at once; for one more, the longest idle one loses its instance
    #[arg(long, value_name = "COUNT", env = "ROOKERY_MAX_LIVE", default_value_t = 10_000, value_parser = at_least_one)]
    max_live: usize,
    /// How many runs may be queued or running at once, over all agents
    #[arg(long, value_name = "COUNT", env = "ROOKERY_MAX_RUNS", default_value_t = 16_384, value_parser = at_least_one)]
    max_runs: usize,
    /// How many connections clients may have open at once
    #[arg(long, value_name = "COUNT", env = "ROOKERY_MAX_CONNECTIONS", default_value_t = 8_192, value_parser = at_least_one)]
    max_connections: usize,
    /// How large a prompt's body may be
    #[arg(long, value_name = "SIZE", env = "ROOKERY_MAX_BODY", default_value = "4MiB")]
    max_body: ByteSize,
    /// How much memory may hold prompts of runs that are queued or running
    #[arg(long, value_name = "SIZE", env = "ROOKERY_PROMPT_MEMORY", default_value = "256MiB")]
    prompt_memory: ByteSize,
    /// How much memory may hold output that clients have not read yet; past it, clients that are behind are
    /// disconnected, while their runs go on. Counts only with `--keep off`: runs that are kept are read from disk
    #[arg(long, value_name = "SIZE", env = "ROOKERY_UNREAD_MEMORY", default_value = "512MiB")]
    unread_memory: ByteSize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Durability {
    Normal,
    Full,
}

impl From<Durability> for rookery_core::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Normal => Self::Normal,
            Durability::Full => Self::Full,
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let command = Command::parse();
    let terminal = Arc::new(Terminal::new());
    match run(command, &terminal) {
        Ok(code) => code,
        Err(error) => {
            terminal.rest();
            let hint = error.downcast_ref::<Hint>().map(|hint| hint.0.as_str());
            let error = match hint {
                Some(_) => error.chain().skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": "),
                None => format!("{error:#}"),
            };
            terminal.error(&error, hint);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, terminal: &Arc<Terminal>) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_new(&command.log).map_err(|error| {
        anyhow::anyhow!("--log {:?} is no filter: {error}", command.log)
            .context(Hint::new("write a level, such as `info`"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal.colours())
        .init();
    // One is always left to those who need it for a moment, whatever guests compute (see `rookery_engine::Engine`).
    let threads = std::thread::available_parallelism().map_or(2, Into::into).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        match command.verb {
            Verb::Serve { folder, serving } => {
                let reach = Reach {
                    settings: Settings::found(serving.config.as_deref(), terminal)?,
                    cassettes: None,
                };
                serve(folder, serving, reach, threads, terminal).await.map(|()| ExitCode::SUCCESS)
            }
            Verb::Dev { folder, serving, practice_listen, practice_delay, cassettes } => {
                // First, so that a file that is malformed, or a port that is taken, is said before minutes of building.
                let mut settings = Settings::found(serving.config.as_deref(), terminal)?;
                let cassettes = cassettes.open(terminal)?;
                let practice = practice(practice_listen, practice_delay, CancellationToken::new()).await?;
                let (building, shown) = (folder.clone(), terminal.clone());
                let built = tokio::task::spawn_blocking(move || dev::build(&building, &shown)).await??;
                terminal.answer(&format!("practice model on http://{}/v1", practice.address));
                let (name, provider) = practised(practice.address)?;
                settings.models.entry(name.clone()).or_insert_with(|| vec![provider]);
                settings.prices.entry(name).or_default();
                serve(built, serving, Reach { settings, cassettes }, threads, terminal)
                    .await
                    .map(|()| ExitCode::SUCCESS)
            }
            Verb::PracticeModel { listen, delay } => {
                let stop = CancellationToken::new();
                let practice = practice(listen, delay, stop.clone()).await?;
                let mut interrupts = Interrupts::listen()?;
                terminal.answer(&format!("practice model on http://{}/v1", practice.address));
                interrupts.next().await;
                stop.cancel();
                practice.serving.await??;
                Ok(ExitCode::SUCCESS)
            }
            Verb::Prompt(prompt) => ask::prompt(prompt, terminal).await,
            Verb::Runs(runs) => ask::runs(runs, terminal).await,
            Verb::Agents(verb) => agents::agents(verb, terminal).await,
            Verb::Usage(usage) => usage::usage(usage, terminal).await,
        }
    })
}

/// What agents reach, and how.
struct Reach {
    settings: Settings,
    cassettes: Option<Cassettes>,
}

async fn serve(
    folder: PathBuf,
    serving: Serving,
    reach: Reach,
    threads: usize,
    terminal: &Arc<Terminal>,
) -> anyhow::Result<()> {
    let drain = serving.drain.0;
    let shown = terminal.clone();
    let cassettes = reach.cassettes.clone();
    let config = config(&folder, serving, reach, threads);
    let host = Host::start(config, move |loading| shown.loading(&loading)).await;
    let host = host.map_err(hinted)?;
    terminal.rest();
    let served: Vec<_> = host.directory().plugins().map(|(name, _)| name.to_string()).collect();
    if served.is_empty() {
        return Err(nothing_to_serve(&folder, host.refused().len()));
    }
    let mut interrupts = Interrupts::listen()?;
    let (address, example) = (host.address(), &served[0]);
    terminal.note(&format!("serving {}", served.join(", ")));
    terminal.note(&format!("try: curl -N http://{address}/agents/{example}/alice -d 'hello'"));
    if let Some(admin) = host.admin() {
        terminal.answer(&format!("admin on http://{admin}"));
    }
    terminal.answer(&format!("listening on http://{address}"));

    interrupts.next().await;
    drain_until_interrupted(host, drain, &mut interrupts, terminal).await?;
    if let Some(cassettes) = &cassettes {
        cassettes::settle(cassettes, terminal).await;
    }
    Ok(())
}

/// Drains; a second ctrl-c stops at once.
async fn drain_until_interrupted(
    host: Host,
    grace: Duration,
    interrupts: &mut Interrupts,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let running = host.directory().running();
    if running > 0 {
        let runs = if running == 1 { "run" } else { "runs" };
        let grace = Span(grace);
        terminal
            .note(&format!("draining: {running} {runs} may take {grace} to end; ctrl-c again stops at once"));
    }
    tokio::select! {
        left = host.drain(grace) => {
            if left > 0 {
                terminal.warning(&format!("{left} of them did not end in time and were interrupted"), None);
            }
            Ok(())
        }
        () = interrupts.next() => anyhow::bail!("stopped at once; runs that had not ended were lost"),
    }
}

/// How runs are kept, if they are.
fn keeping(serving: &Serving) -> Option<Keeping> {
    let settings = rookery_archive::Settings {
        folder: serving.data.clone(),
        durability: serving.durability.into(),
        gather: serving.gather.0,
        keep_for: serving.keep_for.0,
        keep: serving.keep_runs,
    };
    matches!(serving.keep, Switch::On).then_some(Keeping { settings, strict: serving.strict })
}

fn config(folder: &std::path::Path, serving: Serving, reach: Reach, threads: usize) -> Config {
    let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let runs = keeping(&serving);
    Config {
        folder: folder.to_owned(),
        runs,
        durability: serving.durability.into(),
        storage: serving.data.join("agents"),
        close_after: crate::CLOSE_AFTER,
        code: serving.data.join("code"),
        listen: serving.listen,
        admin: serving.admin.map(|listen| Admin { listen, token: serving.admin_token }),
        limits: Limits {
            runs: serving.max_runs,
            live: serving.max_live,
            prompts: bytes(serving.prompt_memory),
            unread: bytes(serving.unread_memory),
        },
        http: rookery_http::Settings {
            max_body: bytes(serving.max_body),
            max_connections: serving.max_connections,
            ..rookery_http::Settings::default()
        },
        models: reach.settings.models,
        prices: reach.settings.prices,
        usage: rookery_usage::Settings {
            durability: serving.durability.into(),
            ..rookery_usage::Settings::new(&serving.data)
        },
        outgoing: rookery_outgoing::ClientSettings {
            cassettes: reach.cassettes,
            ..rookery_outgoing::ClientSettings::default()
        },
        environment: Arc::new(|name| std::env::var(name).ok()),
        threads,
    }
}

/// The practice model, as plugins may be granted it.
fn practised(address: SocketAddr) -> anyhow::Result<(ModelName, Provider)> {
    let provider = Provider::new(Dialect::OpenAi, format!("http://{address}/v1"), "practice");
    Ok(("practice".parse()?, provider))
}

struct Practice {
    address: SocketAddr,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn practice(listen: SocketAddr, delay: Span, stop: CancellationToken) -> anyhow::Result<Practice> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        anyhow::anyhow!("the practice model cannot listen on {listen}: {error}")
            .context(Hint::new("stop what listens there, or choose another address for the practice model"))
    })?;
    let address = listener.local_addr()?;
    let settings = rookery_practice::Settings { delay: delay.0 };
    let serving =
        tokio::spawn(rookery_practice::serve(listener, settings, async move { stop.cancelled().await }));
    Ok(Practice { address, serving })
}

/// What to do about an error; the error itself is below it in the chain.
#[derive(Debug)]
pub(crate) struct Hint(String);

impl Hint {
    pub(crate) fn new(hint: impl Into<String>) -> Self {
        Self(hint.into())
    }
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn hinted(error: crate::StartError) -> anyhow::Error {
    let hint = match &error {
        crate::StartError::Listen(..) => {
            "stop what listens there, or choose another address with --listen or --admin".into()
        }
        crate::StartError::Exposed(_) => {
            "put a secret of 16 characters or more into ROOKERY_ADMIN_TOKEN, or listen on 127.0.0.1".into()
        }
        crate::StartError::Lock(LockError::InUse { .. }) => {
            "stop it, or give this one a folder of its own with --data".into()
        }
        crate::StartError::Lock(error) => error.hint(),
        crate::StartError::Folder(error) => error.hint(),
        crate::StartError::Database(error) => error.hint(),
        crate::StartError::Storage(error) => error.hint().into(),
        crate::StartError::Engine(EngineError::Cache(..)) => {
            "name a folder that this user may write to with --data".into()
        }
        crate::StartError::Engine(_) => {
            "lower --max-live, or give the program more address space (`ulimit -v`)".into()
        }
        crate::StartError::Models(_) => "mend it in the host's rookery.toml".into(),
        crate::StartError::Loading(_) => return error.into(),
    };
    anyhow::Error::new(error).context(Hint::new(hint))
}

fn nothing_to_serve(folder: &std::path::Path, refused: usize) -> anyhow::Error {
    let folder = folder.display();
    if refused > 0 {
        let error = anyhow::anyhow!("nothing in `{folder}` can be served; the warnings above say why");
        return error.context(Hint::new("mend one of them, and start again"));
    }
    let error = anyhow::anyhow!("`{folder}` is empty: there is no .wasm file in it");
    error.context(Hint::new("put components there, or build the examples with `rookery dev guest-examples`"))
}

fn at_most_40ms(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: rookery_core::UnitError| error.to_string())?;
    if span.0 <= Duration::from_millis(40) { Ok(span) } else { Err("it may be 40ms at most".into()) }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("write a whole number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Command::command().debug_assert();
    }
}
