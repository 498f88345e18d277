//! A live instance: one store, driven by one event loop for as long as it lives.
//!
//! Ends when: the guest traps, or the future is dropped; dropping it drops the store with everything in it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rookery_agents::guest::{Ask, Call, Instance, Work};
use rookery_core::{AgentId, Alarm, ByteSize, Code, Failure, Origin, Prompt};
use tokio::sync::mpsc;
use wasmtime::component::{Accessor, ComponentType, Lower};
use wasmtime::{AsContextMut, Store};

use crate::contract::{Ringing, types};
use crate::eager::Eager;
use crate::exports::{Calls, Function};
use crate::gate::{Gate, NotKept, Undoes};
use crate::model::Forwards;
use crate::output::Output;
use crate::state::State;
use crate::tasks::Running;
use crate::turns::Turn;

/// An instance that has been launched.
pub(crate) struct Launched {
    pub(crate) store: Store<State>,
    pub(crate) calls: Calls,
    pub(crate) turn: Turn,
    pub(crate) gate: Gate,
    pub(crate) undoes: Undoes,
    pub(crate) memory: ByteSize,
}

impl Instance for Launched {
    fn drive(self: Box<Self>, asked: mpsc::Receiver<Ask>, work: Work) -> BoxFuture<'static, Failure> {
        let Self { mut store, calls, turn, gate, undoes, memory } = *self;
        let (agent, midway) = (store.data().agent.clone(), turn.clone());
        let driving = async move {
            let ended = store.run_concurrent(async |guest| serve(guest, calls, asked, work).await).await;
            store.data().tasks.end_all();
            match ended.flatten() {
                Ok(()) => Failure::new(Code::Internal, "the agent let go of its instance"),
                Err(error) => trapped(&error, store.data(), memory),
            }
        };
        let mut driving = Eager::new(turn.polls(driving));
        Box::pin(poll_fn(move |cx| {
            let _ = &undoes;
            let polled = Pin::new(&mut driving).poll(cx);
            // A guest that waits has come to an await, unless it was stopped on the way to one.
            if polled.is_pending()
                && !midway.is_midway()
                && let Err(error) = gate.pass()
            {
                return Poll::Ready(not_kept(&agent, &error));
            }
            polled
        }))
    }
}

/// Does as it is asked; it is the agent that lets in only so many runs at once. An error is a trap, and the end of the
/// store.
async fn serve(
    guest: &Accessor<State>,
    calls: Calls,
    mut asked: mpsc::Receiver<Ask>,
    work: Work,
) -> wasmtime::Result<()> {
    let mut open = FuturesUnordered::new();
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(Some(ended)) = open.poll_next_unpin(cx) {
                return Poll::Ready(Next::Ended(ended));
            }
            if let Poll::Ready(asked) = asked.poll_recv(cx) {
                return Poll::Ready(Next::Asked(asked));
            }
            work.set(guest.poll_no_interesting_tasks(cx).is_pending());
            Poll::Pending
        });
        match next.await {
            Next::Ended(ended) => ended?,
            Next::Asked(Some(Ask::Run(call))) => open.push(make(guest, &calls, *call)),
            Next::Asked(Some(Ask::Sleep(asleep))) => {
                if let Some(lifecycle) = &calls.lifecycle {
                    lifecycle.sleep.call_concurrent(guest, ()).await?;
                    guest.with(|mut access| access.get().gate.pass())?;
                }
                let _ = asleep.send(());
            }
            Next::Asked(None) => return Ok(()),
        }
    }
}

/// What happens next around a guest.
enum Next {
    Ended(wasmtime::Result<()>),
    Asked(Option<Ask>),
}

/// Makes one call.
async fn make(guest: &Accessor<State>, calls: &Calls, call: Call) -> wasmtime::Result<()> {
    let Call { prompt, alarm, reply, ended, answer } = call;
    let leaks = guest.with(|mut access| access.get().leaks.clone());
    let output = Output { written: leaks.guarded(reply), forwards: Forwards::default() };
    let run = Running { ended, output, spend: Arc::default() };
    let returned = match (alarm, calls.ring) {
        (None, _) => begin(guest, calls.handle, prompt.into(), run).await?,
        (Some(alarm), Some(ring)) => begin(guest, ring, ringing(prompt, alarm), run).await?,
        (Some(_), None) => {
            Err(types::Failure::Failed("it exports no `alarm` any more, so none of its alarms rings".into()))
        }
    };
    // Nobody listens any more where the run was given up in the meantime.
    let _ = answer.send(returned.map_err(|failure| {
        let failure: Failure = failure.into();
        Failure { message: leaks.mask(failure.message), ..failure }
    }));
    Ok(())
}

/// Makes a call that is a run, and lets everything leave when it has returned.
async fn begin<P>(
    guest: &Accessor<State>,
    function: Function<P>,
    parameter: P,
    run: Running,
) -> wasmtime::Result<Result<(), types::Failure>>
where
    P: Lower + ComponentType + Send + Sync + 'static,
{
    let Output { written, forwards } = run.output.clone();
    let begun = guest.with(|mut access| {
        let reply = access.get().table.push(run.output.clone())?;
        let begun = function.start_call_concurrent(access.as_context_mut(), (parameter, reply))?;
        access.get().tasks.begin(begun.task(), run);
        wasmtime::error::Ok(begun)
    })?;
    let task = begun.task();
    let (returned,) = function.finish_call_concurrent(guest, begun).await?;
    let forwarded = forwards.ended().await;
    written.finish();
    guest.with(|mut access| {
        access.get().tasks.end(task);
        access.get().gate.pass()
    })?;
    Ok(returned.and(forwarded))
}

fn ringing(prompt: Prompt, alarm: Alarm) -> Ringing {
    let name = match prompt.origin {
        Origin::Schedule(name) => name,
        Origin::Client(_) | Origin::Agent(_) => String::new(),
    };
    let Alarm { due, attempt } = alarm;
    Ringing { run: prompt.run.to_string(), name, payload: prompt.text, due, attempt }
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
    if let Some(error) = error.downcast_ref::<NotKept>() {
        return not_kept(&state.agent, error);
    }
    let why = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let message = format!("agent `{}` trapped: {why}; its next run meets a new instance", state.agent);
    Failure::new(Code::Trapped, message)
}

/// Nothing of it has left the agent.
fn not_kept(agent: &AgentId, error: &NotKept) -> Failure {
    tracing::warn!(%agent, "stopped: {error}");
    let message = format!("agent `{agent}` was stopped: {error}; its next run meets a new instance");
    Failure::new(Code::NotStored, message)
}
