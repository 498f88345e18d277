//! A live instance: one store, driven by one event loop for as long as it lives.
//!
//! Ends when: the guest traps, or the future is dropped; dropping it drops the store with everything in it.

use futures_util::future::BoxFuture;
use rookery_agents::guest::{Call, Instance};
use rookery_core::{ByteSize, Code, Failure};
use tokio::sync::mpsc;
use wasmtime::Store;
use wasmtime::component::Accessor;

use crate::contract::Contract;
use crate::state::State;
use crate::turns::Turn;

/// An instance that has been launched.
pub(crate) struct Launched {
    pub(crate) store: Store<State>,
    pub(crate) contract: Contract,
    pub(crate) turn: Turn,
    pub(crate) memory: ByteSize,
}

impl Instance for Launched {
    fn drive(self: Box<Self>, calls: mpsc::Receiver<Box<Call>>) -> BoxFuture<'static, Failure> {
        let Self { mut store, contract, turn, memory } = *self;
        let driving = async move {
            let ended = store.run_concurrent(async |accessor| serve(accessor, &contract, calls).await).await;
            match ended.flatten() {
                Ok(()) => Failure::new(Code::Internal, "the agent let go of its instance"),
                Err(error) => trapped(&error, store.data(), memory),
            }
        };
        Box::pin(turn.polls(driving))
    }
}

/// Serves calls one after another. An error is a trap, and the end of the store.
async fn serve(
    accessor: &Accessor<State>,
    contract: &Contract,
    mut calls: mpsc::Receiver<Box<Call>>,
) -> wasmtime::Result<()> {
    while let Some(call) = calls.recv().await {
        let Call { prompt, reply, ended, answer } = *call;
        let reply = accessor.with(|mut access| {
            let state = access.get();
            state.outgoing.run_until(ended);
            state.table.push(reply)
        })?;
        let returned = contract.rookery_agent_handler().call_handle(accessor, prompt.into(), reply).await?;
        // Nobody listens any more where the run was given up in the meantime.
        let _ = answer.send(returned.map_err(Into::into));
    }
    Ok(())
}

/// What a trap says to the client; all that the engine knows of it goes to the log.
pub(crate) fn trapped(error: &wasmtime::Error, state: &State, memory: ByteSize) -> Failure {
    // Not `{:?}`: that would resolve a backtrace of the host, which says nothing and takes memory that may just be missing.
    tracing::info!(agent = %state.agent, "trapped: {error:#}");
    if state.memory.denied() {
        let hint = "raise `memory` in the sidecar's [limits], or have the plugin keep less";
        let message =
            format!("agent `{}` was stopped: it needs more than {memory} of memory; {hint}", state.agent);
        return Failure::new(Code::MemoryExceeded, message);
    }
    let why = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let message = format!("agent `{}` trapped: {why}; its next run meets a new instance", state.agent);
    Failure::new(Code::Trapped, message)
}
