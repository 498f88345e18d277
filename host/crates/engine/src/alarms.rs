//! Where the host's clock finds agents' alarms: in their files, beside the guests that write there too.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rookery_alarms::{Begun, Kept, KeptError, Moment, Ringing, Rung};
use rookery_core::AgentId;
use rookery_storage::{Storage, StorageError};
use tokio::task::spawn_blocking;

use crate::gates::Gates;

/// The alarms of one host's agents.
pub(crate) struct Alarms(pub(crate) Gates);

impl Alarms {
    async fn with<T: Send + 'static>(
        &self,
        agent: &AgentId,
        work: impl FnOnce(&mut Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, KeptError> {
        let done = self.0.of(agent).await.between(work).await;
        done.ok_or_else(|| KeptError("the host is stopping".into()))?.map_err(unreadable)
    }
}

impl Kept for Alarms {
    fn page(
        &self,
        after: Option<AgentId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(AgentId, u64)>, KeptError>> {
        let databases = self.0.databases().clone();
        let reading = spawn_blocking(move || databases.alarms(after.as_ref(), limit));
        async move { reading.await.map_err(|error| KeptError(error.to_string()))?.map_err(unreadable) }
            .boxed()
    }

    fn begin<'a>(&'a self, agent: &'a AgentId, moment: Moment) -> BoxFuture<'a, Result<Begun, KeptError>> {
        self.with(agent, move |storage| storage.begin_ring(&moment)).boxed()
    }

    fn settle<'a>(
        &'a self,
        agent: &'a AgentId,
        ringing: &'a Ringing,
        rung: &'a Rung,
        moment: Moment,
    ) -> BoxFuture<'a, Result<Option<u64>, KeptError>> {
        let (ringing, rung) = (ringing.clone(), rung.clone());
        self.with(agent, move |storage| storage.settle_ring(&ringing, &rung, &moment)).boxed()
    }
}

fn unreadable(error: StorageError) -> KeptError {
    KeptError(error.to_string())
}
