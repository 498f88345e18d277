//! A host: an engine, the plugins of a folder, their agents, and the listener in front of them.
//!
//! What differs by environment comes in with [`Config`], so two hosts fit in one process.
//! Ends when: it is drained. Dropping it stops the listener and interrupts what runs.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rookery_agents::archive::Archive;
use rookery_agents::{Archiving, Directory, Limits};
use rookery_alarms::Clock;
use rookery_engine::{Engine, EngineError};
use rookery_outgoing::{Client, ClientSettings};
use rookery_storage::{Databases, Durability, FileError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::load::{self, Loading, Refused};
use crate::rings::{Rings, Ticking};

/// How the host looks up environment variables for `${NAME}` in sidecars.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How long clients may take for the last bytes of their streams after all runs have ended.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// Everything a host needs to know.
#[derive(Clone)]
pub struct Config {
    /// The plugins.
    pub folder: PathBuf,
    /// What agents keep.
    pub storage: PathBuf,
    /// Compiled code, which can be made again.
    pub code: PathBuf,
    /// Where clients come in; port 0 takes any free one.
    pub listen: SocketAddr,
    /// What it may hold.
    pub limits: Limits,
    /// What a commit of an agent's storage survives.
    pub durability: Durability,
    /// Where and how runs are kept. None keeps a run only until it has ended and was read.
    pub runs: Option<Keeping>,
    /// How it speaks to clients.
    pub http: rookery_http::Settings,
    /// How its guests' requests are sent.
    pub outgoing: ClientSettings,
    /// Where sidecars find `${NAME}`.
    pub environment: Environment,
    /// How many threads run guests and load plugins; as many as the runtime that the host is started on.
    pub threads: usize,
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
    /// The runs that were kept cannot be opened.
    #[error(transparent)]
    Runs(#[from] rookery_archive::OpenError),
    /// The folder of agents' storage cannot be made.
    #[error(transparent)]
    Storage(#[from] FileError),
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
    directory: Directory,
    refused: Vec<Refused>,
    server: JoinHandle<()>,
    stop: DropGuard,
    agents: DropGuard,
    runs: Option<rookery_archive::Runs>,
    clock: Ticking,
    engine: Arc<Engine>,
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
        let listening = |error| StartError::Listen(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;

        let runs = open(config.runs).await?;
        let storage = Databases::open(config.storage, config.durability)?;
        let (clock, works) = Clock::new(rookery_alarms::Limits::default(), rookery_alarms::system_clock());
        let due = clock.clone();
        storage.on_alarm(move |agent, at| due.due(agent, at));
        let settings = rookery_engine::Settings {
            cache: config.code,
            threads: config.threads,
            storage,
            live: config.limits.live,
        };
        let engine = Engine::new(settings, Client::new(config.outgoing))?;
        let limits = Limits { live: engine.live(), ..config.limits };
        let (folder, environment, threads) = (config.folder, config.environment, config.threads);
        let loaded = engine.clone();
        let loading = move || load::load(&loaded, &folder, &*environment, threads, &report);
        let (plugins, refused) =
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
        Ok(Self {
            address,
            directory,
            refused,
            server: tokio::spawn(serving),
            stop: stop.drop_guard(),
            agents,
            runs,
            clock: Ticking(clock),
            engine,
        })
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.address
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
        let last_writes = async {
            self.clock.0.settled().await;
            self.engine.all_closed().await;
        };
        if timeout(LAST_BYTES, last_writes).await.is_err() {
            tracing::warn!(
                "agents' files were still being written {LAST_BYTES:?} after the last run had ended"
            );
        }
        drop((self.stop, self.agents));
        let mut server = self.server;
        if timeout(LAST_BYTES, &mut server).await.is_err() {
            tracing::warn!(
                "clients were still reading {LAST_BYTES:?} after the last run had ended; leaving them"
            );
            server.abort();
        }
        if let Some(runs) = self.runs {
            let closing = tokio::task::spawn_blocking(move || runs.close());
            if timeout(LAST_BYTES, closing).await.is_err() {
                tracing::error!("runs were still being written {LAST_BYTES:?} after the last one had ended");
            }
        }
        interrupted
    }
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
