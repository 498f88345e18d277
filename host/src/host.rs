//! A host: an engine, the plugins of a folder, their agents, and the listener in front of them.
//!
//! What differs by environment comes in with [`Config`], so two hosts fit in one process.
//! Ends when: it is drained. Dropping it stops the listener and interrupts what runs.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rookery_agents::archive::Archive;
use rookery_agents::{Archiving, Directory, Limits};
use rookery_alarms::Clock;
use rookery_core::Durability;
use rookery_engine::{Engine, EngineError};
use rookery_http::Token;
use rookery_models::{ModelName, Models, Provider};
use rookery_outgoing::{Client, ClientSettings};
use rookery_storage::{Databases, FileError};
use rookery_usage::{Ledger, Price};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admin::{Agents, Copies};
use crate::load::{self, Loaded, Loading, Reach, Refused};
use crate::lock::{Lock, LockError};
use crate::metrics::Counted;
use crate::rings::{Rings, Ticking};

/// How the host looks up environment variables for `${NAME}` in sidecars.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How long clients may take for the last bytes of their streams after all runs have ended.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// How long an agent's file stays open that nothing uses, by default: opening it again takes a fraction of a millisecond,
/// which is nothing once in ten seconds, and agents that wait for a model or a person for longer do so for much longer.
pub const CLOSE_AFTER: Duration = Duration::from_secs(10);

/// How many connections may wait to be taken. With tokio's 128, a thousand readers that come back at once are told to try
/// again, which takes them a second or three.
const BACKLOG: u32 = 4096;

/// Everything a host needs to know.
#[derive(Clone)]
pub struct Config {
    /// The plugins.
    pub folder: PathBuf,
    /// What agents keep.
    pub storage: PathBuf,
    /// How long a file in it that nothing uses stays open while its agent is live; see
    /// [`rookery_engine::Settings::close_after`].
    pub close_after: Duration,
    /// Compiled code, which can be made again.
    pub code: PathBuf,
    /// Where clients come in; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where those come in who look after agents, if they may.
    pub admin: Option<Admin>,
    /// What it may hold.
    pub limits: Limits,
    /// What a commit of an agent's storage survives.
    pub durability: Durability,
    /// Where and how runs are kept. None keeps a run only until it has ended and was read.
    pub runs: Option<Keeping>,
    /// How it speaks to clients.
    pub http: rookery_http::Settings,
    /// The models that plugins may be granted.
    pub models: BTreeMap<ModelName, Vec<Provider>>,
    /// What they cost, as far as that is known.
    pub prices: BTreeMap<ModelName, Price>,
    /// Where it is counted what was asked of them.
    pub usage: rookery_usage::Settings,
    /// How its guests' requests are sent.
    pub outgoing: ClientSettings,
    /// Where sidecars find `${NAME}`.
    pub environment: Environment,
    /// How many threads run guests and load plugins; as many as the runtime that the host is started on.
    pub threads: usize,
}

/// Who may look after agents.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where they come in; port 0 takes any free one.
    pub listen: SocketAddr,
    /// What they have to show. May be none where the address is one that only this machine reaches.
    pub token: Option<Token>,
}

