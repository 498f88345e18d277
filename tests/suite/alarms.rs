//! Alarms that agents set for themselves, with real clocks and real guests.

use std::time::Duration;

use rookery_tests::program::Program;
use rookery_tests::{Client, TestHost, guests};
use serde_json::Value;
use tempfile::TempDir;

async fn host(data: &TempDir, sidecar: &str) -> TestHost {
    TestHost::builder().plugin("keeper", sidecar).data(data.path()).start().await
}

/// The agent's runs that are rings, newest first, as soon as so many of them have ended.
pub(crate) async fn rings(client: &Client, agent: &str, count: usize) -> Vec<Value> {
    loop {
        let listed = client.get(&format!("/runs?agent={agent}")).await.json();
        let runs = listed["runs"].as_array().expect("a list").iter();
        let rings: Vec<_> = runs
            .filter(|run| run["origin"]["schedule"].is_string() && run["ended"].is_string())
            .cloned()
            .collect();
        if rings.len() >= count {
            return rings;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_wakes_an_agent_that_sleeps_and_is_a_run_like_any_other() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "[lifecycle]\nsleep_after = \"1ms\"\n").await;
    let client = host.client();
    assert_eq!(client.text("keeper/alice", "alarm tea 300 add n|say ready").await, "set");
    host.asleep().await;
    let [ring] = &rings(&client, "keeper/alice", 1).await[..] else { panic!("one ring") };
    assert_eq!((&ring["state"], &ring["origin"]["schedule"]), (&"done".into(), &"tea".into()), "{ring}");
    let run = ring["run"].as_str().unwrap();
    let stream = client.send(http::Method::GET, &format!("/runs/{run}"), &[], "").await.whole().await.body;
    assert!(stream.contains("data: ready\n") && stream.contains("event: done\n"), "{stream}");
    assert_eq!(client.text("keeper/alice", "get n; get rang-tea; alarms").await, "1\n1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_set_if_and_only_if_what_was_written_with_it_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "").await;
    let client = host.client();
    assert_eq!(client.code("keeper/alice", "set k v; alarm tea 0 add n; trap").await, "trapped");
    assert_eq!(client.text("keeper/alice", "get k; alarms").await, "none\n");
    assert_eq!(
        client.text("keeper/alice", "alarm tea 600000; alarms; cancel tea; alarms").await,
        "set\ntea 0\nOk(true)\n"
    );
    let wrong = client.text("keeper/alice", "alarm tea every 5; alarm tea cron 61_*_*_*_*").await;
    assert!(wrong.contains("at least 1000") && wrong.contains("61"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_set_for_now_inside_its_own_ring_rings_again() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "").await;
    let client = host.client();
    client.text("keeper/alice", "alarm tea 0 add n|alarm tea 0 add n").await;
    rings(&client, "keeper/alice", 2).await;
    assert_eq!(client.text("keeper/alice", "get n; alarms").await, "2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_fails_is_tried_again_and_holds_up_no_other() {
    let data = tempfile::tempdir().unwrap();
    let host = host(&data, "").await;
    let client = host.client();
    client.text("keeper/alice", "alarm bad 0 trap; alarm good 10 add n; alarm every every 1000 add m").await;
    loop {
        let rang = client.text("keeper/alice", "get rang-bad; get n; get m").await;
        // A trap undoes what the ring wrote, and its attempt is counted all the same.
        let alarms = client.text("keeper/alice", "alarms").await;
        if rang == "none\n1\n1" && alarms.starts_with("bad 2 agent `keeper/alice` trapped") {
            break;
        }
        tokio::task::yield_now().await;
    }
    let alarms = client.text("keeper/alice", "cancel bad; cancel every; alarms").await;
    assert_eq!(alarms, "Ok(true)\nOk(true)\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_rings_after_the_host_was_killed_and_also_what_was_due_meanwhile() {
    let (plugins, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::copy(guests::component("keeper"), plugins.path().join("keeper.wasm")).unwrap();
    let (plugins, data) = (plugins.path().to_str().unwrap(), data.path().to_str().unwrap());
    let serve = async || {
        let mut program = Program::start(&["serve", plugins, "--data", data, "--listen", "127.0.0.1:0"]);
        let address = program.listening().await;
        (program, Client::new(address))
    };
    let (program, client) = serve().await;
    assert_eq!(client.text("keeper/alice", "alarm soon 1 spin; alarm later 3000 add n").await, "set\nset");
    while client.get("/runs?agent=keeper/alice&state=running").await.json()["runs"]
        == Value::Array(Vec::new())
    {
        tokio::task::yield_now().await;
    }
    program.kill().await;
    let (program, client) = serve().await;
    // The first one was ringing: it rings again. It spins, so it is stopped to let others in, and would ring once more.
    let running = loop {
        let running = client.get("/runs?agent=keeper/alice&state=running").await.json()["runs"].clone();
        if let Some(run) = running.get(0) {
            break run["run"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    client.cancel(&running).await;
    assert_eq!(client.text("keeper/alice", "cancel soon").await, "Ok(true)");
    let done = |rings: &[Value]| rings.iter().any(|ring| ring["state"] == "done");
    while !done(&rings(&client, "keeper/alice", 1).await) {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.text("keeper/alice", "get n").await, "1");
    program.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_drained_leaves_its_alarms_to_the_next() {
    let data = tempfile::tempdir().unwrap();
    let first = host(&data, "").await;
    assert_eq!(first.client().text("keeper/alice", "alarm tea 500 add n").await, "set");
    first.drain(Duration::from_secs(5)).await;
    let agents: Vec<_> = std::fs::read_dir(data.path().join("agents/keeper")).unwrap().collect();
    assert_eq!(agents.len(), 1, "an agent that is closed is one file: {agents:?}");
    let next = host(&data, "").await;
    rings(&next.client(), "keeper/alice", 1).await;
    assert_eq!(next.client().text("keeper/alice", "get n").await, "1");
}
