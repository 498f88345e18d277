//! The admin face over real sockets, with a keeper that only remembers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::ready;
use rookery_agents::Activity;
use rookery_core::{AgentId, PluginName};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::metrics::Fixed;
use super::support::{Client, Response, soon};
use crate::{AgentState, Answer, Keeper, KeeperError, Removed, Scratch, serve_admin};

pub(super) const TOKEN: &str = "0123456789abcdef";

/// What an agent may keep.
const LIMIT: u64 = 1 << 20;

/// What agents keep, as texts.
struct Memory {
    kept: Mutex<BTreeMap<AgentId, String>>,
    folder: PathBuf,
    files: AtomicUsize,
    places: Arc<Semaphore>,
}

impl Memory {
    fn new(folder: PathBuf) -> Arc<Self> {
        let (kept, files) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { kept, folder, files, places: Arc::new(Semaphore::new(2)) })
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<AgentId, String>> {
        self.kept.lock().unwrap()
    }

    fn scratch(&self) -> Scratch {
        let name = self.files.fetch_add(1, Ordering::Relaxed).to_string();
        let place = self.places.clone().try_acquire_owned().expect("the test uses few");
        Scratch::new(self.folder.join(name), place)
    }

    fn put(&self, agent: AgentId, text: String) -> Result<(), KeeperError> {
        if self.kept().contains_key(&agent) {
            return Err(KeeperError::Taken(agent));
        }
        self.kept().insert(agent, text);
        Ok(())
    }

    fn get(&self, agent: &AgentId) -> Result<String, KeeperError> {
        self.kept().get(agent).cloned().ok_or_else(|| KeeperError::Missing(agent.clone()))
    }
}

impl Keeper for Memory {
    fn list(
        &self,
        plugin: Option<PluginName>,
        after: Option<AgentId>,
        limit: usize,
    ) -> Answer<Vec<AgentState>> {
        let kept = self.kept();
        let wanted = kept.iter().filter(|(agent, _)| {
            plugin.as_ref().is_none_or(|plugin| agent.plugin == *plugin)
                && after.as_ref().is_none_or(|after| *agent > after)
        });
        let page = wanted.take(limit).map(|(agent, text)| state(agent, text, None)).collect();
        ready(Ok(page)).boxed()
    }

    fn state(&self, agent: AgentId) -> Answer<AgentState> {
        ready(self.get(&agent).map(|text| state(&agent, &text, Some(3)))).boxed()
    }

    fn remove(&self, agent: AgentId) -> Answer<Removed> {
        let removed = self.kept().remove(&agent).ok_or(KeeperError::Missing(agent));
        ready(removed.map(|text| Removed { bytes: text.len() as u64, runs: 3 })).boxed()
    }

    fn export(&self, agent: AgentId) -> Answer<Scratch> {
        let copy = self.get(&agent).map(|text| {
            let scratch = self.scratch();
            std::fs::write(scratch.path(), text).unwrap();
            scratch
        });
        ready(copy).boxed()
    }

    fn room(&self, agent: AgentId) -> Answer<(Scratch, u64)> {
        let taken = self.kept().contains_key(&agent);
        let room = if taken { Err(KeeperError::Taken(agent)) } else { Ok((self.scratch(), LIMIT)) };
        ready(room).boxed()
    }

    fn import(&self, agent: AgentId, from: Scratch) -> Answer<()> {
        let text = std::fs::read_to_string(from.path()).unwrap();
        let good = text.starts_with("agent:");
        let bad = || KeeperError::NotAnAgent("it does not begin so".into());
        ready(good.then_some(()).ok_or_else(bad).and_then(|()| self.put(agent, text))).boxed()
    }

    fn fork(&self, from: AgentId, to: AgentId) -> Answer<()> {
        ready(self.get(&from).and_then(|text| self.put(to, text))).boxed()
    }
}

fn state(agent: &AgentId, text: &str, runs: Option<u64>) -> AgentState {
    AgentState {
        agent: agent.clone(),
        bytes: text.len() as u64,
        last_used: Some(UNIX_EPOCH + Duration::from_secs(1)),
        activity: Activity { live: true, running: 1, queued: 2 },
        served: true,
        runs,
    }
}

fn agent(text: &str) -> AgentId {
    let (plugin, name) = text.split_once('/').unwrap();
    AgentId { plugin: plugin.parse().unwrap(), name: name.parse().unwrap() }
}

/// An admin face, and what it is the face of.
pub(super) struct Face {
    pub(super) address: SocketAddr,
    memory: Arc<Memory>,
    folder: tempfile::TempDir,
    stop: CancellationToken,
}

impl Face {
    pub(super) async fn with(token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path().to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let token = token.map(|token| token.parse().unwrap());
        tokio::spawn(serve_admin(listener, memory.clone(), Arc::new(Fixed), token, stop.clone()));
        Self { address, memory, folder, stop }
    }

