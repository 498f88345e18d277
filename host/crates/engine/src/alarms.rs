//! Where the host's clock finds agents' alarms: in their files, beside the guests that write there too.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rookery_alarms::{Begun, Kept, KeptError, Moment, Ringing, Rung, Stays};
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

    fn stays<'a>(&'a self, agent: &'a AgentId) -> BoxFuture<'a, Stays> {
        // Whose file is in use, nobody reserves it.
        async { Box::new(self.0.of(agent).await) as Stays }.boxed()
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use rookery_alarms::{Missed, Timing};
    use rookery_core::Durability;
    use rookery_storage::{Alarm, Databases};

    use super::*;

    fn alarm(payload: &str) -> Alarm {
        let (name, timing) = ("tea".into(), Timing::At(1_000));
        Alarm { name, timing, payload: payload.into(), missed: Missed::RingOnce }
    }

    #[tokio::test]
    async fn an_agent_is_not_removed_between_the_beginning_of_a_ring_and_its_settling() {
        let folder = tempfile::tempdir().unwrap();
        let databases = Databases::open(folder.path().join("agents"), Durability::Normal).unwrap();
        let gates = Gates::new(databases, Duration::from_secs(10));
        let alice = AgentId { plugin: "p".parse().unwrap(), name: "alice".parse().unwrap() };
        let set = |payload: &str| {
            let mut storage = gates.databases().agent(&alice, 1 << 30);
            storage.set_alarm(alarm(payload), 0).unwrap();
            storage.commit().unwrap();
            storage.close().unwrap();
        };
        set("of the first");
        let alarms = Alarms(gates.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
        let moment = || Moment { now, up_since: 0, ringing: Vec::new() };

        let stays = alarms.stays(&alice).await;
        let ringing = alarms.begin(&alice, moment()).await.unwrap().ringing.expect("it is due");
        let replacing = async {
            let _reserved = gates.reserve(&alice).await;
            gates.databases().remove(&alice).unwrap();
            // The same name, version, time and attempt: nothing tells it from the one before.
            set("of the second");
            let file = gates.databases().agent(&alice, 1 << 30).begin_ring(&moment()).unwrap();
            assert_eq!(file.ringing.unwrap().attempt, ringing.attempt);
        };
        let ending = async {
            tokio::task::yield_now().await;
            assert_eq!(alarms.settle(&alice, &ringing, &Rung::Done, moment()).await, Ok(None));
            drop(stays);
        };
        tokio::join!(biased; replacing, ending);
        let mut second = gates.databases().agent(&alice, 1 << 30);
        let left = second.alarms(None, 10).unwrap();
        assert_eq!(left.iter().map(|left| &*left.alarm.payload).collect::<Vec<_>>(), ["of the second"]);
    }
}
