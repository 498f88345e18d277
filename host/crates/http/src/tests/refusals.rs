//! Each thing that can be wrong with a request has an answer of its own.

use std::time::Duration;

use rookery_agents::Limits;

use super::support::{Client, Guest, Host, LIMITS, Response, bare, post};
use crate::Settings;

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn every_wrong_request_has_its_own_problem() {
    let host = Host::with(Settings { max_body: 1024, ..Settings::default() }, LIMITS).await;
    let table = [
        (bare("GET", "/", ""), 404, "not-found"),
        (bare("GET", "/agents/chat/alice/more", ""), 404, "not-found"),
        (bare("GET", "/agents/nobody", ""), 404, "unknown-plugin"),
        (bare("POST", "/agents/nobody/alice", ""), 404, "unknown-plugin"),
        (bare("GET", "/agents/No%20body/alice?prompt=hello", ""), 404, "unknown-plugin"),
        (bare("GET", "/agents/chat/.alice?prompt=hello", ""), 400, "bad-agent-name"),
        (bare("PUT", "/agents/chat/alice", ""), 405, "method-not-allowed"),
        (bare("POST", "/agents", ""), 405, "method-not-allowed"),
        (bare("DELETE", "/healthz", ""), 405, "method-not-allowed"),
        (bare("GET", "/agents/chat/alice", ""), 400, "missing-prompt"),
        (bare("GET", "/agents/chat/alice?prompt=%ff", ""), 400, "bad-text"),
        (bare("GET", "/agents/chat/alice?prompt=hello", "accept: text/html\r\n"), 406, "not-acceptable"),
        (post("", ""), 400, "missing-prompt"),
        (post(JSON, "{}"), 400, "missing-prompt"),
        (post(JSON, "{"), 400, "bad-json"),
        (post(JSON, r#"{"prompt":1}"#), 400, "bad-prompt"),
        (post("content-type: image/png\r\n", "x"), 415, "unsupported-media-type"),
        (post("", &"x".repeat(1025)), 413, "body-too-large"),
        (post("", &"x".repeat(3 * 1024)), 413, "body-too-large"),
        (post("accept: image/png\r\n", "hello"), 406, "not-acceptable"),
    ];
    for (request, status, code) in table {
        let response = host.ask(&request).await;
        assert_eq!((response.status(), response.problem().as_str()), (status, code), "{request}");
    }
    assert_eq!(host.directory.running(), 0);
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_refused() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.send(post("", "12").replace("12", "")).await;
    client.send(b"h\xff").await;
    assert_eq!(client.response().await.problem(), "bad-text");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let host = Host::start().await;
    let agent = host.ask(&bare("PATCH", "/agents/chat/alice", "")).await;
    assert_eq!(agent.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    let list = host.ask(&bare("POST", "/agents", "")).await;
    assert_eq!(list.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn the_largest_body_is_taken_and_one_byte_more_is_not() {
    let mut host = Host::with(Settings { max_body: 1024, ..Settings::default() }, LIMITS).await;
    let mut client = host.client().await;
    client.send(post("", &"x".repeat(1024))).await;
    let run = host.run().await;
    assert_eq!(run.0.prompt.text.len(), 1024);
    let refused = host.ask(&post("", &"x".repeat(1025))).await;
    assert!(refused.json()["detail"].as_str().unwrap().contains("1KiB"));
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_its_answer_and_keeps_its_connection() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let large = "x".repeat(3 << 20);
    for request in [post("content-type: image/png\r\n", &large), post("accept: image/png\r\n", &large)] {
        client.send(request).await;
        client.response().await.problem();
    }
    client.send(bare("GET", "/healthz", "")).await;
    assert_eq!(client.response().await.body, "ok");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let impatient = Settings { body_timeout: Duration::from_millis(1), ..Settings::default() };
    let host = Host::with(impatient, LIMITS).await;
    let response =
        host.ask("POST /agents/chat/alice HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhe").await;
    assert_eq!((response.status(), response.problem().as_str()), (408, "body-timeout"));
}

#[tokio::test]
async fn bodies_for_which_there_is_no_room_are_refused_and_leave_none_behind() {
    let mut host = Host::with(Settings { bodies: 8, ..Settings::default() }, LIMITS).await;
    for _ in 0..2 {
        let response = host.ask(&post("", "nine byte")).await;
        assert_eq!((response.status(), response.problem().as_str()), (503, "overloaded"));
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    for _ in 0..2 {
        let mut client = host.client().await;
        client.send(post("", "8 bytes.")).await;
        host.run().await.done().await;
        client.until("event: done").await;
    }
}

#[tokio::test]
async fn a_full_mailbox_says_so() {
    let mut host = Host::start().await;
    let (third, _first, _second) = one_too_many(&mut host).await;
    assert_eq!((third.status(), third.problem().as_str()), (429, "mailbox-full"));
    assert_eq!(third.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_full_host_says_so() {
    let mut host = Host::with(Settings::default(), Limits { runs: 2, ..LIMITS }).await;
    let (third, _first, _second) = one_too_many(&mut host).await;
    assert_eq!((third.status(), third.problem().as_str()), (503, "overloaded"));
    assert_eq!(third.header("retry-after"), Some("1"));
}

/// What a third client is told while one run runs and one waits.
async fn one_too_many(host: &mut Host) -> (Response, Guest, Client) {
    let (mut first, mut second) = (host.client().await, host.client().await);
    first.send(post("", "runs")).await;
    let run = host.run().await;
    second.send(post("", "waits")).await;
    second.head().await;
    (host.ask(&post("", "too many")).await, run, second)
}
