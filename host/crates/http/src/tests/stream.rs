//! The stream on the wire.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use rookery_agents::Limits;
use rookery_core::{Chunk, Code, Failure, Origin};
use tokio::time::{Instant, sleep};

use super::support::{Guest, Host, LIMITS, POLICY, bare, h2, post, scripted, soon};
use crate::Settings;
use crate::routes::Face;

#[tokio::test]
async fn a_stream_is_these_bytes() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post("", "hello")).await;
    let run = host.run().await;
    let mut wire = client.until("\r\n\r\n").await;
    run.text("Hello,\n world");
    wire += &client.until("\n\n\r\n").await;
    run.write(Chunk::Usage { model: "m".into(), input_tokens: 1, output_tokens: 2 });
    wire += &client.until("\n\n\r\n").await;
    let id = run.0.prompt.run;
    run.done().await;
    wire += &client.until("0\r\n\r\n").await;
    let wire = wire.replace(&id.to_string(), "<run>");
    let date = wire.lines().find(|line| line.starts_with("date: ")).unwrap();
    insta::assert_snapshot!(wire.replace(date, "date: <now>").replace("\r\n", "\n"), @r#"
    HTTP/1.1 200 OK
    content-type: text/event-stream
    cache-control: no-cache
    vary: Accept
    x-accel-buffering: no
    run-id: <run>
    location: /runs/<run>
    access-control-allow-origin: *
    access-control-expose-headers: Run-Id, Location, Retry-After, Preference-Applied, Idempotent-Replayed
    x-content-type-options: nosniff
    transfer-encoding: chunked
    date: <now>

    21
    id: 1
    data: Hello,
    data:  world


    4B
    event: usage
    id: 2
    data: {"model":"m","input_tokens":1,"output_tokens":2}


    48
    event: done
    id: 3
    data: {"run":"<run>"}


    0
    "#);
}

#[tokio::test]
async fn every_chunk_arrives_before_the_next_one_is_written() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(bare("GET", "/agents/chat/alice?prompt=hello", "accept: text/event-stream\r\n")).await;
    let run = host.run().await;
    let id = run.0.prompt.run;
    client.until(&format!("id: {id}/0\n\n")).await;
    for number in 1..=100 {
        run.text(&format!("<{number}>"));
        let arrived = client.until("\n\n").await;
        assert!(arrived.ends_with(&format!("id: {id}/{number}\ndata: <{number}>\n\n")), "{arrived:?}");
    }
    run.done().await;
    client.until(&format!("event: done\nid: {id}/101\n")).await;
}

