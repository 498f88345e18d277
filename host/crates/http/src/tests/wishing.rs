//! What a client can wish of its run.

use std::time::Duration;

use rookery_agents::guest::Policy;
use rookery_core::{Code, Failure, Overlap};

use super::support::{Host, POLICY, bare, post};

#[tokio::test]
async fn a_client_that_does_not_want_to_wait_is_told_where_its_run_is() {
    let mut host = Host::keeping(POLICY).await;
    let response =
        host.ask(&post("prefer: wait=10, Respond-Async\r\naccept: application/json\r\n", "hello")).await;
    assert_eq!((response.status(), response.header("preference-applied")), (202, Some("respond-async")));
    let run = response.header("run-id").unwrap();
    let location = response.header("location").unwrap();
    assert_eq!(location, format!("/runs/{run}"));
    assert_eq!((&response.json()["run"], &response.json()["prompt"]), (&run.into(), &"hello".into()));
    let guest = host.run().await;
    guest.text("hi");
    let mut client = host.client_of(&bare("GET", location, "")).await;
    client.until("id: 1\ndata: hi\n\n").await;
    guest.done().await;
    client.until("event: done\nid: 2\n").await;
}

#[tokio::test]
async fn the_same_key_for_the_same_agent_is_the_same_run() {
    let mut host = Host::keeping(POLICY).await;
    let keyed = |headers: &str, body: &str| post(&format!("idempotency-key: \"a-key\"\r\n{headers}"), body);
    let mut first = host.client_of(&keyed("", "hello")).await;
    let guest = host.run().await;
    let run = guest.0.prompt.run.to_string();
    guest.text("<1>");
    let head = first.head().await;
    assert_eq!((head.header("run-id"), head.header("idempotent-replayed")), (Some(&*run), None));

    let mut second = host.client_of(&keyed("", "hello").replace('"', "")).await;
    let head = second.head().await;
    assert_eq!((head.header("run-id"), head.header("idempotent-replayed")), (Some(&*run), Some("true")));
    second.until("id: 1\ndata: <1>\n\n").await;
    let background = host.ask(&keyed("prefer: respond-async\r\n", "hello")).await;
    assert_eq!((background.status(), background.header("run-id")), (202, Some(&*run)));
    assert_eq!(background.header("idempotent-replayed"), Some("true"));

    let other = host.ask(&keyed("", "something else")).await;
    assert_eq!((other.status(), other.problem().as_str()), (422, "key-reused"));
    guest.done().await;
    host.reaches(&run, "done").await;
    let after = host.ask(&keyed("accept: application/json\r\n", "hello")).await;
    assert_eq!((after.header("run-id"), after.header("idempotent-replayed")), (Some(&*run), Some("true")));
    assert_eq!(after.json()["text"], "<1>");
    assert_eq!(host.directory.running(), 0, "nothing was started");

    // Another key, and another agent with the same one.
    for request in [keyed("", "hello").replace("a-key", "b-key"), keyed("", "hello").replace("alice", "bob")]
    {
        let mut client = host.client_of(&request).await;
        host.run().await.done().await;
        let head = client.head().await;
        assert_ne!(head.header("run-id"), Some(&*run));
        assert_eq!(head.header("idempotent-replayed"), None);
    }
}

#[tokio::test]
async fn a_run_that_failed_under_a_key_fails_the_same_way_again() {
    let mut host = Host::keeping(POLICY).await;
    let request = post("idempotency-key: a\r\naccept: text/plain\r\n", "hello");
    let mut client = host.client_of(&request).await;
    host.run().await.end(Err(Failure::new(Code::Rejected, "this agent speaks only French"))).await;
    let first = client.response().await;
    let again = host.ask(&request).await;
    assert_eq!((again.status(), again.problem().as_str()), (422, "rejected"));
    assert_eq!((again.body, again.head.contains("idempotent-replayed: true")), (first.body, true));
}

#[tokio::test]
async fn many_clients_with_one_key_at_once_start_one_run() {
    let mut host = Host::keeping(Policy { queue: 20, ..POLICY }).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(host.client_of(&post("idempotency-key: a\r\n", "hello")).await);
    }
    let guest = host.run().await;
    let run = guest.0.prompt.run.to_string();
    let mut first = 0;
    for client in &mut clients {
        let head = client.head().await;
        assert_eq!(head.header("run-id"), Some(&*run));
        first += usize::from(head.header("idempotent-replayed").is_none());
    }
    assert_eq!((first, host.directory.running()), (1, 1));
    guest.done().await;
}

#[tokio::test]
async fn a_deadline_ends_the_run_and_cannot_be_later_than_the_plugins() {
    let mut host = Host::keeping(POLICY).await;
    for deadline in ["1ms", "0.001"] {
        let mut client = host.client_of(&post(&format!("run-deadline: {deadline}\r\n"), "hello")).await;
        let stuck = host.run().await;
        client.until("event: error\n").await;
        let error = client.until("\n\n").await;
        assert!(error.contains("deadline-exceeded") && error.contains("within 1ms"), "{error}");
        drop(stuck);
    }
    let mut host = Host::keeping(Policy { deadline: Duration::from_millis(1), ..POLICY }).await;
    let mut client = host.client_of(&post("run-deadline: 7d\r\n", "hello")).await;
    let _stuck = host.run().await;
    client.until("deadline-exceeded").await;
}

#[tokio::test]
async fn a_wish_that_cannot_be_read_is_refused() {
    let host = Host::keeping(POLICY).await;
    let long = "k".repeat(256);
    for (header, code) in [
        ("run-deadline: soon", "bad-deadline"),
        ("run-deadline: 0", "bad-deadline"),
        ("run-deadline: 1s\r\nrun-deadline: 2s", "bad-deadline"),
        ("idempotency-key: a b", "bad-idempotency-key"),
        ("idempotency-key: \"\"", "bad-idempotency-key"),
        (&*format!("idempotency-key: {long}"), "bad-idempotency-key"),
    ] {
        let response = host.ask(&post(&format!("{header}\r\n"), "hello")).await;
        assert_eq!((response.status(), response.problem().as_str()), (400, code), "{header}");
    }
    assert_eq!(host.directory.running(), 0);
}

#[tokio::test]
async fn a_busy_agent_that_takes_one_run_at_a_time_says_so() {
    let mut host = Host::keeping(Policy { overlap: Overlap::Reject, ..POLICY }).await;
    let (_, guest) = host.begun("hello").await;
    let response = host.ask(&post("", "too many")).await;
    assert_eq!((response.status(), response.problem().as_str()), (409, "busy"));
    assert_eq!(response.header("retry-after"), Some("1"));
    guest.done().await;
}
