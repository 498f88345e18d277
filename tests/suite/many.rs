//! Many agents that wait for their alarms, each with a file of its own.

use std::time::Duration;

use rookery_alarms::{LATEST, Missed, Timing};
use rookery_core::{AgentId, Durability};
use rookery_storage::{Alarm, Databases};
use rookery_tests::TestHost;
use rookery_tests::opens::Opens;

use crate::alarms::rings;

/// Keeps an alarm in the agent's file that is due then.
fn set(databases: &Databases, name: &str, due: u64) {
    let agent = AgentId { plugin: "keeper".parse().unwrap(), name: name.parse().unwrap() };
    let mut storage = databases.agent(&agent, 1 << 30);
    let (timing, missed) = (Timing::At(due), Missed::RingOnce);
    storage.set_alarm(Alarm { name: "alarm".into(), timing, payload: "add n".into(), missed }, 0).unwrap();
    storage.commit().unwrap();
    storage.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_agents_with_alarms_a_host_opens_those_alone_that_are_due() {
    // More than are read from the index at once.
    const WAITING: usize = 1_200;
    let data = tempfile::tempdir().unwrap();
    let databases = Databases::open(data.path().join("agents"), Durability::Normal).unwrap();
    for n in 0..WAITING {
        set(&databases, &format!("waiting-{n}"), LATEST);
    }
    // They come before and after all others, so that the host knows of all when these have rung.
    let due = ["a", "z"];
    for name in due {
        set(&databases, name, 1_000);
    }
    drop(databases);

    let opens = Opens::of(&data.path().join("agents/keeper"));
    let host = TestHost::builder().plugin("keeper", "").data(data.path()).start().await;
    for name in due {
        rings(&host.client(), &format!("keeper/{name}"), 1).await;
    }
    host.drain(Duration::from_secs(5)).await;
    let opened = opens.counted();
    let files: Vec<_> = opened.keys().filter(|file| file.ends_with(".db")).collect();
    assert_eq!(files, ["a.db", "z.db"], "{opened:?}");

    // The next host knows of the others too.
    let databases = Databases::open(data.path().join("agents"), Durability::Normal).unwrap();
    assert_eq!(databases.alarms(None, 2 * WAITING).unwrap().len(), WAITING);
}
