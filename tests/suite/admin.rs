//! Agents as things that are kept: listed, exported while they live, imported, forked and removed, with real guests.

use std::path::Path;

use http::{Method, StatusCode};
use rookery_client::{Admin, ClientError, Settings};
use rookery_core::{AgentId, Durability};
use rookery_storage::Databases;
use rookery_tests::{Client, TestHost, TestHostBuilder};
use serde_json::{Value, json};

use crate::alarms::rings;

const TOKEN: &str = "0123456789abcdef";

fn keeping(data: &Path) -> TestHostBuilder {
    TestHost::builder().plugin("keeper", "").data(data).admin(None)
}

async fn host() -> TestHost {
    TestHost::builder().plugin("keeper", "").admin(None).start().await
}

fn agent(text: &str) -> AgentId {
    let (plugin, name) = text.split_once('/').unwrap();
    AgentId { plugin: plugin.parse().unwrap(), name: name.parse().unwrap() }
}

/// What the command line asks with.
fn admin(host: &TestHost) -> Admin {
    let base = format!("http://{}", host.host().admin().unwrap()).parse().unwrap();
    Admin::new(base, Settings::default(), None)
}

/// A copy of what an agent keeps.
async fn export(host: &TestHost, name: &str) -> Vec<u8> {
    let mut copy = Vec::new();
    admin(host).export(&agent(name), &mut copy).await.unwrap();
    copy
}

async fn import(host: &TestHost, name: &str, copy: &[u8]) -> Result<(), ClientError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    std::fs::write(&path, copy).unwrap();
    let file = tokio::fs::File::open(&path).await.unwrap();
    admin(host).import(&agent(name), file, copy.len() as u64).await.map(drop)
}

fn code(result: Result<(), ClientError>) -> String {
    match result {
        Err(ClientError::Problem(problem)) => problem.code,
        other => panic!("{other:?}"),
    }
}

