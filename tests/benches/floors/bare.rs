//! Bare wasmtime: the same component on the same settings of the engine, called with nothing around it.
//!
//! Every instance stays, as those of the host do; between them they show what one takes of time and of memory.

use serde_json::json;
use tokio::time::Instant;
use wasmtime::component::{Component, FutureReader, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{launch, memory, process};

#[allow(missing_docs, reason = "generated; the WIT files are the documentation")]
mod contract {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "rookery:agent/contract",
        imports: { default: trappable },
        exports: { default: async | store },
        with: { "rookery:agent/output.reply": super::Reply },
    });
}

use contract::ContractPre;
use contract::rookery::agent::{identity, model, output, types};

/// Launches as many instances as the host does in `memory`, and prints what they took as JSON.
pub(crate) async fn run(component: &str) {
    let [warm, .., count] = memory::LIVE;
    let engine = Engine::new(&config(u32::try_from(count).unwrap())).unwrap();
    let component = Component::from_file(&engine, component).unwrap();
    let pre = ContractPre::new(linker(&engine).instantiate_pre(&component).unwrap()).unwrap();

    let mut stores = Vec::with_capacity(count);
    let (mut times, mut kib) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let began = Instant::now();
        stores.push(launched(&engine, &pre).await);
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if memory::LIVE.contains(&number) {
            kib.push(process::resident("self"));
        }
    }
    let times: Vec<_> = times.split_off(warm).into_iter().take(launch::ROUNDS * launch::AGENTS).collect();
    println!("{}", json!({ "launch_ms": times, "kib": kib }));
}

async fn launched(engine: &Engine, pre: &ContractPre<State>) -> Store<State> {
    let mut store = Store::new(engine, State::new());
    store.set_epoch_deadline(u64::MAX / 2);
    let contract = pre.instantiate_async(&mut store).await.unwrap();
    let reply = store.data_mut().table.push(Reply).unwrap();
    let prompt = types::Prompt {
        run: "018f3f5e-0000-7000-8000-000000000001".into(),
        text: "hello".into(),
        body: None,
        origin: types::Origin::Client(None),
    };
    let called = async |accessor: &wasmtime::component::Accessor<State>| {
        contract.rookery_agent_handler().call_handle(accessor, prompt, reply).await
    };
    store.run_concurrent(called).await.unwrap().unwrap().unwrap();
    assert_eq!(store.data().written, 1);
    store
}

/// As the host's engine is set up, with no stack more than instances need: where the system allows a process 65 530
/// mappings, each of ten thousand instances can have six, and every stack takes two.
fn config(live: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(live);
    pool.total_core_instances(5 * live);
    pool.total_memories(live);
    pool.total_tables(2 * live);
    pool.total_stacks(live);
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    config.epoch_interruption(true);
    config.allocation_strategy(pool);
    config
}

fn linker(engine: &Engine) -> Linker<State> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).unwrap();
    identity::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).unwrap();
    output::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).unwrap();
    linker
}

/// What stands for a run's stream: nothing.
#[allow(unreachable_pub, reason = "the generated bindings name it in public")]
pub struct Reply;

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    written: usize,
}

impl State {
    fn new() -> Self {
        Self { table: ResourceTable::new(), wasi: WasiCtx::builder().build(), written: 0 }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl identity::Host for State {
    fn agent(&mut self) -> wasmtime::Result<types::AgentId> {
        Ok(types::AgentId { plugin: "echo".into(), name: "bare".into() })
    }
}

impl output::Host for State {}

impl output::HostReply for State {
    fn write(
        &mut self,
        _: Resource<Reply>,
        _: types::Chunk,
    ) -> wasmtime::Result<Result<(), output::Refusal>> {
        self.written += 1;
        Ok(Ok(()))
    }

    fn forward(
        &mut self,
        _: Resource<Reply>,
        _: model::ComingAnswer,
    ) -> wasmtime::Result<FutureReader<Result<model::Answer, model::Error>>> {
        wasmtime::bail!("there is no model here")
    }

    fn drop(&mut self, reply: Resource<Reply>) -> wasmtime::Result<()> {
        self.table.delete(reply)?;
        Ok(())
    }
}
