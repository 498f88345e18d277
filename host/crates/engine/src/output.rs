//! The contract's `output`: where a run's guest writes.

use wasmtime::AsContextMut;
use wasmtime::component::{Access, FutureReader, HasSelf, Resource};

use crate::contract::{model, output, types};
use crate::leaks::Guarded;
use crate::model::{Forwards, forward};
use crate::state::State;

/// The guest's end of one run.
#[allow(
    unreachable_pub,
    reason = "the contract's generated code names it again, and that is public in a private module"
)]
#[derive(Clone)]
pub struct Output {
    pub(crate) written: Guarded,
    pub(crate) forwards: Forwards,
}

impl output::Host for State {}

impl output::HostReplyWithStore<State> for HasSelf<State> {
    fn write(
        mut access: Access<'_, State, Self>,
        output: Resource<Output>,
        chunk: types::Chunk,
    ) -> wasmtime::Result<Result<(), output::Refusal>> {
        let state = access.get();
        state.gate.pass()?;
        let Output { written, .. } = state.table.get(&output)?;
        let taken = written.write(chunk.into()).map_err(Into::into);
        if !written.reply().has_room() {
            // The call itself cannot wait; the guest does, as soon as it goes on (see `turns`).
            state.held_by = Some(written.reply().clone());
            access.as_context_mut().set_epoch_deadline(0);
        }
        Ok(taken)
    }

    fn forward(
        mut access: Access<'_, State, Self>,
        output: Resource<Output>,
        answer: model::ComingAnswer,
    ) -> wasmtime::Result<FutureReader<Result<model::Answer, model::Error>>> {
        let state = access.get();
        state.gate.pass()?;
        let Output { written, forwards } = state.table.get(&output)?.clone();
        forward(access, &forwards, written, answer.deltas)
    }
}

impl output::HostReply for State {
    fn drop(&mut self, output: Resource<Output>) -> wasmtime::Result<()> {
        self.table.delete(output)?;
        Ok(())
    }
}

impl From<rookery_agents::Refusal> for output::Refusal {
    fn from(refusal: rookery_agents::Refusal) -> Self {
        match refusal {
            rookery_agents::Refusal::Cancelled => Self::Cancelled,
            rookery_agents::Refusal::TooLarge => Self::TooLarge,
            rookery_agents::Refusal::Invalid => Self::Invalid,
        }
    }
}