/// How runs are kept.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// Where, and for how long.
    pub settings: rookery_archive::Settings,
    /// Whether clients see nothing that is not committed.
    pub strict: bool,
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of plugins cannot be read.
    #[error(transparent)]
    Folder(#[from] rookery_plugins::FolderError),
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The runs that were kept, or what models were asked, cannot be opened.
    #[error(transparent)]
    Database(#[from] rookery_database::OpenError),
    /// The folder of agents' storage cannot be made.
    #[error(transparent)]
    Storage(#[from] FileError),
    /// A model cannot be used as it is configured.
    #[error(transparent)]
    Models(#[from] rookery_models::ConfigError),
    /// Another host has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The admin address can be reached from elsewhere, and everybody could use it.
    #[error("the admin address {0} can be reached from other machines, so it needs a token")]
    Exposed(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// A defect of the host.
    #[error("loading the plugins broke off: {0}")]
    Loading(tokio::task::JoinError),
}

/// A host that serves.
pub struct Host {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    directory: Directory,
    refused: Vec<Refused>,
    servers: Vec<JoinHandle<()>>,
    stop: DropGuard,
    agents: DropGuard,
    runs: Option<rookery_archive::Runs>,
    ledger: Ledger,
    clock: Ticking,
    engine: Arc<Engine>,
    /// Let go last: who gets it finds everything written.
    _lock: Lock,
}

impl Host {
    /// Starts a host: takes the address, loads the plugins, and serves. `report` hears how loading goes.
    ///
    /// # Errors
    ///
    /// When there is no such folder, address, or engine. Plugins that cannot be served are no error of the host.
    pub async fn start(
        config: Config,
        report: impl Fn(Loading<'_>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        // First of all, so that a port which is taken is said at once and not after minutes of compiling.
        let (listener, address) = listen(config.listen)?;
        let (admin, token) = match config.admin {
            Some(Admin { listen, token: None }) if !listen.ip().is_loopback() => {
                return Err(StartError::Exposed(listen));
            }
            Some(Admin { listen: address, token }) => (Some(listen(address)?), token),
            None => (None, None),
        };
        let admin_address = admin.as_ref().map(|(_, address)| *address);

        let runs = open(config.runs).await?;
        let databases = Databases::open(config.storage.clone(), config.durability)?;
        let lock = Lock::take(&config.storage)?;
        lock.tell(admin_address);
        let (clock, works) = Clock::new(rookery_alarms::Limits::default(), rookery_alarms::system_clock());
        let due = clock.clone();
        databases.on_alarm(move |agent, at| due.due(agent, at));
        let settings = rookery_engine::Settings {
            cache: config.code,
            threads: config.threads,
            storage: databases.clone(),
            close_after: config.close_after,
            live: config.limits.live,
        };
        let client = Client::new(config.outgoing);
        let models = Models::new(config.models, client.clone())?;
        let ledger = Ledger::open(&config.usage)?;
        let reach = Reach { models, prices: Arc::new(config.prices), ledger: ledger.clone() };
        let engine = Engine::new(settings, client)?;
        let limits = Limits { live: engine.live(), ..config.limits };
        let (folder, environment, threads) = (config.folder, config.environment, config.threads);
        let (loader, copies) = (engine.clone(), Copies::open(&config.storage)?);
        let loading = move || load::load(&loader, &reach, &folder, &*environment, threads, &report);
        let Loaded { plugins, storage, refused } =
            tokio::task::spawn_blocking(loading).await.map_err(StartError::Loading)??;

        let archiving = runs.as_ref().map(|(runs, strict)| {
            let archive: Arc<dyn Archive> = Arc::new(runs.clone());
            Archiving { archive, strict: *strict }
        });
        let runs = runs.map(|(runs, _)| runs);
        let directory = Directory::new(plugins, limits, archiving);
        let (stop, agents) = (CancellationToken::new(), directory.stop_guard());
        works.start(engine.alarms(), Arc::new(Rings(directory.clone())));
        let serving = rookery_http::serve(listener, directory.clone(), config.http, stop.clone());
        let mut servers = vec![tokio::spawn(serving)];
        if let Some((listener, _)) = admin {
            let keeper = Agents::new(databases, directory.clone(), engine.clone(), storage, copies);
            let guards = engine.clone();
            let leaks = move || {
                let found = guards.leaks().into_iter();
                found.map(|(plugin, secret, times)| (plugin.to_string(), secret, times)).collect()
            };
            let counted = Counted::new(directory.clone(), ledger.clone(), Box::new(leaks));
            let (keeper, counted) = (Arc::new(keeper), Arc::new(counted));
            let serving = rookery_http::serve_admin(listener, keeper, counted, token, stop.clone());
            servers.push(tokio::spawn(serving));
        }
        Ok(Self {
            address,
            admin: admin_address,
            directory,
            refused,
            servers,
            stop: stop.drop_guard(),
            agents,
            runs,
            ledger,
            clock: Ticking(clock),
            engine,
            _lock: lock,
        })
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where those come in who look after agents, if they may.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The agents and what is served.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What was in the folder and cannot be served.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Takes no new runs, gives the running ones `grace` to end, ends the rest as interrupted, sees the last events
    /// out, and is gone. Returns how many runs were interrupted.
    pub async fn drain(self, grace: Duration) -> usize {
        // No alarm rings any more; those that ring are runs like all others.
        self.clock.0.stop();
        let interrupted = self.directory.drain(grace).await;
        if timeout(LAST_BYTES, self.clock.0.settled()).await.is_err() {
            tracing::error!("alarms were still being settled {LAST_BYTES:?} after their last run had ended");
        }
        drop((self.stop, self.agents));
        let leaving: Vec<_> = self.servers.iter().map(JoinHandle::abort_handle).collect();
        let serving = async {
            for server in self.servers {
                // It panicked if this is an error, and has said so.
                let _ = server.await;
            }
        };
        if timeout(LAST_BYTES, serving).await.is_err() {
            tracing::warn!(
                "clients were still reading {LAST_BYTES:?} after the last run had ended; leaving them"
            );
            leaving.iter().for_each(AbortHandle::abort);
        }
        if timeout(LAST_BYTES, self.engine.all_closed()).await.is_err() {
            tracing::error!(
                "agents' files were still being closed {LAST_BYTES:?} after the last run had ended"
            );
        }
        if let Some(runs) = self.runs {
            let closing = tokio::task::spawn_blocking(move || runs.close());
            if timeout(LAST_BYTES, closing).await.is_err() {
                tracing::error!("runs were still being written {LAST_BYTES:?} after the last one had ended");
            }
        }
        let ledger = self.ledger;
        let closing = tokio::task::spawn_blocking(move || ledger.close());
        if timeout(LAST_BYTES, closing).await.is_err() {
            tracing::error!("usage was still being written {LAST_BYTES:?} after the last run had ended");
        }
        interrupted
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Else a host that starts again may find its own last connections in its way.
        socket.set_reuseaddr(cfg!(unix))?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    open().map_err(|error| StartError::Listen(address, error))
}

/// Opens the runs that were kept, which takes a while where many of them were interrupted.
async fn open(keeping: Option<Keeping>) -> Result<Option<(rookery_archive::Runs, bool)>, StartError> {
    let Some(Keeping { settings, strict }) = keeping else { return Ok(None) };
    let opening = tokio::task::spawn_blocking(move || rookery_archive::Runs::open(&settings));
    let runs = opening.await.map_err(StartError::Loading)??;
    if runs.recovered() > 0 {
        tracing::warn!(
            runs = runs.recovered(),
            "the host had stopped before these runs ended; they are interrupted"
        );
    }
    Ok(Some((runs, strict)))
}