#[tokio::test]
async fn over_http_2_every_chunk_arrives_before_the_next_one_is_written() {
    let mut host = Host::start().await;
    let mut sender = h2(host.address).await;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/agents/chat/alice", host.address))
        .header("content-type", "application/json")
        .body(Full::<Bytes>::from(r#"{"prompt":"hello"}"#))
        .unwrap();
    let mut response = soon(sender.send_request(request)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let run = host.run().await;
    for number in 1..=100 {
        run.text("x");
        let frame = soon(response.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, format!("id: {number}\ndata: x\n\n"));
    }
    run.done().await;
    let rest = soon(response.collect()).await.unwrap().to_bytes();
    assert!(rest.starts_with(b"event: done\nid: 101\n"), "{rest:?}");
}

#[tokio::test]
async fn the_guest_is_given_what_was_asked() {
    let mut host = Host::start().await;
    let json = r#"{ "prompt": "hé\n", "model": [1] }"#;
    let table = [
        (post("content-type: application/json\r\n", json), "hé\n", Some(json)),
        (post("content-type: Application/Vnd.mine+json; charset=utf-8\r\n", json), "hé\n", Some(json)),
        (post("content-type: text/plain\r\n", json), json, None),
        // What `curl -d` says of everything.
        (post("content-type: application/x-www-form-urlencoded\r\n", "a=b+c%20"), "a=b+c%20", None),
        (post("", "hé\n"), "hé\n", None),
        (bare("GET", "/agents/chat/alice?x=1&prompt=h%C3%A9+you", ""), "hé you", None),
    ];
    for (request, text, body) in table {
        let mut client = host.client().await;
        client.send(&request).await;
        let run = host.run().await;
        assert_eq!(run.0.prompt.text, text, "{request}");
        assert_eq!(run.0.prompt.body.as_deref(), body, "{request}");
        let address = client.stream.local_addr().unwrap().to_string();
        assert_eq!(run.0.prompt.origin, Origin::Client(Some(address)));
        let head = client.head().await;
        let id = run.0.prompt.run.to_string();
        assert_eq!(head.header("run-id"), Some(&*id));
        assert_eq!(head.header("location"), Some(&*format!("/runs/{id}")));
        run.done().await;
    }
}

#[tokio::test]
async fn a_failure_is_the_last_event() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post("", "hello")).await;
    let run = host.run().await;
    let id = run.0.prompt.run;
    run.text("so far");
    run.end(Err(Failure::new(Code::Unavailable, "the model is away"))).await;
    client.until("event: error\nid: 2\ndata: ").await;
    let document: serde_json::Value = serde_json::from_str(&client.until("\n\n").await).unwrap();
    assert_eq!(document["code"], "unavailable");
    assert_eq!(document["run"], id.to_string());
    assert_eq!(client.until("0\r\n\r\n").await, "\r\n0\r\n\r\n", "nothing follows");
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_slow_the_guest() {
    let mut host = Host::start().await;
    let mut client = host.client().await;
    client.send(post("", "hello")).await;
    let run = host.run().await;
    let chunk = "~".repeat(64 * 1024);
    for _ in 0..160 {
        run.text(&chunk);
    }
    run.done().await;
    // Only now does it read, and it misses nothing.
    let all = client.until("event: done\n").await;
    assert_eq!(all.matches('~').count(), 160 * 64 * 1024);
}

#[tokio::test]
async fn a_reader_that_was_cut_off_sees_a_broken_transfer() {
    let mut host = Host::with(Settings::default(), Limits { unread: 1 << 20, ..LIMITS }).await;
    let mut client = host.client().await;
    client.send(post("", "hello")).await;
    let run = host.run().await;
    let chunk = "x".repeat(64 * 1024);
    for _ in 0..40 {
        run.text(&chunk);
    }
    run.done().await;
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(!all.contains("event: done") && !all.contains("event: error"));
    assert!(!all.ends_with("0\r\n\r\n"), "an end of the body would look whole");
}

#[tokio::test]
async fn a_client_that_keeps_up_is_not_cut_off_however_much_there_is() {
    let mut host = Host::with(Settings::default(), Limits { unread: 1 << 20, ..LIMITS }).await;
    let mut client = host.client().await;
    client.send(post("", "hello")).await;
    let run = host.run().await;
    let chunk = "~".repeat(48 * 1024);
    for _ in 0..80 {
        run.text(&chunk);
        client.until("~\n\n").await;
    }
    run.done().await;
    client.until("event: done").await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_run() {
    let only_one = Settings { max_connections: 1, ..Settings::default() };
    let mut host = Host::with(only_one, LIMITS).await;
    let mut client = host.client().await;
    client.send(post("", "hello")).await;
    let run = host.run().await;
    run.text("so far");
    client.until("so far").await;
    drop(client);
    // There is only one connection at a time: this one's answer says that the other's end was noticed.
    assert_eq!(host.ask(&bare("GET", "/healthz", "")).await.body, "ok");
    assert!(!run.0.ended.is_cancelled());
    run.text("to nobody");
    run.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_something_every_fifteen_seconds() {
    let (directory, mut runs) = scripted(LIMITS, POLICY, None);
    let face = Face::new(directory, Settings::default());
    let request = Request::post("/agents/chat/alice").body(Full::<Bytes>::from("hello")).unwrap();
    let response = face.answer(request, ([127, 0, 0, 1], 1).into()).await;
    let mut body = pin!(response.into_body());
    let run = Guest(*runs.recv().await.unwrap());
    let began = Instant::now();
    let mut seen = Vec::new();
    let mut next = async || {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        (frame, began.elapsed().as_secs())
    };
    seen.push(next().await);
    sleep(Duration::from_secs(10)).await;
    run.text("hi");
    seen.push(next().await);
    seen.push(next().await);
    seen.push(next().await);
    let (comment, text) = (Bytes::from(": keep-alive\n\n"), Bytes::from("id: 1\ndata: hi\n\n"));
    assert_eq!(seen, [(comment.clone(), 15), (text, 25), (comment.clone(), 40), (comment, 55)]);
}
