//! What a client may see before it is kept, and what not.

use std::time::Duration;

use rookery_core::{Code, Failure};
use tokio::time::timeout;

use super::support::{Client, Host, POLICY, bare, post};

/// Gives the host every chance to send something too early: it answers another request in the meantime.
async fn silent(host: &Host, client: &mut Client) {
    for _ in 0..3 {
        assert_eq!(host.ask(&bare("GET", "/healthz", "")).await.body, "ok");
        let early = timeout(Duration::from_millis(5), client.stream.readable()).await;
        assert!(early.is_err() || client.stream.try_read(&mut [0]).is_err(), "this was sent too early");
    }
}

#[tokio::test]
async fn no_run_is_named_before_it_is_kept() {
    let mut host = Host::keeping(POLICY).await;
    for headers in ["", "accept: text/plain\r\n", "prefer: respond-async\r\n", "idempotency-key: a\r\n"] {
        host.shelf.hold();
        let mut client = host.client_of(&post(headers, "hello")).await;
        let guest = host.run().await;
        guest.text("so early");
        silent(&host, &mut client).await;
        host.shelf.release();
        let head = client.head().await;
        assert_eq!(head.header("run-id"), Some(&*guest.0.prompt.run.to_string()));
        guest.done().await;
    }
}

#[tokio::test]
async fn a_run_that_fails_before_it_is_kept_is_not_named_either() {
    let mut host = Host::keeping(POLICY).await;
    host.shelf.hold();
    let mut client = host.client_of(&post("accept: application/json\r\n", "hello")).await;
    let failure = Failure::new(Code::Rejected, "no, this is not possible");
    host.run().await.end(Err(failure)).await;
    silent(&host, &mut client).await;
    host.shelf.release();
    assert_eq!(client.response().await.problem(), "rejected");
}

#[tokio::test]
async fn no_outcome_is_sent_before_it_is_kept() {
    let mut host = Host::keeping(POLICY).await;
    let mut client = host.client_of(&post("", "hello")).await;
    let guest = host.run().await;
    client.head().await;
    let run = guest.0.prompt.run.to_string();
    host.shelf.hold();
    guest.text("a chunk may be early");
    client.until("early\n\n\r\n").await;
    guest.done().await;
    silent(&host, &mut client).await;
    assert_eq!(host.state(&run).await["state"], "running", "nor told otherwise");
    let mut late = host.client_of(&bare("GET", &format!("/runs/{run}?after=1"), "")).await;
    late.head().await;
    silent(&host, &mut late).await;
    host.shelf.release();
    for client in [&mut client, &mut late] {
        client.until("event: done\nid: 2\n").await;
    }
}
