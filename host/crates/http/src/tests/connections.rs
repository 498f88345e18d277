//! Connections: how many, for how long, and how they end.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::support::{Host, LIMITS, bare, h2, post, soon};
use crate::Settings;

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    for _ in 0..3 {
        client.send(post("", "hello")).await;
        host.run().await.done().await;
        client.until("0\r\n\r\n").await;
        client.send(bare("GET", "/nowhere", "")).await;
        assert_eq!(client.response().await.problem(), "not-found");
    }
}

#[tokio::test]
async fn one_connection_too_many_waits_for_its_turn() {
    let two = Settings { max_connections: 2, ..Settings::default() };
    let host = Host::with(two, LIMITS).await;
    let (mut first, mut second) = (host.client().await, host.client().await);
    for client in [&mut first, &mut second] {
        client.send(bare("GET", "/healthz", "")).await;
        assert_eq!(client.response().await.body, "ok");
    }
    let mut third = host.client().await;
    third.send(bare("GET", "/healthz", "")).await;
    first.send(bare("GET", "/healthz", "")).await;
    first.response().await;
    assert!(third.stream.try_read(&mut [0]).is_err(), "not while both places are taken");
    drop(first);
    assert_eq!(third.response().await.body, "ok");
}

#[tokio::test]
async fn a_stop_lets_open_answers_end_and_nothing_else_begin() {
    let mut host = Host::start().await;
    let mut idle = host.client().await;
    idle.send(bare("GET", "/healthz", "")).await;
    idle.response().await;
    let mut open = host.client().await;
    open.send(post("", "hello")).await;
    let run = host.run().await;
    open.head().await;

    host.stop.cancel();
    assert!(idle.rest().await.is_empty(), "an idle connection is closed");
    run.text("still here");
    open.until("still here").await;
    assert!(!host.serving.is_finished());
    assert!(TcpStream::connect(host.address).await.is_err(), "nobody listens any more");
    run.done().await;
    let rest = String::from_utf8(open.rest().await).unwrap();
    assert!(rest.contains("event: done") && rest.ends_with("0\r\n\r\n"), "{rest}");
    soon(host.serving).await.unwrap();
}

#[tokio::test]
async fn a_stop_lets_open_answers_over_http_2_end() {
    let mut host = Host::start().await;
    let mut sender = h2(host.address).await;
    let target = format!("http://{}/agents/chat/alice?prompt=hello", host.address);
    let request = Request::get(target).body(Empty::<Bytes>::new()).unwrap();
    let response = soon(sender.send_request(request)).await.unwrap();
    let run = host.run().await;
    host.stop.cancel();
    run.text("still here");
    run.done().await;
    let all = String::from_utf8(soon(response.collect()).await.unwrap().to_bytes().into()).unwrap();
    assert!(all.contains("/1\ndata: still here\n\nevent: done\n"), "{all:?}");
    soon(host.serving).await.unwrap();
    assert!(soon(sender.ready()).await.is_err(), "and then the connection");
}

#[tokio::test]
async fn while_the_host_drains_new_runs_are_sent_away_and_open_ones_hear_their_end() {
    let mut host = Host::start().await;
    let mut open = host.client().await;
    open.send(post("", "hello")).await;
    let _run = host.run().await;
    assert_eq!(host.directory.drain(Duration::ZERO).await, 1);
    open.until("event: error\n").await;
    assert!(open.until("\n\n").await.contains("\"interrupted\""));

    let mut late = host.client().await;
    late.send(post("", "hello")).await;
    let refused = late.response().await;
    assert_eq!((refused.status(), refused.problem().as_str()), (503, "draining"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(late.rest().await.is_empty());
    let ready = host.ask(&bare("GET", "/readyz", "")).await;
    assert_eq!((ready.status(), ready.problem().as_str()), (503, "draining"));
    assert_eq!(host.ask(&bare("GET", "/healthz", "")).await.body, "ok");
}

#[tokio::test]
async fn over_http_2_a_refusal_is_an_answer_like_any_other() {
    let host = Host::start().await;
    host.directory.drain(Duration::ZERO).await;
    let mut sender = h2(host.address).await;
    for (method, status) in [("GET", 503), ("HEAD", 200), ("PUT", 405)] {
        let target = format!("http://{}/agents/chat/alice?prompt=hello", host.address);
        let request = Request::builder().method(method).uri(target).body(Empty::<Bytes>::new()).unwrap();
        let response = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(!response.headers().contains_key("connection"));
        let body = soon(response.collect()).await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == "HEAD");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let impatient = Settings { header_timeout: Duration::from_millis(1), ..Settings::default() };
    let host = Host::with(impatient, LIMITS).await;
    for begun in ["", "PRI * HTT", "GET /healthz HTTP/1.1\r\nhost: h\r\n"] {
        let mut client = host.client().await;
        client.send(begun).await;
        // Closed or reset, by whose bytes were on their way; but ended.
        let _ = soon(client.stream.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_disconnected_and_the_run_goes_on() {
    let impatient =
        Settings { write_stall: Duration::from_millis(1), max_connections: 1, ..Settings::default() };
    let mut host = Host::with(impatient, LIMITS).await;
    let mut stuck = host.client().await;
    stuck.send(post("", "hello")).await;
    let run = host.run().await;
    let chunk = "x".repeat(64 * 1024);
    for _ in 0..400 {
        run.text(&chunk);
    }
    // There is only one connection at a time.
    assert_eq!(host.ask(&bare("GET", "/healthz", "")).await.body, "ok");
    run.done().await;
    drop(stuck);
}