async fn listed(admin: &Client) -> Vec<Value> {
    admin.get("/admin/agents").await.json()["agents"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_writes_is_exported_as_of_one_moment_and_goes_on_elsewhere() {
    let (here, there) = (host().await, host().await);
    let client = here.client();
    // Both are added to in one transaction, so they are the same in every one that is whole.
    let steps = "add a; add b; await; ".repeat(2_000);
    let mut writing = client.prompt("keeper/alice", &format!("{steps}say written")).await;
    while here.admin().get("/admin/agents/keeper/alice").await.json()["bytes"].as_u64().unwrap_or(0) == 0 {
        tokio::task::yield_now().await;
    }
    let mut last = 0;
    for copy in 0..5 {
        let file = export(&here, "keeper/alice").await;
        let (local, remote) = (format!("keeper/copy-{copy}"), format!("keeper/from-afar-{copy}"));
        import(&here, &local, &file).await.unwrap();
        import(&there, &remote, &file).await.unwrap();
        let numbers = here.client().text(&local, "get a; get b").await;
        assert_eq!(there.client().text(&remote, "get a; get b").await, numbers);
        let (a, b) = numbers.split_once('\n').unwrap();
        assert_eq!(a, b, "a copy is of one moment");
        let a = if a == "none" { 0 } else { a.parse().unwrap() };
        assert!(a >= last, "and of a later one each time");
        last = a;
    }
    writing.until("data: written").await;
    writing.rest().await;
    assert_eq!(client.text("keeper/alice", "get a; get b").await, "2000\n2000", "the writer goes on");
    assert_eq!(there.client().text("keeper/from-afar-0", "add a; add a").await.lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_or_foreign_or_larger_than_the_plugin_allows_is_not_imported() {
    let host = TestHost::builder()
        .plugin("keeper", "")
        .plugin_as("keeper", "small", "[limits]\nstorage = \"1MiB\"\n")
        .admin(None)
        .start()
        .await;
    let client = host.client();
    client.text("keeper/alice", "set k1 a; fill x 20").await;
    let copy = export(&host, "keeper/alice").await;
    assert!(copy.len() > 1 << 20);
    assert_eq!(code(import(&host, "keeper/alice", &copy).await), "taken");
    assert_eq!(code(import(&host, "small/alice", &copy).await), "body-too-large");
    assert_eq!(code(import(&host, "keeper/bob", b"").await), "not-an-agent");
    assert_eq!(code(import(&host, "keeper/bob", &[0; 100_000]).await), "not-an-agent");
    assert_eq!(code(import(&host, "keeper/bob", &copy[..copy.len() / 2]).await), "not-an-agent");
    assert_eq!(client.text("keeper/bob", "get k1").await, "none");
    import(&host, "keeper/carol", &copy).await.unwrap();
    assert_eq!(client.text("keeper/carol", "get k1").await, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_beside_a_run() {
    let host = TestHost::builder().plugin("keeper", "").plugin("badly", "").admin(None).start().await;
    host.client().text("keeper/alice", "set k1 a").await;
    let copy = export(&host, "keeper/alice").await;
    assert_eq!(host.client().text("badly/bob", "count").await, "1");
    let mut running = host.client().prompt("badly/bob", "never").await;
    assert_eq!(code(import(&host, "badly/bob", &copy).await), "busy");
    host.client().cancel(&running.run()).await;
    running.until("event: error").await;
    import(&host, "badly/bob", &copy).await.unwrap();
    let shown = host.admin().get("/admin/agents/badly/bob").await.json();
    assert!(shown["bytes"].as_u64().unwrap() > 0);
    assert_eq!(
        host.client().text("badly/bob", "count").await,
        "1",
        "in a new instance, which meets the file"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_begins_with_what_the_first_one_keeps_and_goes_its_own_way() {
    let host = host().await;
    let (client, admin) = (host.client(), host.admin());
    client.text("keeper/Alice", "set k1 a").await;
    let path = "/admin/agents/keeper/Alice/fork?to=keeper/alice";
    let made = admin.send(Method::POST, path, &[], "").await.whole().await;
    assert_eq!(
        (made.status, made.headers["location"].to_str().unwrap()),
        (StatusCode::CREATED, "/admin/agents/keeper/alice")
    );
    client.text("keeper/alice", "set k2 b").await;
    assert_eq!(client.text("keeper/alice", "list k").await, "k1 k2");
    assert_eq!(client.text("keeper/Alice", "list k").await, "k1", "names that differ in case are two agents");
    let again = admin.send(Method::POST, path, &[], "").await.whole().await;
    assert_eq!((again.status, again.json()["code"].as_str()), (StatusCode::CONFLICT, Some("taken")));
    let nothing = "/admin/agents/keeper/none/fork?to=keeper/new";
    let nothing = admin.send(Method::POST, nothing, &[], "").await.whole().await;
    assert_eq!(
        (nothing.status, nothing.json()["code"].as_str()),
        (StatusCode::NOT_FOUND, Some("unknown-agent"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_agent_goes_all_that_is_its_own_and_its_next_run_meets_nothing() {
    let data = tempfile::tempdir().unwrap();
    let host = keeping(data.path()).start().await;
    let (client, admin) = (host.client(), host.admin());
    client.text("keeper/bob", "set k1 b").await;
    client.text("keeper/alice", "set k1 a; count woken").await;
    let mut running = client.prompt("keeper/alice", "set k2 a; say begun; spin 600000").await;
    running.until("data: begun").await;
    let shown = admin.get("/admin/agents/keeper/alice").await.json();
    let expected = json!({ "live": true, "running": 1, "queued": 0, "served": true, "runs": 2 });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }

    let gone = admin.send(Method::DELETE, "/admin/agents/keeper/alice", &[], "").await.whole().await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.body);
    assert_eq!(gone.json()["runs"], 2);
    assert!(gone.json()["bytes"].as_u64().unwrap() > 0);
    assert!(running.rest().await.contains("\"code\":\"cancelled\""), "what ran was cancelled");
    assert_eq!(client.get(&format!("/runs/{}", running.run())).await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.get("/runs?agent=keeper/alice").await.json()["runs"], json!([]));
    let files: Vec<_> = std::fs::read_dir(data.path().join("agents/keeper")).unwrap().collect();
    assert!(
        files.iter().all(|file| !file.as_ref().unwrap().file_name().to_str().unwrap().starts_with("alice"))
    );
    let again = admin.send(Method::DELETE, "/admin/agents/keeper/alice", &[], "").await.whole().await;
    assert_eq!((again.status, again.json()["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown-agent")));

    assert_eq!(client.text("keeper/alice", "list k; count woken").await, "\nOk(Some(1))");
    assert_eq!(client.text("keeper/bob", "list k").await, "k1", "another agent keeps what it has");
    assert_eq!(client.get("/runs?agent=keeper/bob").await.json()["runs"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_go_where_their_agent_goes() {
    let data = tempfile::tempdir().unwrap();
    let host = keeping(data.path()).start().await;
    let (client, admin) = (host.client(), host.admin());
    client.text("keeper/alice", "alarm later 600000; alarm tea 1 add n").await;
    rings(&client, "keeper/alice", 1).await;
    client.text("keeper/alice", "alarm soon 6000 add m").await;
    let path = "/admin/agents/keeper/alice/fork?to=keeper/bob";
    assert_eq!(admin.send(Method::POST, path, &[], "").await.status, StatusCode::CREATED);
    let gone = admin.send(Method::DELETE, "/admin/agents/keeper/alice", &[], "").await;
    assert_eq!(gone.status, StatusCode::OK);

    // Nobody has asked for this agent yet: the host knows by itself that it has an alarm.
    rings(&client, "keeper/bob", 1).await;
    assert_eq!(client.text("keeper/bob", "get m; get n; alarms").await, "1\n1\nlater 0");
    assert_eq!(
        client.text("keeper/alice", "get m; alarms").await,
        "none\n",
        "nor does it ring for the other"
    );
    assert_eq!(rings(&client, "keeper/alice", 0).await.len(), 0);
    let databases = Databases::open(data.path().join("agents"), Durability::Normal).unwrap();
    let known = databases.alarms(None, 10).unwrap();
    assert_eq!(known.iter().map(|(agent, _)| agent.to_string()).collect::<Vec<_>>(), ["keeper/bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_rings_ends_with_its_agent_and_is_nothing_to_the_next_of_that_name() {
    let host = host().await;
    let (client, admin) = (host.client(), host.admin());
    client.text("keeper/alice", "alarm tea 1 say begun|spin 600000").await;
    let running = "/runs?agent=keeper/alice&state=running";
    while client.get(running).await.json()["runs"] == json!([]) {
        tokio::task::yield_now().await;
    }
    let gone = admin.send(Method::DELETE, "/admin/agents/keeper/alice", &[], "").await;
    assert_eq!(gone.status, StatusCode::OK, "it does not wait for an alarm that rings on");
    assert_eq!(
        client.text("keeper/alice", "get rang-tea; alarm tea 600000; alarms").await,
        "none\nset\ntea 0",
        "neither its attempts nor how they ended"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_keeps_nothing_has_runs_that_can_be_removed() {
    let host = TestHost::builder().plugin("echo", "").admin(None).start().await;
    let (client, admin) = (host.client(), host.admin());
    client.text("echo/alice", "hello").await;
    assert_eq!(listed(&admin).await, Vec::<Value>::new(), "it is no file");
    assert_eq!(admin.get("/admin/agents/echo/alice").await.json()["runs"], 1);
    let gone = admin.send(Method::DELETE, "/admin/agents/echo/alice", &[], "").await.whole().await;
    assert_eq!(gone.json(), json!({ "agent": "echo/alice", "bytes": 0, "runs": 1 }));
    assert_eq!(client.get("/runs").await.json()["runs"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_under_a_plugin_that_is_not_served_any_more_can_be_looked_after() {
    let data = tempfile::tempdir().unwrap();
    let before = TestHost::builder().plugin_as("keeper", "former", "").data(data.path()).start().await;
    before.client().text("former/alice", "set k1 a").await;
    assert_eq!(before.host().admin(), None, "there is no admin address unless one is asked for");
    before.drain(std::time::Duration::from_secs(5)).await;

    let host = keeping(data.path()).start().await;
    let admin = host.admin();
    let all = listed(&admin).await;
    assert_eq!((all[0]["agent"].as_str(), all[0]["served"].as_bool()), (Some("former/alice"), Some(false)));
    let copy = export(&host, "former/alice").await;
    import(&host, "keeper/alice", &copy).await.unwrap();
    let path = "/admin/agents/former/alice/fork?to=keeper/bob";
    assert_eq!(admin.send(Method::POST, path, &[], "").await.status, StatusCode::CREATED);
    assert_eq!(host.client().text("keeper/alice", "get k1").await, "a");
    assert_eq!(host.client().text("keeper/bob", "get k1").await, "a");
    let gone = admin.send(Method::DELETE, "/admin/agents/former/alice", &[], "").await.whole().await;
    assert_eq!(gone.json()["runs"], 1);
    assert_eq!(admin.get("/admin/agents?plugin=former").await.json()["agents"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_face_is_not_where_clients_come_in_and_wants_its_token_and_no_pages() {
    let host = TestHost::builder().plugin("keeper", "").admin(Some(TOKEN)).start().await;
    host.client().text("keeper/alice", "set k1 a").await;
    let public = host.client().get("/admin/agents").await;
    assert_eq!((public.status, public.json()["code"].as_str()), (StatusCode::NOT_FOUND, Some("not-found")));
    let admin = host.admin();
    assert_eq!(admin.get("/agents").await.status, StatusCode::UNAUTHORIZED, "nor the other way round");
    let right = format!("Bearer {TOKEN}");
    for (headers, status) in [
        (vec![], StatusCode::UNAUTHORIZED),
        (vec![("authorization", "Bearer 0123456789abcdeg")], StatusCode::UNAUTHORIZED),
        (vec![("authorization", &*right), ("origin", "http://evil.example")], StatusCode::FORBIDDEN),
        (vec![("authorization", &*right)], StatusCode::OK),
    ] {
        let answer = admin.send(Method::DELETE, "/admin/agents/keeper/alice", &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let base: rookery_client::Base = format!("http://{}", host.host().admin().unwrap()).parse().unwrap();
    let with = |token| Admin::new(base.clone(), Settings::default(), token);
    assert!(with(Some(TOKEN)).list(None).next().await.is_none());
    let refused = with(None).list(None).next().await.unwrap().map(drop);
    assert_eq!(code(refused), "unauthorized");
}
