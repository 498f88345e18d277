//! The engine: one per host, with its settings, its clock for guests, and what components may import.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rookery_alarms::{Kept, WallClock, system_clock};
use rookery_core::{AgentId, PluginName};
use rookery_leaks::Guard;
use rookery_outgoing::Client;
use rookery_storage::Databases;
use wasmtime::component::Linker;
use wasmtime::{Config, PoolingAllocationConfig};
use wasmtime_wasi_config::WasiConfig;

use crate::alarms::Alarms;
use crate::cache::Cache;
use crate::closing::File;
use crate::contract;
use crate::error::LoadError;
use crate::gates::Gates;
use crate::http;
use crate::keyvalue;
use crate::plugin::{Loaded, Source};
use crate::state::State;
use crate::turns::{Ticker, Turns};

/// What differs between engines.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where compiled code is kept between starts.
    pub cache: PathBuf,
    /// How many threads poll guests; see [`crate::Engine`].
    pub threads: usize,
    /// What agents keep.
    pub storage: Databases,
    /// How long a file of theirs that nothing uses stays open under an instance that lives on: at least so long, and at most
    /// twice that and what closing others before it takes.
    pub close_after: Duration,
    /// How many instances may be live at once, where the system has room for so many; see [`Engine::live`].
    pub live: usize,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder for compiled code cannot be made.
    #[error("the folder {0} for compiled code cannot be made: {1}")]
    Cache(PathBuf, std::io::Error),
    /// The engine does not start on this machine.
    #[error("the WebAssembly engine does not start: {0}")]
    Start(String),
    /// There is not as much address space as so many instances need.
    #[error("there is no room for {0} live agents: {1}")]
    Room(usize, String),
}

/// Loads plugins. Guests that compute for long share all but one of the host's threads.
pub struct Engine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: Linker<State>,
    pub(crate) turns: Turns,
    pub(crate) client: Client,
    pub(crate) gates: Gates,
    pub(crate) wall: WallClock,
    /// Of each plugin that was loaded.
    pub(crate) guards: Mutex<BTreeMap<PluginName, Guard>>,
    live: usize,
    cache: Cache,
    _ticker: Ticker,
}

/// An agent's file that nobody uses until this is dropped.
#[must_use]
pub struct Reserved {
    _file: File,
}

impl Engine {
    /// An engine whose guests send their requests with `client`. On the runtime that it is to run on.
    ///
    /// # Errors
    ///
    /// When the cache folder cannot be made, or the machine cannot run compiled wasm.
    pub fn new(settings: Settings, client: Client) -> Result<Arc<Self>, EngineError> {
        let start = |error: wasmtime::Error| EngineError::Start(format!("{error:#}"));
        let cache = Cache::open(settings.cache.clone())
            .map_err(|error| EngineError::Cache(settings.cache.clone(), error))?;
        let live = room(settings.live);
        let engine = wasmtime::Engine::new(&config(live))
            .map_err(|error| EngineError::Room(live, format!("{error:#}")))?;
        let ticker = Ticker::start(&engine).map_err(|error| EngineError::Start(error.to_string()))?;
        let linker = linker(&engine).map_err(start)?;
        let turns = Turns::new(&ticker, settings.threads);
        let gates = Gates::new(settings.storage, settings.close_after);
        let wall = system_clock();
        let guards = Mutex::default();
        Ok(Arc::new(Self {
            engine,
            linker,
            turns,
            client,
            gates,
            wall,
            guards,
            live,
            cache,
            _ticker: ticker,
        }))
    }

    /// How many instances can be live at once: what was asked for, or what there is room for.
    pub fn live(&self) -> usize {
        self.live
    }

    /// How often values that the host adds to requests were found in what guests wrote, and masked: by plugin, under the
    /// values' names.
    pub fn leaks(&self) -> Vec<(PluginName, String, u64)> {
        let guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let hits = guards.iter().flat_map(|(plugin, guard)| {
            guard.hits().map(|(name, times)| (plugin.clone(), name.to_owned(), times))
        });
        hits.collect()
    }

    /// Waits until the file of an agent that has no instance is closed, and lets nobody at it until this is dropped: not
    /// the clock either, which looks for alarms in it.
    pub async fn reserve(&self, agent: &AgentId) -> Reserved {
        Reserved { _file: self.gates.reserve(agent).await }
    }

    /// Waits until the files of all agents are closed that have no instance any more.
    pub async fn all_closed(&self) {
        self.gates.all_closed().await;
    }

    /// Where a clock finds the alarms of this host's agents.
    pub fn alarms(&self) -> Arc<dyn Kept> {
        Arc::new(Alarms(self.gates.clone()))
    }

    /// Loads a plugin: checks it, and compiles it unless that was done before. Blocks for as long as compiling takes,
    /// a tenth of a second for a small Rust component and ten seconds for a Python one.
    ///
    /// # Errors
    ///
    /// When the component cannot be served.
    pub fn load(self: &Arc<Self>, source: Source) -> Result<Loaded, LoadError> {
        crate::error::check_header(&source.component)?;
        let component = match self.cache.get(&self.engine, &source.digest) {
            Some(component) => component,
            None => {
                let component = wasmtime::component::Component::new(&self.engine, &source.component)
                    .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
                self.cache.put(&self.engine, &source.digest, &component);
                component
            }
        };
        Loaded::new(self.clone(), &component, source)
    }
}

fn config(live: usize) -> Config {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    config.epoch_interruption(true);
    config.generate_address_map(true);
    config.allocation_strategy(pooling(live));
    config
}

/// How many memory mappings a live instance takes: four for its memory and table, two for the stack of its calls. Counted
/// for a Rust component, with `wc -l /proc/<pid>/maps` at 1,000 and at 10,000 agents.
const MAPPINGS: usize = 6;

/// Mappings that are left for everything else. Where they run out the allocator fails, and with it the host.
const OTHER_MAPPINGS: usize = 4_000;

/// The room for instances that the system leaves, if that is less than `live`. Linux lets a process have so many mappings
/// and no more, by default 65,530.
fn room(live: usize) -> usize {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    let Some(mappings) = limit.ok().and_then(|limit| limit.trim().parse::<usize>().ok()) else { return live };
    let room = (mappings.saturating_sub(OTHER_MAPPINGS) / MAPPINGS).max(1);
    if room < live {
        tracing::warn!(
            "at most {room} agents can be live at once, not {live}: this system lets a process have {mappings} memory \
             mappings; raise `vm.max_map_count` for more"
        );
    }
    live.min(room)
}

/// Room for `live` instances of ordinary components: a Rust one has a memory and three or four core instances, the
/// largest of other languages have ten. The pool reserves addresses, four GiB a memory, and no memory; what a slot was
/// used for goes back to the system when its instance is dropped.
fn pooling(live: usize) -> PoolingAllocationConfig {
    // Some to spare, for components that have more than one and for instances that are just going.
    let count = |per_agent: usize| {
        let count = live.saturating_mul(per_agent).saturating_add(live / 64 + 16);
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(1));
    pool.total_core_instances(count(5));
    pool.total_memories(count(1));
    pool.total_tables(count(2));
    // Each stack takes two of the memory mappings that a process may have (its guard page is one), used or not, and a live
    // instance keeps the one that its calls run on.
    pool.total_stacks(count(1));
    pool
}

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, |state: &mut State| WasiConfig::new(state.config()))?;
    http::link(&mut linker)?;
    keyvalue::link(&mut linker)?;
    contract::link(&mut linker)?;
    Ok(linker)
}
