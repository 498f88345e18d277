//! The other two answers, and what needs no run.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use rookery_agents::Limits;
use rookery_agents::guest::Call;
use rookery_core::{Chunk, Code, Failure};

use super::support::{Host, LIMITS, POLICY, bare, h2, post, soon};
use crate::Settings;

const TEXT: &str = "accept: text/plain\r\n";
const DOCUMENT: &str = "accept: application/json\r\n";

#[tokio::test]
async fn a_text_is_the_text_chunks_as_they_come() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post(TEXT, "hello")).await;
    let run = host.run().await;
    run.write(Chunk::Reasoning("hm".into()));
    run.text("a\r\n");
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(client.until("a\r\n\r\n").await, "3\r\na\r\n\r\n");
    run.write(Chunk::Reasoning("hm".into()));
    run.text("b");
    assert_eq!(client.until("b\r\n").await, "1\r\nb\r\n");
    run.done().await;
    assert_eq!(client.until("0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_text_of_nothing_is_empty() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post(TEXT, "hello")).await;
    host.run().await.done().await;
    assert_eq!(client.head().await.status(), 200);
    client.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_run_that_fails_before_its_text_is_a_problem() {
    let mut host = Host::start().await;
    for accept in [TEXT, DOCUMENT] {
        let mut client = host.client().await;
        client.send(post(accept, "hello")).await;
        let run = host.run().await;
        let id = run.0.prompt.run.to_string();
        run.write(Chunk::Reasoning("hm".into()));
        run.end(Err(Failure::new(Code::Rejected, "this agent speaks only French"))).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.problem().as_str()), (422, "rejected"));
        assert_eq!(response.json()["run"], id);
        assert_eq!(response.header("run-id"), Some(&*id));
    }
}

#[tokio::test]
async fn a_text_whose_run_fails_is_a_broken_transfer_that_lost_nothing_before() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post(TEXT, "hello")).await;
    let run = host.run().await;
    // In this order, so that the outcome is there when the text is read.
    let Call { reply, answer, .. } = run.0;
    answer.send(Err(Failure::new(Code::Failed, "no more"))).unwrap();
    reply.write(Chunk::Text("so far".into())).unwrap();
    client.head().await;
    assert_eq!(client.rest().await, b"6\r\nso far\r\n", "no last chunk");
}

#[tokio::test]
async fn over_http_2_too_a_text_whose_run_fails_is_a_broken_transfer() {
    let mut host = Host::start().await;
    let mut sender = h2(host.address).await;
    let request = Request::get(format!("http://{}/agents/chat/alice?prompt=hello", host.address))
        .header("accept", "text/plain")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    let run = host.run().await;
    let Call { reply, answer: end, .. } = run.0;
    end.send(Err(Failure::new(Code::Failed, "no more"))).unwrap();
    reply.write(Chunk::Text("so far".into())).unwrap();
    let mut answer = soon(answer).await.unwrap().unwrap();
    let frame = soon(answer.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "so far");
    assert!(soon(answer.frame()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_document_for_which_there_was_no_memory_is_a_problem() {
    let mut host = Host::with(Settings::default(), Limits { unread: 1024, ..LIMITS }).await;
    let mut client = host.client().await;
    client.send(post(DOCUMENT, "hello")).await;
    let run = host.run().await;
    run.text(&"x".repeat(64 * 1024));
    let response = client.response().await;
    assert_eq!((response.status(), response.problem().as_str()), (503, "cut-off"));
    run.done().await;
}

#[tokio::test]
async fn a_document_says_everything_at_the_end() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post(DOCUMENT, "hello")).await;
    let run = host.run().await;
    let id = run.0.prompt.run.to_string();
    run.text("Hel\"");
    run.write(Chunk::Data { name: "progress".into(), json: "{\"percent\":\n50}".into() });
    run.text("lo");
    run.write(Chunk::ToolResult { id: "1".into(), content: "[3]".into(), is_error: true });
    run.done().await;
    let response = client.response().await;
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("run-id"), Some(&*id));
    let expected = serde_json::json!({
        "run": id,
        "text": "Hel\"lo",
        "chunks": [
            { "event": "progress", "data": { "percent": 50 } },
            { "event": "tool-result", "data": { "id": "1", "content": [3], "is_error": true } },
        ],
    });
    assert_eq!(response.json(), expected);
}

