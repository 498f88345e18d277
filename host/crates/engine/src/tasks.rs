//! Which run a call of the host belongs to.
//!
//! Runs may overlap in one instance, and nothing that a guest passes says for which of them it asks. The engine knows: each
//! run is a task of the guest's, and every call of the host is made by some task, or by one that it began.

use std::collections::HashMap;
use std::sync::Arc;

use rookery_usage::RunSpend;
use tokio_util::sync::CancellationToken;
use wasmtime::StoreContextMut;
use wasmtime::component::GuestTaskId;

use crate::output::Output;
use crate::state::State;

/// What calls of the host need of the run that they belong to.
#[derive(Clone)]
pub(crate) struct Running {
    /// Fires when the run was cancelled, or has its outcome.
    pub(crate) ended: CancellationToken,
    pub(crate) output: Output,
    /// What it has spent on models.
    pub(crate) spend: Arc<RunSpend>,
}

/// The guest's tasks that are runs.
#[derive(Default)]
pub(crate) struct Tasks(HashMap<GuestTaskId, Running>);

impl Tasks {
    pub(crate) fn begin(&mut self, task: GuestTaskId, run: Running) {
        self.0.insert(task, run);
    }

    pub(crate) fn end(&mut self, task: GuestTaskId) {
        self.0.remove(&task);
    }

    /// Ends what all of them have open, before the instance goes: what the guest was sending would otherwise end there and look
    /// whole.
    pub(crate) fn end_all(&self) {
        self.0.values().for_each(|run| run.ended.cancel());
    }
}

/// The run that the guest is in now. None where it does work that it left over from a run that has ended.
pub(crate) fn current(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<Option<Running>> {
    let stack: Vec<_> = store.async_call_stack()?.collect();
    let tasks = &store.data().tasks;
    Ok(stack.iter().find_map(|task| tasks.0.get(task)).cloned())
}
