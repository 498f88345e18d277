//! Models as guests meet them: asked by name, read delta by delta or passed on by the host.

use rookery_models::{Dialect, Key, Provider};
use rookery_tests::host::PRACTICE;
use rookery_tests::{Server, TestHost};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn asker() -> TestHost {
    TestHost::builder().practising().await.plugin("asker", PRACTICE).start().await
}

/// A model at a server of the test's own; what fails fails at once.
fn at(server: &Server) -> Vec<Provider> {
    let provider = Provider::new(Dialect::OpenAi, format!("http://{}/v1", server.address()), "m");
    vec![Provider { retries: 0, key: Key::new("sk-0123456789"), ..provider }]
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Says a word, as the model does.
async fn say(connection: &mut TcpStream, word: &str) {
    let data = json!({ "choices": [{ "index": 0, "delta": { "content": word } }] });
    let event = format!("data: {data}\n\n");
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    connection.write_all(chunk.as_bytes()).await.unwrap();
}

/// Ready when the other side has hung up.
async fn hung_up(mut connection: TcpStream) {
    let mut read = [0; 1024];
    while connection.read(&mut read).await.is_ok_and(|count| count > 0) {}
}

/// A stream without what names its run and what the guest was told of the answer.
async fn events(host: &TestHost, prompt: &str) -> String {
    let stream = host.client().prompt("asker/alice", prompt).await.whole().await.body;
    let events = stream.split_inclusive("\n\n");
    events.filter(|event| !event.starts_with("event: answer") && !event.starts_with("event: done")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_the_same_whether_the_guest_or_the_host_passes_it_on() {
    let host = asker().await;
    let forwarded = events(&host, "forward /tokens 20").await;
    assert!(forwarded.starts_with("id: 1\ndata: t1\n\nid: 2\ndata:  t2\n\n"), "{forwarded}");
    assert!(forwarded.contains("\ndata:  t20\n\nevent: usage\n"), "{forwarded}");
    for how in ["loop", "one-by-one", "some 7", "forget"] {
        assert_eq!(events(&host, &format!("{how} /tokens 20")).await, forwarded, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_forwards_is_told_the_whole_answer_in_the_end() {
    let host = asker().await;
    for prompt in ["forward /tokens 3", "some 2 /tokens 3"] {
        let stream = host.client().prompt("asker/alice", prompt).await.whole().await.body;
        let told = stream.split("event: answer\n").nth(1).expect(&stream);
        let told = told.split_once("data: ").unwrap().1.lines().next().unwrap();
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!((&told["text"], &told["reason"]), (&json!("t1 t2 t3"), &json!("Reason::Stop")), "{told}");
        assert_eq!((&told["input"], &told["output"]), (&json!(2), &json!(3)), "{prompt}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_when_what_it_forwards_has_ended_also_where_the_guest_has_returned() {
    let server = Server::start().await;
    let host = TestHost::builder().model("practice", at(&server)).plugin("asker", PRACTICE).start().await;
    let mut stream = host.client().prompt("asker/alice", "forget hello").await;
    let (mut connection, head) = server.accept().await;
    assert!(head.to_lowercase().contains("authorization: bearer sk-0123456789"), "{head}");
    connection.write_all(HEAD.as_bytes()).await.unwrap();
    for word in ["one", "two", "three"] {
        say(&mut connection, word).await;
        let seen = stream.until(&format!("data: {word}")).await;
        assert!(!seen.contains("event: done"), "{seen}");
    }
    let rest = "30\r\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n..\r\n0\r\n\r\n";
    connection.write_all(rest.replace("..", "").replace("30", "2e").as_bytes()).await.unwrap();
    let body = stream.rest().await;
    assert!(body.contains("event: done"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_fails_its_run_unless_the_guest_helps_itself() {
    let host = asker().await;
    let client = host.client();
    for how in ["forward", "forget", "loop", "some 2"] {
        let answer = client.ask("asker/alice", &format!("{how} /tokens 9 /cut 3")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("unavailable")), "{how}");
        let stream =
            client.prompt("asker/alice", &format!("{how} /tokens 9 /cut 3")).await.whole().await.body;
        assert!(stream.contains("data:  t3\n\n") && !stream.contains("t4"), "{how}: {stream}");
        assert!(stream.contains("event: error"), "{how}: {stream}");
    }
    let text = client.text("asker/alice", "help /tokens 9 /cut 3").await;
    assert!(text.starts_with("t1 t2 t3instead of Error::Unavailable"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_not_granted_is_refused_by_its_name() {
    let host = TestHost::builder()
        .practising()
        .await
        .plugin("asker", PRACTICE)
        .plugin_as("asker", "poor", "")
        .start()
        .await;
    let client = host.client();
    assert_eq!(client.text("asker/x", "model practice hello").await, "You said: hello");
    for (agent, prompt) in
        [("asker/x", "model other hello"), ("poor/x", "model practice hello"), ("poor/x", "loop hi")]
    {
        let answer = client.ask(agent, prompt).await;
        assert_eq!(answer.json()["code"], "failed", "{agent} {prompt}: {}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().contains("granted"), "{agent}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_names_an_unknown_model_is_refused_with_the_nearest_name() {
    let host = TestHost::builder()
        .practising()
        .await
        .plugin("asker", "[models]\ndefault = \"practise\"\n")
        .start()
        .await;
    let [refused] = host.refused() else { panic!("{:?}", host.refused()) };
    assert!(refused.error.contains("`practise`") && refused.error.contains("`practice`"), "{refused:?}");
    assert!(refused.error.starts_with("`asker.toml`"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_rejected_at_once() {
    let host = asker().await;
    let client = host.client();
    for (extra, says) in [("{", "JSON"), ("[]", "object"), (r#"{"stream":false}"#, "stream")] {
        let answer = client.ask("asker/x", &format!("extra {extra}")).await;
        assert_eq!(answer.json()["code"], "rejected", "{extra}: {}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{extra}: {}", answer.body);
    }
    assert_eq!(client.text("asker/x", r#"extra {"seed":7}"#).await, "You said: hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_own_stream_is_not_forwarded() {
    let host = asker().await;
    let text = host.client().text("asker/x", "own").await;
    assert!(text.starts_with("Err(Error::Rejected(") && text.contains("Dropped"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hoards_answers_is_refused_more_of_them() {
    let host = asker().await;
    let text = host.client().text("asker/x", "hoard hello").await;
    assert!(text.starts_with("1024 Error::Unavailable(") && text.ends_with("nobody reads\") true"), "{text}");
    assert_eq!(
        host.client().text("asker/y", "forget hello").await,
        "You said: hello",
        "others do not notice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_answers_may_be_forwarded_at_once() {
    let host = asker().await;
    let text = host.client().text("asker/x", "both /tokens 3").await;
    assert!(text.ends_with("|t1 t2 t3|t1 t2 t3"), "{text}");
    assert_eq!(text.matches("t2").count(), 4, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_question_is_kept_and_what_came_after_goes_with_the_trap() {
    let host = asker().await;
    let client = host.client();
    assert_eq!(client.code("asker/x", "keep before").await, "trapped");
    assert_eq!(client.text("asker/x", "kept").await, "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_dropped_ends_the_providers_request() {
    let server = Server::start().await;
    let host = TestHost::builder().model("practice", at(&server)).plugin("asker", PRACTICE).start().await;
    let client = host.client();
    let (text, ()) = tokio::join!(client.text("asker/x", "drop hello"), async {
        let (mut connection, _) = server.accept().await;
        connection.write_all(HEAD.as_bytes()).await.unwrap();
        say(&mut connection, "one").await;
        hung_up(connection).await;
    });
    assert_eq!(text, "dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_ends_the_providers_request() {
    let server = Server::start().await;
    let host = TestHost::builder().model("practice", at(&server)).plugin("asker", PRACTICE).start().await;
    let client = host.client();
    for how in ["forward", "forget", "loop"] {
        let mut stream = client.prompt("asker/x", &format!("{how} hello")).await;
        let (mut connection, _) = server.accept().await;
        connection.write_all(HEAD.as_bytes()).await.unwrap();
        say(&mut connection, "one").await;
        stream.until("data: one").await;
        client.cancel(&stream.run()).await;
        hung_up(connection).await;
        let body = stream.rest().await;
        assert!(body.contains("\"code\":\"cancelled\"") && body.contains("returned"), "{how}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_falls_silent_is_a_failure_of_its_own() {
    let server = Server::start().await;
    let mut providers = at(&server);
    providers[0].timeouts.silence = std::time::Duration::from_millis(200);
    let host = TestHost::builder().model("practice", providers).plugin("asker", PRACTICE).start().await;
    let client = host.client();
    for how in ["forward", "forget", "loop"] {
        let prompt = format!("{how} hello");
        let (answer, _connection) = tokio::join!(client.ask("asker/x", &prompt), async {
            let (mut connection, _) = server.accept().await;
            connection.write_all(HEAD.as_bytes()).await.unwrap();
            say(&mut connection, "one").await;
            connection
        });
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (504, &json!("stalled")), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_answers_is_neither_lost_nor_held_in_memory() {
    let host = asker().await;
    let (one, other) = ("forget /tokens 50000 /delay 0", "loop /tokens 50000 /delay 0");
    let client = host.client();
    let (one, other) = tokio::join!(client.text("asker/x", one), client.text("asker/y", other));
    assert!(one.ends_with(" t49999 t50000") && one == other, "{} and {} bytes", one.len(), other.len());
}