    /// One that keeps something of these agents.
    async fn keeping(agents: &[&str]) -> Self {
        let face = Self::with(None).await;
        for name in agents {
            face.memory.put(agent(name), format!("agent: {name}")).unwrap();
        }
        face
    }

    pub(super) async fn ask(&self, request: &str, headers: &str, body: &str) -> Response {
        let mut client = Client::of(self.address).await;
        let length = body.len();
        client
            .send(format!(
                "{request} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
            ))
            .await;
        client.response().await
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET /admin/agents{path}"), "", "").await
    }

    /// Waits until no file is left that was there for a request, and every place is free again.
    async fn tidy(&self) {
        let tidy = async {
            let left = || std::fs::read_dir(self.folder.path()).unwrap().next().is_some();
            while left() || self.memory.places.available_permits() < 2 {
                tokio::task::yield_now().await;
            }
        };
        soon(tidy).await;
    }
}

#[tokio::test]
async fn agents_are_listed_in_pages_that_say_where_the_next_one_is() {
    let face = Face::keeping(&["chat/a", "chat/b", "notes/a"]).await;
    let first = face.get("?limit=2").await;
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.header("access-control-allow-origin"), None, "no page shall see it");
    let first = first.json();
    assert_eq!(
        first["agents"][0],
        json!({
            "agent": "chat/a",
            "bytes": 13,
            "last_used": "1970-01-01T00:00:01.000Z",
            "live": true,
            "running": 1,
            "queued": 2,
            "served": true,
        })
    );
    assert_eq!(first["agents"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let second = face.ask(&format!("GET {next}"), "", "").await.json();
    assert_eq!(second["agents"][0]["agent"], "notes/a");
    assert_eq!(second.get("next"), None);
    let notes = face.get("?plugin=notes").await.json();
    assert_eq!(notes["agents"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_agent_is_shown_with_its_runs_and_removed_once() {
    let face = Face::keeping(&["chat/a"]).await;
    let shown = face.get("/chat/a").await.json();
    assert_eq!((shown["agent"].as_str(), shown["runs"].as_u64()), (Some("chat/a"), Some(3)));
    let removed = face.ask("DELETE /admin/agents/chat/a", "", "").await;
    assert_eq!(removed.status(), 200);
    assert_eq!(removed.json(), json!({ "agent": "chat/a", "bytes": 13, "runs": 3 }));
    let again = face.ask("DELETE /admin/agents/chat/a", "", "").await;
    assert_eq!((again.status(), again.code().as_str()), (404, "unknown-agent"));
    assert_eq!(face.get("/chat/a").await.code(), "unknown-agent");
    assert_eq!(face.get("/chat/a/export").await.code(), "unknown-agent");
}

#[tokio::test]
async fn what_is_exported_comes_whole_with_its_length_and_leaves_nothing_behind() {
    let face = Face::with(None).await;
    // More than one piece.
    let text = "x".repeat(300_000);
    face.memory.put(agent("chat/a"), text.clone()).unwrap();
    let copy = face.get("/chat/a/export").await;
    assert_eq!(copy.header("content-type"), Some("application/vnd.sqlite3"));
    assert_eq!(copy.header("content-length"), Some("300000"));
    assert_eq!(copy.header("content-disposition"), Some("attachment; filename=\"a.db\""));
    assert!(copy.body == text);
    face.tidy().await;
}

#[tokio::test]
async fn what_is_imported_is_an_agent_from_then_on_and_nothing_is_written_over() {
    let face = Face::with(None).await;
    let import = async |body: &str| face.ask("PUT /admin/agents/chat/a/import", "", body).await;
    let made = import("agent: new").await;
    assert_eq!((made.status(), made.header("location")), (201, Some("/admin/agents/chat/a")));
    assert_eq!(made.json()["bytes"], 10);
    let again = import("agent: other").await;
    assert_eq!((again.status(), again.code().as_str()), (409, "taken"));
    assert_eq!(face.memory.get(&agent("chat/a")).unwrap(), "agent: new");
    face.tidy().await;
}

#[tokio::test]
async fn what_is_no_agent_or_too_large_or_breaks_off_is_not_imported_and_leaves_nothing_behind() {
    let face = Face::with(None).await;
    let import = async |body: &str| face.ask("PUT /admin/agents/chat/a/import", "", body).await;
    let foreign = import("a poem").await;
    assert_eq!((foreign.status(), foreign.code().as_str()), (422, "not-an-agent"));
    let large = import(&"x".repeat(LIMIT as usize + 1)).await;
    assert_eq!((large.status(), large.code().as_str()), (413, "body-too-large"));
    assert!(large.json()["detail"].as_str().unwrap().contains("may keep 1MiB"));

    let mut unannounced = Client::of(face.address).await;
    let head =
        "PUT /admin/agents/chat/a/import HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    unannounced.send(head).await;
    for _ in 0..=LIMIT / 65536 {
        unannounced.send(format!("10000\r\n{}\r\n", "x".repeat(65536))).await;
    }
    unannounced.send("0\r\n\r\n").await;
    assert_eq!(unannounced.response().await.code(), "body-too-large");

    let mut leaving = Client::of(face.address).await;
    leaving
        .send("PUT /admin/agents/chat/a/import HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20\r\n\r\nagent: ")
        .await;
    let begun = async {
        while std::fs::read_dir(face.folder.path()).unwrap().next().is_none() {
            tokio::task::yield_now().await;
        }
    };
    soon(begun).await;
    drop(leaving);
    face.tidy().await;
    assert!(face.memory.kept().is_empty());
}

#[tokio::test]
async fn a_fork_is_told_its_name() {
    let face = Face::keeping(&["chat/a"]).await;
    let made = face.ask("POST /admin/agents/chat/a/fork?to=notes/b", "", "").await;
    assert_eq!((made.status(), made.header("location")), (201, Some("/admin/agents/notes/b")));
    assert_eq!(made.json()["agent"], "notes/b");
    for (request, status, code) in [
        ("POST /admin/agents/chat/a/fork?to=notes/b", 409, "taken"),
        ("POST /admin/agents/chat/none/fork?to=notes/c", 404, "unknown-agent"),
        ("POST /admin/agents/chat/a/fork?to=notes/..", 400, "bad-query"),
        ("POST /admin/agents/chat/a/fork", 400, "bad-query"),
    ] {
        let refused = face.ask(request, "", "").await;
        assert_eq!((refused.status(), refused.code().as_str()), (status, code), "{request}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones_and_a_wrong_path_the_right_paths() {
    let face = Face::keeping(&["chat/a"]).await;
    for (request, allow) in [
        ("POST /admin/agents", "GET, HEAD"),
        ("POST /metrics", "GET, HEAD"),
        ("PUT /admin/agents/chat/a", "GET, HEAD, DELETE"),
        ("HEAD /admin/agents/chat/a/export", "GET"),
        ("POST /admin/agents/chat/a/import", "PUT"),
        ("GET /admin/agents/chat/a/fork?to=chat/b", "POST"),
        ("OPTIONS /admin/agents", "GET, HEAD"),
    ] {
        let mut client = Client::of(face.address).await;
        client.send(format!("{request} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        let refused = client.head().await;
        assert_eq!((refused.status(), refused.header("allow")), (405, Some(allow)), "{request}");
    }
    for path in ["/", "/admin", "/agents/chat/a", "/runs", "/healthz"] {
        let nothing = face.ask(&format!("GET {path}"), "", "").await;
        assert_eq!((nothing.status(), nothing.code().as_str()), (404, "not-found"), "{path}");
        assert!(nothing.json()["detail"].as_str().unwrap().contains("GET `/metrics` or `/admin/agents`"));
    }
}

#[tokio::test]
async fn nobody_is_answered_whom_the_guard_does_not_let_in() {
    let face = Face::with(Some(TOKEN)).await;
    face.memory.put(agent("chat/a"), "agent: a".into()).unwrap();
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    let ask = async |headers: &str| face.ask("DELETE /admin/agents/chat/a", headers, "").await;
    let without = ask("").await;
    assert_eq!((without.status(), without.code().as_str()), (401, "unauthorized"));
    assert_eq!(without.header("www-authenticate"), Some("Bearer"));
    let page = ask(&format!("{right}origin: https://evil.example\r\n")).await;
    assert_eq!((page.status(), page.code().as_str()), (403, "cross-origin"));
    assert_eq!(page.header("access-control-allow-origin"), None);
    assert_eq!(face.memory.kept().len(), 1, "nothing happened");
    assert_eq!(ask(&right).await.status(), 200);

    let open = Face::keeping(&["chat/a"]).await;
    let mut rebound = Client::of(open.address).await;
    rebound.send("GET /admin/agents HTTP/1.1\r\nhost: evil.example\r\n\r\n").await;
    let refused = rebound.response().await;
    assert_eq!((refused.status(), refused.code().as_str()), (421, "misdirected"));
}

#[tokio::test]
async fn whoever_guesses_the_token_is_told_to_come_back_and_whoever_has_it_is_answered() {
    let face = Face::with(Some(TOKEN)).await;
    let ask = async |token: &str| {
        face.ask("GET /admin/agents", &format!("authorization: Bearer {token}\r\n"), "").await
    };
    for guess in 0..30 {
        assert_eq!(ask(&format!("guess-{guess:016}")).await.status(), 401);
    }
    let refused = ask("guess-0000000000000030").await;
    assert_eq!((refused.status(), refused.code().as_str()), (429, "too-many-tokens"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(ask(TOKEN).await.status(), 200);
}

#[tokio::test]
async fn a_stop_lets_a_copy_that_is_on_its_way_arrive() {
    let face = Face::with(None).await;
    let text = "x".repeat(8 << 20);
    face.memory.put(agent("chat/a"), text.clone()).unwrap();
    let mut client = Client::of(face.address).await;
    client.send("GET /admin/agents/chat/a/export HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    client.head().await;
    face.stop.cancel();
    assert_eq!(client.rest().await.len(), text.len());
    face.tidy().await;
}
