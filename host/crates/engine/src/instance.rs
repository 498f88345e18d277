//! A live instance: one store, driven by one event loop for as long as it lives.
//!
//! Ends when: the guest traps, or the future is dropped; dropping it drops the store with everything in it.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rookery_agents::Reply;
use rookery_agents::guest::{Call, Instance};
use rookery_core::{ByteSize, Code, Failure};
use tokio::sync::mpsc;
use wasmtime::component::{Accessor, Resource, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::contract::types;
use crate::state::State;
use crate::tasks::Running;
use crate::turns::Turn;

/// `handle`, as the contract has it.
pub(crate) type Handle = TypedFunc<(types::Prompt, Resource<Reply>), (Result<(), types::Failure>,)>;

/// An instance that has been launched.
pub(crate) struct Launched {
    pub(crate) store: Store<State>,
    pub(crate) handle: Handle,
    pub(crate) turn: Turn,
    pub(crate) memory: ByteSize,
}

impl Instance for Launched {
    fn drive(self: Box<Self>, calls: mpsc::Receiver<Box<Call>>) -> BoxFuture<'static, Failure> {
        let Self { mut store, handle, turn, memory } = *self;
        let driving = async move {
            let ended = store.run_concurrent(async |accessor| serve(accessor, handle, calls).await).await;
            match ended.flatten() {
                Ok(()) => Failure::new(Code::Internal, "the agent let go of its instance"),
                Err(error) => trapped(&error, store.data(), memory),
            }
        };
        Box::pin(turn.polls(driving))
    }
}

/// Serves calls as they come; it is the agent that lets in only so many at once. An error is a trap, and the end of the
/// store.
async fn serve(
    accessor: &Accessor<State>,
    handle: Handle,
    mut calls: mpsc::Receiver<Box<Call>>,
) -> wasmtime::Result<()> {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = open.next() => ended?,
            call = calls.recv() => match call {
                Some(call) => open.push(make(accessor, handle, *call)),
                None => return Ok(()),
            },
        }
    }
}

/// Makes one call.
async fn make(accessor: &Accessor<State>, handle: Handle, call: Call) -> wasmtime::Result<()> {
    let Call { prompt, reply, ended, answer } = call;
    let begun = accessor.with(|mut access| {
        let run = Running { ended, reply: reply.clone() };
        let reply = access.get().table.push(reply)?;
        let begun = handle.start_call_concurrent(access.as_context_mut(), (prompt.into(), reply))?;
        access.get().tasks.begin(begun.task(), run);
        wasmtime::error::Ok(begun)
    })?;
    let task = begun.task();
    let (returned,) = handle.finish_call_concurrent(accessor, begun).await?;
    accessor.with(|mut access| access.get().tasks.end(task));
    // Nobody listens any more where the run was given up in the meantime.
    let _ = answer.send(returned.map_err(Into::into));
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
