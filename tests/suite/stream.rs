//! The stream as its readers see it, byte by byte and through somebody else's parser.

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use rookery_tests::{Client, TestHost};

/// Puts a fixed word where the run's id stands, which differs every time.
fn without_run(text: &str, run: &str) -> String {
    text.replace(run, "RUN")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_chunk_has_its_bytes() {
    let host = TestHost::serving(&["talker"]).await;
    let mut stream = host.client().prompt("talker/x", "kinds").await;
    let run = stream.headers["run-id"].to_str().unwrap().to_owned();
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-cache");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    insta::assert_snapshot!("kinds", without_run(stream.rest().await, &run));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_its_bytes() {
    let host = TestHost::serving(&["badly"]).await;
    let mut stream = host.client().prompt("badly/x", "reject").await;
    let run = stream.headers["run-id"].to_str().unwrap().to_owned();
    insta::assert_snapshot!("rejected", without_run(stream.rest().await, &run));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_parser_reads_what_the_guest_wrote() {
    let host = TestHost::serving(&["talker"]).await;
    for said in
        ["plain", " leading space", "two\nlines", "ends in a newline\n", "", "data: no", "ünï ✓", "a\r\nb\rc"]
    {
        let stream = host.client().prompt("talker/x", &format!("say {said}")).await;
        let events: Vec<_> =
            stream.into_body().into_data_stream().eventsource().map(Result::unwrap).collect().await;
        let kinds: Vec<_> = events.iter().map(|event| (&*event.event, &*event.id)).collect();
        assert_eq!(kinds, [("message", "1"), ("done", "2")], "{said:?}");
        // SSE knows one kind of line end; what the guest wrote as CR or CRLF arrives as LF.
        assert_eq!(events[0].data, said.replace("\r\n", "\n").replace('\r', "\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_answers_tell_the_same() {
    let host = TestHost::serving(&["talker"]).await;
    for client in [host.client(), Client::http2(host.address())] {
        assert!(kinds(&client, "text/event-stream").await.contains("data: it is 3\n"));
        assert_eq!(kinds(&client, "text/plain").await, "it is 3");
        let json: serde_json::Value =
            serde_json::from_str(&kinds(&client, "application/json").await).unwrap();
        assert_eq!(json["text"], "it is 3");
    }
}

async fn kinds(client: &Client, accept: &str) -> String {
    let headers = [("accept", accept), ("content-type", "text/plain")];
    client.send(Method::POST, "/agents/talker/x", &headers, "kinds").await.whole().await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_reaches_the_guest_as_text_as_json_and_as_a_query() {
    let host = TestHost::serving(&["talker"]).await;
    let client = host.client();
    let body = r#"{"prompt": "body", "more": [1, 2]}"#;
    let headers = [("content-type", "application/json"), ("accept", "text/plain")];
    let answer = client.send(Method::POST, "/agents/talker/x", &headers, body).await.whole().await;
    assert_eq!(answer.body, body);
    assert_eq!(client.text("talker/x", "body").await, "none");
    let answer = client
        .send(Method::GET, "/agents/talker/x?prompt=say%20h%C3%A9+you", &[("accept", "text/plain")], "")
        .await;
    assert_eq!(answer.whole().await.body, "hé you");
    assert_eq!(client.text("talker/x", "origin").await, "a client with an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_answer_that_fails_midway_breaks_off() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    let headers = [("accept", "text/plain"), ("content-type", "text/plain")];
    let mut stream = client.send(Method::POST, "/agents/badly/x", &headers, "trap-midway").await;
    assert_eq!(stream.status, 200);
    assert!(stream.breaks_off().await);
    let answer = client.send(Method::POST, "/agents/badly/x", &headers, "reject").await;
    assert_eq!(answer.status, 422, "nothing had been written, so the status can still say it");
    assert_eq!(answer.whole().await.json()["code"], "rejected");
}

/// Method, path, headers and body of a request, and the status and code it is answered with.
type Mistake<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_has_its_own_problem_document() {
    let host = TestHost::serving(&["echo"]).await;
    let client = host.client();
    let text = ("content-type", "text/plain");
    let json = ("content-type", "application/json");
    let large = "x".repeat((4 << 20) + 1);
    let cases: [Mistake<'_>; 10] = [
        (Method::POST, "/agents/nobody/x", &[text], "hi", 404, "unknown-plugin"),
        (Method::POST, "/agents/echo/.x", &[text], "hi", 400, "bad-agent-name"),
        (Method::PUT, "/agents/echo/x", &[text], "hi", 405, "method-not-allowed"),
        (Method::POST, "/agents/echo/x", &[json], "{", 400, "bad-json"),
        (Method::POST, "/agents/echo/x", &[json], "{}", 400, "missing-prompt"),
        (Method::GET, "/agents/echo/x", &[], "", 400, "missing-prompt"),
        (Method::POST, "/agents/echo/x", &[text], &large, 413, "body-too-large"),
        (Method::POST, "/agents/echo/x", &[text, ("accept", "image/png")], "hi", 406, "not-acceptable"),
        (
            Method::POST,
            "/agents/echo/x",
            &[("content-type", "image/png")],
            "hi",
            415,
            "unsupported-media-type",
        ),
        (Method::GET, "/nowhere", &[], "", 404, "not-found"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let answer = client.send(method, path, headers, body).await.whole().await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_str().unwrap()),
            (status, code),
            "{path}"
        );
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert!(answer.json()["detail"].is_string());
    }
}
