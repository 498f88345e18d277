//! Files of agents that nothing uses, under instances that live on: what this process has open of them.

use std::fs;
use std::time::Duration;

use rookery_core::{AgentId, Durability};
use rookery_storage::Databases;
use rookery_tests::TestHost;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A host that closes what nothing uses after so long.
async fn host(data: &TempDir, close_after: Duration, sidecar: &str) -> TestHost {
    let host = TestHost::builder().plugin("keeper", sidecar).data(data.path());
    host.config(|config| config.close_after = close_after).start().await
}

const MOMENT: Duration = Duration::from_millis(1);

/// How long something may take that happens in a moment: where the host is broken, the test is to fail and not to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many files of Alice's this process has open.
fn open_files(data: &TempDir) -> usize {
    let alice = data.path().join("agents/keeper/alice.db").into_os_string().into_string().unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let files = open.filter_map(|open| fs::read_link(open.unwrap().path()).ok());
    files.filter(|file| file.to_str().is_some_and(|file| file.starts_with(&alice))).count()
}

/// Waits until none is.
async fn closed(data: &TempDir) {
    let closing = async {
        while open_files(data) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closing).await.expect("a file that nothing uses stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nothing_uses_is_closed_under_its_instance_and_opened_at_the_next_use() {
    let data = tempfile::tempdir().unwrap();
    let lasting = host(&data, Duration::from_secs(3600), "").await;
    assert_eq!(lasting.client().text("keeper/alice", "set k1 a").await, "Ok(())");
    assert!(open_files(&data) > 0, "nothing has closed it yet");
    lasting.drain(PATIENCE).await;
    assert_eq!(open_files(&data), 0);

    let host = host(&data, MOMENT, "").await;
    let client = host.client();
    for n in 1..=5 {
        let said = client.text("keeper/alice", "add n; count woken; count slept").await;
        assert_eq!(said, format!("{n}\nOk(Some(2))\nOk(Some(1))"), "it is the same instance");
        closed(&data).await;
        assert_eq!(host.host().directory().live(), 1);
    }
    let steps = "set k2 b; spin 50; set k3 c; spin 50; say told; set k4 d; spin 50; trap";
    assert_eq!(client.code("keeper/alice", steps).await, "trapped");
    let kept = client.text("keeper/alice", "list k").await;
    assert_eq!(kept, "k1 k2 k3", "what is being written is neither closed nor undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nothing_uses_is_closed_under_a_run_that_waits_and_copied_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let host = host(&data, MOMENT, &format!("[http]\nallow = [\"http://{address}\"]\n")).await;
    let client = host.client();
    let steps = format!("add n; fetch http://{address}/; add n; count woken");
    let asking = client.text("keeper/alice", &steps);
    let serving = async {
        let (mut connection, _) = server.accept().await.unwrap();
        connection.read_u8().await.unwrap();
        closed(&data).await;
        let databases = Databases::open(data.path().join("agents"), Durability::Normal).unwrap();
        let [alice, copied] = ["alice", "copied"]
            .map(|name| AgentId { plugin: "keeper".parse().unwrap(), name: name.parse().unwrap() });
        databases.fork(&alice, &copied).unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let (said, ()) = tokio::join!(asking, serving);
    assert_eq!(said, "1\n2\nOk(Some(1))");
    assert_eq!(client.text("keeper/copied", "get n").await, "1");
}
