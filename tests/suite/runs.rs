//! Runs outlive their readers, their connections, and the host.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use rookery_client::{Client as Follower, ClientError, Update};
use rookery_core::RunId;
use rookery_tests::program::Program;
use rookery_tests::{Client, Streaming, TestHost, guests};
use tokio::net::TcpSocket;
use tokio::sync::watch;

async fn follow(client: &Client, run: &str, after: u64) -> Streaming {
    let path = format!("/runs/{run}?after={after}");
    client.send(Method::GET, &path, &[("accept", "text/event-stream")], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_4_a_reader_that_left_comes_back_and_misses_nothing() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    let mut stream = client.prompt("badly/x", "drip 200").await;
    let run = stream.run();
    stream.until("id: 10\n").await;
    drop(stream);
    let rest = follow(&client, &run, 10).await.whole().await.body;
    let ids: Vec<_> = rest.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let expected: Vec<_> = (11..=201).map(|id: u32| id.to_string()).collect();
    assert_eq!(ids, expected, "every event after the tenth, once, in order");
    assert!(rest.contains("event: done\n"));
    assert_eq!(follow(&client, &run, 201).await.status, 204, "there is nothing more to see");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_of_one_run_all_see_all_of_it() {
    let host = TestHost::serving(&["badly"]).await;
    let client = Client::http2(host.address());
    let stream = client.prompt("badly/x", "drip 50").await;
    let run = stream.run();
    let readers = (0..1_000).map(|_| async { follow(&client, &run, 0).await.whole().await.body });
    let first = stream.whole().await.body;
    assert!(first.contains("id: 51\n"));
    for body in join_all(readers).await {
        assert_eq!(body, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_run_replays_byte_for_byte_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let first = {
        let host = TestHost::builder().plugin("talker", "").data(data.path()).start().await;
        let mut stream = host.client().prompt("talker/x", "kinds").await;
        let run = stream.run();
        let body = stream.rest().await.to_owned();
        host.drain(Duration::from_secs(5)).await;
        (run, body)
    };
    let host = TestHost::builder().plugin("talker", "").data(data.path()).start().await;
    assert_eq!(follow(&host.client(), &first.0, 0).await.whole().await.body, first.1);
    assert_eq!(host.client().state(&first.0).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_run_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let headers = [("idempotency-key", "k1"), ("content-type", "text/plain"), ("accept", "application/json")];
    let builder = || TestHost::builder().plugin("counter", "").data(data.path());
    let host = builder().start().await;
    let ask = |client: Client, prompt: &'static str| async move {
        client.send(Method::POST, "/agents/counter/x", &headers, prompt).await.whole().await
    };
    let first = ask(host.client(), "count").await;
    assert_eq!(ask(host.client(), "count").await.body, first.body);
    host.drain(Duration::from_secs(5)).await;
    let host = builder().start().await;
    assert_eq!(ask(host.client(), "count").await.body, first.body);
    let other = ask(host.client(), "who").await;
    assert_eq!((other.status.as_u16(), &other.json()["code"]), (422, &"key-reused".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hears_of_its_end_returns_and_keeps_its_instance() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    let mut stream = client.prompt("badly/x", "drip 1000000").await;
    let run = stream.run();
    stream.until("id: 3\n").await;
    client.cancel(&run).await;
    let body = stream.rest().await;
    assert!(body.contains(r#""code":"cancelled""#) && body.contains(r#""stop":"returned""#), "{body}");
    assert_eq!(client.text("badly/x", "count").await, "2");
    assert_eq!(client.cancel(&run).await["state"], "cancelled", "cancelling twice is no error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_return_loses_its_instance_after_the_grace() {
    let host = TestHost::builder().plugin("badly", "[runs]\ngrace = \"100ms\"\n").start().await;
    let client = host.client();
    let mut running = client.prompt("badly/x", "spin").await;
    let mut queued = client.prompt("badly/x", "count").await;
    client.cancel(&queued.run()).await;
    assert!(queued.rest().await.contains(r#""stop":"before-start""#));
    client.cancel(&running.run()).await;
    assert!(running.rest().await.contains(r#""stop":"dropped""#));
    assert_eq!(client.text("badly/x", "count").await, "1", "a new instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_the_background_is_fetched_later() {
    let host = TestHost::builder().plugin("badly", "[runs]\non_detach = \"cancel\"\n").start().await;
    let client = host.client();
    let headers = [("prefer", "respond-async"), ("content-type", "text/plain")];
    let answer = client.send(Method::POST, "/agents/badly/x", &headers, "drip 30").await;
    assert_eq!(answer.status, 202);
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let text = client.send(Method::GET, &location, &[("accept", "text/plain")], "").await.whole().await.body;
    assert!(text.starts_with("0 1 2 ") && text.ends_with("29 "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_shorten_the_deadline() {
    let host = TestHost::serving(&["badly"]).await;
    let headers = [("run-deadline", "100ms"), ("content-type", "text/plain"), ("accept", "application/json")];
    let answer = host.client().send(Method::POST, "/agents/badly/x", &headers, "spin").await.whole().await;
    assert_eq!(answer.json()["code"], "deadline-exceeded");
}

/// A program on a port of its own, to which clients come back.
struct Mortal {
    plugins: tempfile::TempDir,
    data: tempfile::TempDir,
    address: String,
    /// Bound to the port and not listening, so that nobody else is given it while the program is dead.
    _port: TcpSocket,
}

impl Mortal {
    fn new() -> Self {
        let (plugins, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::copy(guests::component("badly"), plugins.path().join("badly.wasm")).unwrap();
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { plugins, data, address: port.local_addr().unwrap().to_string(), _port: port }
    }

    async fn live(&self) -> Program {
        let (plugins, data) = (self.plugins.path().to_str().unwrap(), self.data.path().to_str().unwrap());
        let mut program = Program::start(&["serve", plugins, "--data", data, "--listen", &self.address]);
        program.listening().await;
        program
    }
}

/// Follows a run to its end, across whatever happens to the host, which lives once more at each of `lives`. The client
/// itself refuses a stream in which an event comes twice or is missing.
async fn to_the_end(follower: Follower, run: RunId, mut lives: watch::Receiver<u64>) -> Vec<Update> {
    let mut following = follower.follow(run, 0);
    let mut ends = Vec::new();
    while let Some(update) = following.next().await {
        match update {
            Ok(end @ (Update::Done { .. } | Update::Failed { .. })) => ends.push(end),
            Ok(_) => {}
            // The client takes up what it has met; whom it meets for the first time may just be starting again.
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Unanswered { .. })) => {
                assert!(lives.changed().await.is_ok(), "{run}, whose host lives: {error}");
                following = follower.follow(run, following.seen());
            }
            Err(error) => panic!("{run}: {error}"),
        }
    }
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_3_whatever_moment_the_host_is_killed_at_every_run_has_one_outcome() {
    const ROUNDS: u64 = 50;
    let mortal = Mortal::new();
    let follower = Follower::new(&format!("http://{}", mortal.address)).unwrap();
    let mut following = Vec::new();
    let (lives, _) = watch::channel(0);
    let mut program = mortal.live().await;
    for round in 0..ROUNDS {
        for (agent, prompt) in [("short", "drip 3"), ("long", "drip 100000"), ("flood", "flood 300")] {
            let agent = format!("badly/{agent}-{round}").parse_agent();
            let run = follower.submit(&agent, prompt).await.unwrap();
            following.push(tokio::spawn(to_the_end(follower.clone(), run, lives.subscribe())));
        }
        // Anywhere in the first half a commit, or in the second: the moments walk through them as the rounds go on.
        tokio::time::sleep(Duration::from_micros(round * 397 % 9_000)).await;
        program.kill().await;
        program = mortal.live().await;
        lives.send_replace(round + 1);
    }
    drop(lives);
    for ended in join_all(following).await {
        assert_eq!(ended.unwrap().len(), 1);
    }
    program.kill().await;
}

trait ParseAgent {
    fn parse_agent(&self) -> rookery_core::AgentId;
}

impl ParseAgent for String {
    fn parse_agent(&self) -> rookery_core::AgentId {
        let (plugin, name) = self.split_once('/').unwrap();
        rookery_core::AgentId { plugin: plugin.parse().unwrap(), name: name.parse().unwrap() }
    }
}
