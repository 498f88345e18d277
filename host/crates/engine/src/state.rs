//! What the host keeps beside each instance.

use std::sync::Arc;

use rookery_agents::Reply;
use rookery_alarms::WallClock;
use rookery_core::AgentId;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::gate::Gate;
use crate::http::Outgoing;
use crate::keyvalue::Cursors;
use crate::leaks::Leaks;
use crate::memory::Memory;
use crate::model::Models;
use crate::stdio::Lines;
use crate::tasks::Tasks;

/// How many host resources (streams, requests, replies, timers …) one instance may hold at once. A guest that leaks
/// them traps here, at some megabytes of the host's memory.
const RESOURCES: usize = 16 * 1024;

/// The most random bytes a guest gets in one call; one that wants more asks again. Keeps the call short.
const RANDOM: u64 = 1 << 20;

/// One instance's state.
pub(crate) struct State {
    pub(crate) agent: AgentId,
    pub(crate) table: ResourceTable,
    pub(crate) memory: Memory,
    pub(crate) outgoing: Outgoing,
    pub(crate) models: Models,
    pub(crate) leaks: Leaks,
    /// Held by each answer of a model that is open.
    pub(crate) answers: Arc<()>,
    pub(crate) tasks: Tasks,
    pub(crate) gate: Gate,
    pub(crate) wall: WallClock,
    /// Whether the plugin exports what alarms ring.
    pub(crate) rings: bool,
    /// How many results of queries are open.
    pub(crate) results: usize,
    /// Where listings through wasi:keyvalue go on.
    pub(crate) cursors: Cursors,
    /// The run that is ahead of the archive, for which the guest has to wait.
    pub(crate) held_by: Option<Reply>,
    config: Arc<WasiConfigVariables>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
}

impl State {
    pub(crate) fn new(
        agent: AgentId,
        memory: Memory,
        (outgoing, models): (Outgoing, Models),
        leaks: Leaks,
        gate: Gate,
        (wall, rings): (WallClock, bool),
        config: Arc<WasiConfigVariables>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let wasi = WasiCtx::builder()
            .stdout(Lines::new(agent.clone(), "stdout", &leaks))
            .stderr(Lines::new(agent.clone(), "stderr", &leaks))
            .max_random_size(RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            agent,
            table,
            memory,
            outgoing,
            models,
            leaks,
            answers: Arc::default(),
            tasks: Tasks::default(),
            gate,
            wall,
            rings,
            results: 0,
            cursors: Cursors::default(),
            held_by: None,
            config,
            wasi,
            http: WasiHttpCtx::new(),
        }
    }

    pub(crate) fn config(&self) -> &WasiConfigVariables {
        &self.config
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}
