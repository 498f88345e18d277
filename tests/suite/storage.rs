//! What agents keep: transactions, the gate before what leaves, isolation, and limits, seen through real guests.

use std::sync::Arc;

use rookery_core::{AgentId, Durability};
use rookery_storage::Databases;
use rookery_tests::program::Program;
use rookery_tests::{Client, TestHost, guests};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

async fn host(data: &TempDir, sidecar: &str) -> TestHost {
    TestHost::builder().plugin("keeper", sidecar).data(data.path()).start().await
}

/// Runs steps, whatever comes of them.
async fn run(client: &Client, agent: &str, steps: &str) {
    client.ask(agent, steps).await;
}

/// The keys that begin with `k`.
async fn keys(client: &Client, agent: &str) -> String {
    client.text(agent, "list k").await
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_6_a_guest_that_traps_has_written_what_it_wrote_before_the_last_thing_that_left_it() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "").await;
    let client = host.client();
    let steps = [
        "set k1 a",
        "set k2 b",
        "say one",
        "set k3 c",
        "sql CREATE TABLE t (x)",
        "await",
        "delete k1",
        "sql INSERT INTO t VALUES (7)",
        "set k4 d",
        "say two",
        "set k5 e",
        "get k5",
        "set k6 f",
    ];
    for trap in 0..=steps.len() {
        let agent = format!("keeper/trap-{trap}");
        let mut prompt: Vec<_> = steps[..trap].to_vec();
        prompt.push("trap");
        assert_eq!(client.code(&agent, &prompt.join("; ")).await, "trapped");
        let expected = match trap {
            0..3 => "",
            3..6 => "k1 k2",
            6..10 => "k1 k2 k3",
            _ => "k2 k3 k4",
        };
        assert_eq!(keys(&client, &agent).await, expected, "trapped after {trap} steps");
        let rows = client.text(&agent, "ask SELECT x FROM t").await;
        match trap {
            0..6 => assert!(rows.contains("no such table"), "{trap}: {rows}"),
            6..10 => assert_eq!(rows, "x", "{trap}"),
            _ => assert_eq!(rows, "x|[Value::Integer(7)]", "{trap}"),
        }
    }
    run(&client, "keeper/end", &steps.join("; ")).await;
    assert_eq!(keys(&client, "keeper/end").await, "k2 k3 k4 k5 k6", "the end of a run lets everything leave");
    run(&client, "keeper/failed", "set k1 a; fail").await;
    assert_eq!(keys(&client, "keeper/failed").await, "k1", "a run that fails has come to its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_6_what_a_request_may_tell_of_is_committed_before_it_is_sent() {
    let data = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let host = host(&data, &format!("[http]\nallow = [\"http://{address}\"]\n")).await;
    let client = host.client();
    let steps = format!("set k1 told; fetch http://{address}/");
    let asking = client.text("keeper/alice", &steps);
    let serving = async {
        let (mut connection, _) = server.accept().await.unwrap();
        connection.read_u8().await.unwrap();
        let databases = Databases::open(data.path().join("agents"), Durability::Normal).unwrap();
        let copy = data.path().join("copy.db");
        let agent = AgentId { plugin: "keeper".parse().unwrap(), name: "alice".parse().unwrap() };
        databases.export(&agent, &copy).unwrap();
        let bob = AgentId { name: "copied".parse().unwrap(), ..agent };
        databases.import(&bob, &copy).unwrap();
        let kept = databases.agent(&bob, 1 << 30).get("k1").unwrap();
        assert_eq!(kept.as_deref(), Some(&b"told"[..]), "while the guest waits for the response");
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    tokio::join!(asking, serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_6_a_guest_that_is_stopped_midway_has_written_nothing_since_its_last_await() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "[runs]\ndeadline = \"500ms\"\n").await;
    let client = host.client();
    // Long enough to lose its thread many times, which is no await.
    assert_eq!(client.code("keeper/a", "set k1 a; say one; set k2 b; spin 100; trap").await, "trapped");
    assert_eq!(keys(&client, "keeper/a").await, "k1");
    assert_eq!(client.code("keeper/b", "set k1 a; say one; set k2 b; spin").await, "deadline-exceeded");
    assert_eq!(keys(&client, "keeper/b").await, "k1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_outlives_the_instance_and_the_host_and_belongs_to_one_agent() {
    let data = tempfile::tempdir().unwrap();
    for start in 1..=3 {
        let host = host(&data, "[lifecycle]\nsleep_after = \"10ms\"\n").await;
        let client = host.client();
        assert_eq!(client.text("keeper/alice", "add n").await, (2 * start - 1).to_string());
        host.asleep().await;
        assert_eq!(client.text("keeper/alice", "add n").await, (2 * start).to_string());
        assert_eq!(client.text("keeper/bob", "get n").await, "none");
        host.drain(std::time::Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_hears_when_its_instance_wakes_and_before_it_sleeps() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "[lifecycle]\nsleep_after = \"10ms\"\n").await;
    let client = host.client();
    for (woken, slept) in [("Ok(Some(1))", "Ok(None)"), ("Ok(Some(2))", "Ok(Some(1))")] {
        assert_eq!(
            client.text("keeper/alice", "count woken; count slept").await,
            format!("{woken}\n{slept}")
        );
        host.asleep().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_used_up_its_storage_is_told_and_may_make_room() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "[limits]\nstorage = \"1MiB\"\n").await;
    let client = host.client();
    assert_eq!(client.text("keeper/alice", "set k1 a; fill x 100; get k1").await, "Ok(())\nError::Full\na");
    assert_eq!(
        client.text("keeper/alice", "get k1; delete x0; delete x1; fill y 1").await,
        "a\nOk(true)\nOk(true)\nfilled"
    );
    assert_eq!(client.text("keeper/bob", "fill x 5").await, "filled", "it is the agent's own limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_8_sql_does_not_reach_out_of_the_agents_own_file() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "").await;
    let client = host.client();
    run(&client, "keeper/bob", "set secret s").await;
    for statement in [
        "ATTACH 'bob.db' AS bob",
        "SELECT * FROM rookery_keys",
        "PRAGMA journal_mode = DELETE",
        "VACUUM INTO '/tmp/stolen.db'",
        "SELECT load_extension('x')",
        "BEGIN",
        "COMMIT",
    ] {
        let said = client.text("keeper/alice", &format!("ask {statement}")).await;
        assert!(
            said.starts_with("Error::Denied") || said.starts_with("Error::Invalid"),
            "{statement}: {said}"
        );
    }
    let said = client.text(
        "keeper/alice",
        "ask WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
    );
    assert_eq!(said.await, "Error::TooSlow");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_through_wasi_keyvalue_is_read_through_storage_and_the_other_way_round() {
    let host = TestHost::serving(&["keyvalue"]).await;
    let client = host.client();
    assert_eq!(client.text("keyvalue/alice", "set k a; own get k; exists k").await, "set\na\ntrue");
    assert_eq!(client.text("keyvalue/alice", "own set l b; get l; keys").await, "Ok(())\nb\nk l");
    assert_eq!(
        client.text("keyvalue/alice", "delete k; delete k; own get k; get k; exists k; keys").await,
        "deleted\ndeleted\nnone\nnone\nfalse\nl"
    );
    assert_eq!(client.text("keyvalue/bob", "get l; keys").await, "none\n", "an agent's keys are its own");
    assert_eq!(
        client.text("keyvalue/alice", "open ; open default; open other").await,
        "opened\nopened\nError::NoSuchStore"
    );
    let long = "x".repeat(1025);
    let said = client.text("keyvalue/alice", &format!("set {long}; get k")).await;
    assert_eq!(said, "Error::Other(\"a key has 1 to 1024 bytes, not 1025\")\nnone");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_6_what_is_set_through_wasi_keyvalue_is_part_of_the_same_transaction() {
    let host = TestHost::serving(&["keyvalue"]).await;
    let client = host.client();
    assert_eq!(client.code("keyvalue/alice", "set k a; own set l a; trap").await, "trapped");
    assert_eq!(client.text("keyvalue/alice", "keys").await, "");
    let steps = "set k a; own set l a; say told; delete k; set m b; own set l b; trap";
    assert_eq!(client.code("keyvalue/alice", steps).await, "trapped");
    assert_eq!(client.text("keyvalue/alice", "keys; get l").await, "k l\na");
}

#[tokio::test(flavor = "multi_thread")]
async fn wasi_keyvalue_lists_every_key_once_page_by_page_also_while_they_are_deleted() {
    let host = TestHost::serving(&["keyvalue"]).await;
    let client = host.client();
    let said = client.text("keyvalue/alice", "own fill 2005; pages").await;
    assert_eq!(said, "filled\n[1000, 1000, 5], 2005 of them once");
    let said = client.text("keyvalue/alice", "keys 7").await;
    assert_eq!(said, "Error::Other(\"this cursor is too old; list from the start\")");
    assert_eq!(client.text("keyvalue/alice", "sweep; keys; keys 0").await, "swept\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_6_what_was_acknowledged_is_there_whatever_moment_the_host_is_killed_at() {
    const ROUNDS: u64 = 20;
    const AGENTS: usize = 4;
    let (plugins, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::copy(guests::component("keeper"), plugins.path().join("keeper.wasm")).unwrap();
    let (plugins, data) = (plugins.path().to_str().unwrap(), data.path().to_str().unwrap());
    let mut told = [0; AGENTS];
    for round in 0..=ROUNDS {
        let mut program = Program::start(&["serve", plugins, "--data", data, "--listen", "127.0.0.1:0"]);
        let client = Client::new(program.listening().await);
        for (agent, told) in told.iter_mut().enumerate() {
            let kept = client.text(&format!("keeper/a{agent}"), "get n; get m").await;
            let (n, m) = kept.split_once('\n').unwrap();
            assert_eq!(n, m, "both or none of what one run writes");
            let kept = n.parse().unwrap_or(0);
            // One more may have been on its way when the host died.
            assert!((*told..=*told + 1).contains(&kept), "round {round}: told {told}, and there is {kept}");
            *told = kept;
        }
        // Killed after some number of answers, a different one in each round, while others are on their way.
        let answers = Arc::new(Semaphore::new(0));
        let adding: Vec<_> =
            (0..AGENTS).map(|agent| tokio::spawn(add(client.clone(), agent, answers.clone()))).collect();
        let enough = u32::try_from(round * 7 % 40).unwrap() + 1;
        answers.acquire_many(enough).await.unwrap().forget();
        program.kill().await;
        for (told, adding) in told.iter_mut().zip(adding) {
            *told = adding.await.unwrap().max(*told);
        }
    }
}

/// Adds one to two numbers of an agent's until the host has gone; what it was told last.
async fn add(client: Client, agent: usize, answers: Arc<Semaphore>) -> u64 {
    let mut told = 0;
    let agent = format!("keeper/a{agent}");
    loop {
        let (client, agent) = (client.clone(), agent.clone());
        // The client panics where there is no whole answer.
        let asked = tokio::spawn(async move { client.text(&agent, "add n; add m").await });
        match asked.await {
            Ok(text) => told = text.split('\n').next().unwrap().parse().unwrap(),
            Err(_) => return told,
        }
        answers.add_permits(1);
    }
}
