//! What a name costs that sleeps: nothing. In a program of its own, since it counts all that this program allocates.
//!
//! What is counted is what is in use. A process may keep more of its system than that, for when it is needed again; how
//! much follows the most that were ever live at once, and the bench `names` shows it.

use std::alloc::System;
use std::time::Duration;

use rookery_tests::TestHost;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::time::timeout;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Enough that everything is as large as it gets with so many live.
const FIRST: usize = 500;
const MORE: usize = 3_000;

/// Far less than remembering a name alone would take: its two texts and a place in a map are 150.
const EACH: usize = 48;

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// Has the archive cache as much of its file as it ever does, 16 MiB: else that grows with the runs.
async fn fill_cache(host: &TestHost) {
    let prompt = "x".repeat(500_000);
    for _ in 0..48 {
        host.client().ask("keeper/long", &prompt).await;
    }
}

/// Has each of these agents keep something, and waits until all of them sleep.
async fn keep(host: &TestHost, numbers: std::ops::Range<usize>) {
    let client = host.client();
    for number in numbers {
        assert_eq!(client.text(&format!("keeper/n{number}"), "set k v").await, "Ok(())");
    }
    host.asleep().await;
}

#[tokio::test]
async fn an_agent_that_sleeps_takes_no_memory_however_many_there_are() {
    let host = TestHost::builder().plugin("keeper", "[lifecycle]\nsleep_after = \"1ms\"\n").start().await;
    timeout(Duration::from_secs(120), fill_cache(&host)).await.unwrap();
    timeout(Duration::from_secs(120), keep(&host, 0..FIRST)).await.unwrap();
    let before = in_use();
    timeout(Duration::from_secs(300), keep(&host, FIRST..FIRST + MORE)).await.unwrap();
    let grown = in_use().saturating_sub(before);
    assert!(grown < MORE * EACH, "{grown} bytes for {MORE} agents that sleep");
}
