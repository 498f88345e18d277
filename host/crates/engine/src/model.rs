//! The contract's `model`: asks what the plugin was granted, in the run that asks.
//!
//! Promise: an answer belongs to the run that asked for it, and ends with it. Work that is left over from a run asks no
//! model. What the agent wrote before it asks is committed before anything of the question leaves.

mod flow;
mod forward;
mod metered;
mod words;

use std::sync::Arc;

use futures_util::FutureExt;
use rookery_models::Error;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, FutureReader, HasSelf, StreamReader};

use crate::contract::model;
use crate::state::State;
use crate::tasks::{self, Running};

use flow::Flow;
pub(crate) use forward::{Forwards, forward};
pub use metered::Models;

/// How many answers an instance may have open. Four times the requests that its whole plugin may have, so that none is refused
/// for one whose end was merely not read; a guest that hoards them holds some MiB of the host's memory.
const ANSWERS: usize = 1024;

impl model::Host for State {}

impl model::HostWithStore<State> for HasSelf<State> {
    fn chat(
        mut access: Access<'_, State, Self>,
        name: Option<String>,
        request: model::Request,
    ) -> wasmtime::Result<Result<model::ComingAnswer, model::Error>> {
        let agent = access.get().agent.name.clone();
        let open = access.get().answers.clone();
        let asked = asking(&mut access)?.and_then(|(models, run)| {
            // Beside the open ones, the state and this call have it.
            if Arc::strong_count(&open) >= ANSWERS + 2 {
                let why = format!("{ANSWERS} answers are open already; drop those that nobody reads");
                return Err(Error::Unavailable(why));
            }
            let answer = models.chat(&agent, name.as_deref(), request.into(), &run);
            Ok(Flow::new(answer.inspect_err(|error| note(&run, error))?, run, open))
        });
        Ok(match asked {
            Ok(flow) => Ok(model::ComingAnswer { deltas: StreamReader::new(access, flow)? }),
            Err(error) => Err(error.into()),
        })
    }

    fn embed(
        mut access: Access<'_, State, Self>,
        name: Option<String>,
        texts: Vec<String>,
    ) -> wasmtime::Result<FutureReader<Result<model::Embeddings, model::Error>>> {
        let agent = access.get().agent.name.clone();
        let asked = asking(&mut access)?;
        // A task, so that it begins whether or not the guest waits for it already.
        let embedding = AbortOnDropHandle::new(tokio::spawn(async move {
            let (models, run) = asked?;
            let embedded = models.embed(&agent, name.as_deref(), texts, &run).await;
            embedded.inspect_err(|error| note(&run, error))
        }));
        FutureReader::new(
            access,
            embedding.map(|embedded| wasmtime::error::Ok(embedded?.map(Into::into).map_err(Into::into))),
        )
    }
}

/// The run that asks, and what its plugin may ask.
fn asking(
    access: &mut Access<'_, State, HasSelf<State>>,
) -> wasmtime::Result<Result<(Models, Running), Error>> {
    access.get().gate.pass()?;
    let run = tasks::current(access.as_context_mut())?;
    let models = access.get().models.clone();
    Ok(run.map(|run| (models, run)).ok_or(Error::Cancelled))
}

/// Has the run fail of this, if it then fails.
fn note(run: &Running, error: &Error) {
    if let Error::OverBudget(what) = error {
        run.output.written.reply().over_budget(what.clone());
    }
}
