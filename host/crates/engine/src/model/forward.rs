//! Answers that go to a run's stream without entering the guest.
//!
//! Promises: chunks leave in the order in which the model said them; a run has no outcome before all that it forwards has
//! ended; a failed answer that the guest never heard of fails its run.
//! Bounded by: the run's output limit, and what the archive lets a writer be ahead of it.
//! Ends when: the answer does, or the run.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::ready;
use rookery_core::Chunk;
use rookery_models::{Delta, Error, Whole};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, FutureReader, HasSelf, StreamReader};

use crate::contract::{model, types};
use crate::leaks::Guarded;
use crate::model::flow::Flow;
use crate::state::State;

/// What a run forwards.
#[derive(Clone, Default)]
pub(crate) struct Forwards(Arc<Open>);

#[derive(Default)]
struct Open {
    tasks: TaskTracker,
    failures: Mutex<Failures>,
}

/// What the guest has not heard of.
#[derive(Default)]
struct Failures {
    /// Of answers that are under way, or that somebody may still ask for.
    open: Vec<Unheard>,
    /// Of those that nobody will ask for any more, the first.
    first: Option<Error>,
}

type Unheard = Arc<Mutex<Option<Error>>>;

impl Failures {
    /// Keeps of those that are over only what there is to say: a run may forward for as long as it lasts.
    fn tidy(&mut self) {
        let Self { open, first } = self;
        open.retain(|unheard| {
            let over = Arc::strong_count(unheard) == 1;
            if over && let Some(error) = locked(unheard).take() {
                first.get_or_insert(error);
            }
            !over
        });
    }
}

impl Forwards {
    /// Waits until all of it has ended. Says why the run failed, where the guest did not hear of it.
    pub(crate) async fn ended(&self) -> Result<(), types::Failure> {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        let Failures { open, first } = std::mem::take(&mut *locked(&self.0.failures));
        match first.or_else(|| open.iter().find_map(|unheard| locked(unheard).take())) {
            Some(error) => Err(failure(error)),
            None => Ok(()),
        }
    }

    fn begin(
        &self,
        flow: Flow,
        written: Guarded,
    ) -> impl Future<Output = wasmtime::Result<Told>> + Send + 'static {
        let (unheard, (told, hears)) = (Unheard::default(), oneshot::channel());
        let mut failures = locked(&self.0.failures);
        failures.tidy();
        failures.open.push(unheard.clone());
        drop(failures);
        let noted = unheard.clone();
        self.0.tasks.spawn(async move {
            let said = pass_on(flow, &written).await;
            *locked(&noted) = said.as_ref().err().cloned();
            let _ = told.send(said);
        });
        // Polled when the guest waits for it, and not before.
        async move {
            let said = hears.await.unwrap_or(Err(Error::Cancelled));
            locked(&unheard).take();
            Ok(said.map(Into::into).map_err(Into::into))
        }
    }
}

type Told = Result<model::Answer, model::Error>;

/// `reply.forward`.
pub(crate) fn forward(
    mut access: Access<'_, State, HasSelf<State>>,
    forwards: &Forwards,
    written: Guarded,
    mut answer: StreamReader<model::Delta>,
) -> wasmtime::Result<FutureReader<Told>> {
    let told = match answer.try_into::<Flow>(access.as_context_mut()) {
        Ok(flow) => forwards.begin(flow, written).boxed(),
        Err(foreign) => {
            answer = foreign;
            answer.close(access.as_context_mut())?;
            let why =
                "only an answer of `model.chat` can be forwarded; write what the guest makes itself".into();
            ready(Ok(Err(model::Error::Rejected(why)))).boxed()
        }
    };
    FutureReader::new(access, told)
}

/// Writes what comes until it ends, and waits where the archive does not keep up.
async fn pass_on(mut flow: Flow, written: &Guarded) -> Result<Whole, Error> {
    while let Some(taken) = poll_fn(|cx| {
        flow.poll(cx).map(|come| come.map(|come| written.write_all(come.drain(..).filter_map(chunk))))
    })
    .await
    {
        if taken.is_err() {
            // Cancelled, or too long: either way the run takes nothing more, and knows why.
            return Err(Error::Cancelled);
        }
        if !written.reply().has_room() {
            written.reply().room().await;
        }
    }
    flow.whole()
}

/// What a run's stream shows of a delta.
fn chunk(delta: Delta) -> Option<Chunk> {
    match delta {
        Delta::Text(text) => Some(Chunk::Text(text)),
        Delta::Reasoning(text) => Some(Chunk::Reasoning(text)),
        Delta::ToolCall(call) => {
            Some(Chunk::ToolCall { id: call.id, name: call.name, arguments: call.arguments })
        }
        Delta::Usage(usage) => Some(Chunk::Usage {
            model: usage.model,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
        }),
        Delta::Ended(_) | Delta::Failed(_) => None,
    }
}

/// What the client is told of an answer that failed.
fn failure(error: Error) -> types::Failure {
    match error {
        Error::Rejected(_) | Error::NotGranted(_) => types::Failure::Failed(error.to_string()),
        _ => types::Failure::Unavailable(error.to_string()),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