#[tokio::test]
async fn a_large_document_arrives_whole() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post(DOCUMENT, "hello")).await;
    let run = host.run().await;
    for _ in 0..5 {
        run.text(&"x".repeat(1 << 20));
    }
    run.done().await;
    let response = client.response().await;
    assert_eq!(response.json()["text"].as_str().map(str::len), Some(5 << 20));
}

#[tokio::test]
async fn a_document_of_which_most_is_in_the_archive_arrives_whole_and_again() {
    let mut host = Host::keeping(POLICY).await;
    let request = post(&format!("idempotency-key: a\r\n{DOCUMENT}"), "hello");
    let mut client = host.client_of(&request).await;
    let run = host.run().await;
    let text = "é\"\n".repeat(256);
    for number in 0..500 {
        run.text(&text);
        run.write(Chunk::Data { name: "progress".into(), json: number.to_string() });
        tokio::task::yield_now().await;
    }
    run.done().await;
    let first = client.response().await;
    let document = first.json();
    assert_eq!(document["text"], text.repeat(500));
    let numbers: Vec<_> = document["chunks"].as_array().unwrap().iter().map(|chunk| &chunk["data"]).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    assert_eq!(host.ask(&request).await.body, first.body);
}

#[tokio::test]
async fn what_is_served_is_listed() {
    let host = Host::start().await;
    let all = host.ask(&bare("GET", "/agents", "")).await;
    assert_eq!(all.body, r#"{"plugins":[{"name":"chat","version":"v1"}]}"#);
    assert_eq!(host.ask(&bare("GET", "/agents/chat", "")).await.body, r#"{"name":"chat","version":"v1"}"#);
    assert_eq!(host.ask(&bare("GET", "/readyz", "")).await.body, "ok");
}

#[tokio::test]
async fn head_says_what_get_would_and_starts_nothing() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.send(bare("HEAD", "/agents", "")).await;
    assert_eq!(client.head().await.header("content-length"), Some("44"));
    client.send(bare("HEAD", "/agents/chat/alice?prompt=hello", "")).await;
    let head = client.head().await;
    assert_eq!((head.status(), head.header("content-type")), (200, Some("text/event-stream")));
    client.send(bare("HEAD", "/agents/nobody/alice", "")).await;
    assert_eq!(client.head().await.status(), 404);
    client.send(bare("GET", "/healthz", "connection: close\r\n")).await;
    let rest = String::from_utf8(client.rest().await).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "no body came between: {rest}");
    assert_eq!(host.directory.running(), 0);
}

#[tokio::test]
async fn pages_of_every_origin_may_ask() {
    let mut host = Host::start().await;
    let asks = "origin: https://a.example\r\naccess-control-request-method: POST\r\n\
                access-control-request-headers: content-type, authorization\r\n";
    for path in ["/agents/chat/alice", "/nowhere"] {
        let preflight = host.ask(&bare("OPTIONS", path, asks)).await;
        assert_eq!(preflight.status(), 204);
        for (header, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET, POST, HEAD, OPTIONS, DELETE"),
            ("access-control-allow-headers", "content-type, authorization"),
            ("access-control-max-age", "86400"),
        ] {
            assert_eq!(preflight.header(header), Some(value));
        }
    }
    let mut client = host.client().await;
    client.send(post("origin: https://a.example\r\n", "hello")).await;
    host.run().await.done().await;
    let head = client.head().await;
    assert_eq!(head.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        head.header("access-control-expose-headers"),
        Some("Run-Id, Location, Retry-After, Preference-Applied, Idempotent-Replayed")
    );
}
