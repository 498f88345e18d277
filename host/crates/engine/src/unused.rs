//! Closes agents' files that nothing uses, under instances that live on.
//!
//! Promise: a file is closed when nothing has used it for the time that is given, and at the latest after twice that and
//! what closing others before it takes; whatever is asked for next opens it again. Whether runs are going on does not
//! matter, since one may wait for hours; what a guest wrote since its last await does, and keeps it open.
//! Bounded by: one file at a time.
//! Ends when: the host lets go of its storages.
//! Costs: a look at every storage that is in use, once in that time. A guest that uses its storage at the very moment in
//! which it is closed waits for the disk, as it may with a commit.

use std::sync::TryLockError;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::gate::Shared;

/// Closes those of the storages `in_use` that nothing uses, until there is none to ask.
pub(crate) async fn close_unused(after: Duration, in_use: impl Fn() -> Option<Vec<Shared>>) {
    loop {
        sleep(after).await;
        let Some(mut storages) = in_use() else { return };
        let resting = spawn_blocking(move || {
            // A step of each in turn: what has much to give back to the disk keeps nobody else's open.
            while !storages.is_empty() {
                storages.retain(rest);
            }
        });
        if let Err(error) = resting.await {
            tracing::error!("closing files that nothing uses broke off: {error}");
        }
    }
}

/// Goes a step towards closing it, unless somebody uses it; says whether there are more.
fn rest(storage: &Shared) -> bool {
    let rested = match storage.try_lock() {
        Ok(mut storage) => storage.rest(),
        Err(TryLockError::Poisoned(storage)) => storage.into_inner().rest(),
        Err(TryLockError::WouldBlock) => return false,
    };
    rested.unwrap_or_else(|error| {
        // It has said whose it is.
        tracing::warn!("a file was not closed well: {error}; nothing that was committed is lost");
        false
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rookery_core::{AgentId, Durability};
    use rookery_storage::Databases;
    use tempfile::TempDir;
    use tokio::time::{Instant, sleep};

    use crate::gate::Gate;
    use crate::gates::Gates;

    const AFTER: Duration = Duration::from_secs(10);

    fn gates() -> (Gates, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let databases = Databases::open(folder.path().join("agents"), Durability::Normal).unwrap();
        (Gates::new(databases, AFTER), folder)
    }

    async fn agent(gates: &Gates, name: &str) -> Gate {
        gates.of(&AgentId { plugin: "p".parse().unwrap(), name: name.parse().unwrap() }).await
    }

    fn set(gate: &Gate, value: &[u8]) {
        gate.storage(|storage| storage.set("a", value)).unwrap();
        gate.pass().unwrap();
    }

    fn is_open(gate: &Gate) -> bool {
        gate.storage(|storage| storage.is_open())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_nothing_uses_is_closed_neither_early_nor_late_and_opened_at_the_next_use() {
        let (gates, folder) = gates();
        let gate = agent(&gates, "alice").await;
        // At every moment between two looks.
        for second in 0..10 {
            sleep(Duration::from_secs(11)).await;
            set(&gate, &[second]);
            let used = Instant::now();
            while is_open(&gate) && used.elapsed() < AFTER * 3 {
                sleep(Duration::from_millis(100)).await;
            }
            let took = used.elapsed();
            let slack = Duration::from_millis(200);
            assert!((AFTER..AFTER * 2 + slack).contains(&took), "{took:?} after it was used");
            assert!(!folder.path().join("agents/p/alice.db-wal").exists());
            assert_eq!(gate.storage(|storage| storage.get("a")), Ok(Some(vec![second])));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_used_now_and_then_stays_open() {
        let (gates, _folder) = gates();
        let (alice, bob) = (agent(&gates, "alice").await, agent(&gates, "bob").await);
        set(&alice, b"1");
        set(&bob, b"1");
        for _ in 0..20 {
            sleep(AFTER * 9 / 10).await;
            assert!(is_open(&alice));
            alice.storage(|storage| storage.get("a")).unwrap();
        }
        assert!(!is_open(&bob), "it is not the other one that counts");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_guest_wrote_and_did_not_commit_keeps_its_file_open_and_is_not_undone() {
        let (gates, _folder) = gates();
        let gate = agent(&gates, "alice").await;
        set(&gate, b"1");
        gate.storage(|storage| storage.set("a", b"2")).unwrap();
        sleep(AFTER * 10).await;
        assert!(is_open(&gate));
        gate.pass().unwrap();
        sleep(AFTER * 3).await;
        assert!(!is_open(&gate));
        assert_eq!(gate.storage(|storage| storage.get("a")), Ok(Some(b"2".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn who_closes_what_nothing_uses_is_no_user_and_goes_with_the_storages() {
        let (gates, _folder) = gates();
        let gate = agent(&gates, "alice").await;
        set(&gate, b"1");
        sleep(AFTER * 3).await;
        drop(gate);
        let whose = AgentId { plugin: "p".parse().unwrap(), name: "alice".parse().unwrap() };
        drop(gates.reserve(&whose).await);
        gates.all_closed().await;
        drop(gates);
        sleep(AFTER * 2).await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }
}
