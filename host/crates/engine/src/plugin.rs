//! A loaded plugin: checked, compiled, linked, and ready to launch instances from.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use futures_util::future::BoxFuture;
use rookery_agents::guest::{Instance, Plugin, Policy};
use rookery_core::{AgentId, ByteSize, Code, Failure, Generation, PluginName};
use rookery_leaks::{Guard, Secrets};
use rookery_models::Granted;
use rookery_outgoing::{AskedTimeouts, Caller, Grants};
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_config::WasiConfigVariables;

use crate::engine::Engine;
use crate::error::LoadError;
use crate::exports::Exports;
use crate::http::Outgoing;
use crate::instance::{Launched, trapped};
use crate::leaks::Leaks;
use crate::memory::Memory;
use crate::model::Models;
use crate::state::State;

/// What a plugin is made of: the component and what its sidecar says.
pub struct Source {
    /// The plugin's name.
    pub name: PluginName,
    /// The component's bytes.
    pub component: Vec<u8>,
    /// Their SHA-256, in hexadecimal.
    pub digest: String,
    /// Plain values for `wasi:config/store`.
    pub config: BTreeMap<String, String>,
    /// What linear memories and tables of one instance may take together.
    pub memory: ByteSize,
    /// What one agent may keep.
    pub storage: ByteSize,
    /// How runs are served.
    pub policy: Policy,
    /// What may be reached over HTTP.
    pub grants: Grants,
    /// The models that it may ask, and what it may spend on them.
    pub models: Models,
    /// How many outgoing requests all agents of the plugin may have open at once.
    pub open_requests: usize,
    /// Other waits than the host's for outgoing requests, where they are set.
    pub timeouts: AskedTimeouts,
}

/// A plugin that can be served.
pub struct Loaded(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    pre: InstancePre<State>,
    exports: Exports,
    digest: String,
    policy: Policy,
    memory: ByteSize,
    config: Arc<WasiConfigVariables>,
    caller: Caller,
    models: Models,
    guard: Guard,
}

impl Loaded {
    pub(crate) fn new(engine: Arc<Engine>, component: &Component, source: Source) -> Result<Self, LoadError> {
        let pre = engine
            .linker
            .instantiate_pre(component)
            .map_err(|error| LoadError::Import(format!("{error:#}")))?;
        let exports = Exports::of(component, &pre).map_err(|error| LoadError::World(format!("{error:#}")))?;
        engine.gates.set_limit(&source.name, source.storage.0);
        let Source { grants, open_requests, timeouts, models, .. } = source;
        let guard = guard(&source.name, &grants, &models.granted)?;
        let guards = engine.guards.lock();
        guards.unwrap_or_else(PoisonError::into_inner).insert(source.name.clone(), guard.clone());
        let caller = engine.client.caller(source.name.as_str(), grants, open_requests, timeouts);
        Ok(Self(Arc::new(Inner {
            engine,
            pre,
            exports,
            digest: source.digest,
            policy: source.policy,
            memory: source.memory,
            config: Arc::new(source.config.into_iter().collect()),
            caller,
            models,
            guard,
        })))
    }
}

impl Plugin for Loaded {
    fn policy(&self) -> Policy {
        self.0.policy
    }

    fn version(&self) -> &str {
        &self.0.digest
    }

    fn launch(
        &self,
        agent: &AgentId,
        _generation: Generation,
    ) -> BoxFuture<'static, Result<Box<dyn Instance>, Failure>> {
        let (inner, agent) = (self.0.clone(), agent.clone());
        Box::pin(async move { inner.launch(agent).await })
    }
}

/// What guards the values that the host adds to the plugin's requests. Those that the sidecar itself holds in plain sight
/// are no secrets: an API's version would be masked wherever somebody writes a date.
fn guard(plugin: &PluginName, grants: &Grants, models: &Granted) -> Result<Guard, LoadError> {
    let injected = grants.secrets().filter(|injected| !injected.plain);
    let mut secrets: Secrets = injected.map(|injected| (injected.name, injected.value.to_owned())).collect();
    for (name, value) in models.secrets() {
        secrets.add(name, value);
    }
    let guard = Guard::new(&secrets).map_err(|error| LoadError::Guard(error.to_string()))?;
    for name in guard.too_short() {
        tracing::warn!(%plugin, secret = %name, "this value is too short to be searched for in what guests write");
    }
    Ok(guard)
}

/// What the guest has to wait for before it goes on.
fn held(state: &mut State) -> Option<BoxFuture<'static, ()>> {
    let reply = state.held_by.take()?;
    Some(Box::pin(async move { reply.room().await }))
}

impl Inner {
    async fn launch(&self, agent: AgentId) -> Result<Box<dyn Instance>, Failure> {
        let limit = usize::try_from(self.memory.0).unwrap_or(usize::MAX);
        let leaks = Leaks::new(self.guard.clone(), agent.clone());
        let ways_out = (Outgoing::new(&self.caller, &agent), self.models.for_agent(&agent.to_string()));
        let gate = self.engine.gates.of(&agent).await;
        let undoes = gate.undoes();
        let alarms = (self.engine.wall.clone(), self.exports.rings());
        let state =
            State::new(agent, Memory::new(limit), ways_out, leaks, gate.clone(), alarms, self.config.clone());
        let mut store = Store::new(&self.engine.engine, state);
        store.limiter(|state| &mut state.memory);
        let turn = self.engine.turns.apply(&mut store, |_| None);
        let launching = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            let calls = self.exports.load(&mut store, &instance)?;
            if let Some(lifecycle) = calls.lifecycle {
                store.run_concurrent(async |guest| lifecycle.wake.call_concurrent(guest, ()).await).await??;
                store.data().gate.pass()?;
            }
            Ok(calls)
        };
        // A component may compute while it is instantiated, so launching takes turns too.
        let launched = turn.polls(launching).await;
        match launched {
            Ok(calls) => {
                let turn = self.engine.turns.apply(&mut store, held);
                Ok(Box::new(Launched { store, calls, turn, gate, undoes, memory: self.memory }))
            }
            Err(error) => Err(self.not_launched(&error, store.data())),
        }
    }

    fn not_launched(&self, error: &wasmtime::Error, state: &State) -> Failure {
        let failure = trapped(error, state, self.memory);
        match failure.code {
            Code::MemoryExceeded | Code::NotStored => failure,
            _ => Failure::new(
                Code::LaunchFailed,
                format!("no instance could be launched: {}", failure.message),
            ),
        }
    }
}
