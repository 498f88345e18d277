//! One agent in three languages: what each of them says is the same, from the first event to the last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;
use rookery_tests::host::{PRACTICE, practice};
use rookery_tests::languages::{Language, built};
use rookery_tests::{TestHost, guests};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_rust_uses_its_tool() {
    calculates("calculator").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_javascript_uses_its_tool() {
    if built(Language::JavaScript).await {
        calculates("calculator-js").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_python_uses_its_tool() {
    if built(Language::Python).await {
        calculates("calculator-py").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_javascript_reads_an_answer_delta_by_delta() {
    if !built(Language::JavaScript).await {
        return;
    }
    let host = TestHost::builder()
        .practising()
        .await
        .plugin("loop-js", PRACTICE)
        .plugin("calculator-js", PRACTICE)
        .start()
        .await;
    let client = host.client();
    let by_itself = events(&client.prompt("loop-js/alice", "/tokens 20").await.whole().await.body);
    let forwarded = events(&client.prompt("calculator-js/alice", "/tokens 20").await.whole().await.body);
    assert_eq!(by_itself, forwarded);
    assert_eq!(by_itself[..3], [text("t1"), text(" t2"), text(" t3")]);

    fails(&host, "loop-js/alice", "/tokens 9 /cut 3", (503, "unavailable", "broke off")).await;
    assert_eq!(client.text("loop-js/alice", "hello").await, "You said: hello", "its instance goes on");
}

/// What the calculator does in any language.
async fn calculates(plugin: &str) {
    let host = TestHost::builder().practising().await.plugin(plugin, &sidecar(plugin)).start().await;
    let client = host.client();
    let alice = format!("{plugin}/alice");

    // It is asked for a sum, adds, and the model says what became of it.
    let body = client.prompt(&alice, r#"/tool add {"a":2,"b":3.5}"#).await.whole().await.body;
    let events = events(&body);
    let [call, result, said @ ..] = &events[..] else { panic!("{body}") };
    assert_eq!((&*call.kind, &call.data["name"]), ("tool-call", &json!("add")), "{body}");
    assert_eq!(call.data["arguments"], json!({ "a": 2, "b": 3.5 }), "{body}");
    let answer = json!({ "id": call.data["id"], "content": 5.5, "is_error": false });
    assert_eq!((&*result.kind, &result.data), ("tool-result", &answer), "{body}");
    let said: String = said.iter().map(|event| event.data.as_str().expect(&body)).collect();
    assert_eq!(said, "The tool said: 5.5");

    // The same instance, again. What the model got wrong is for the model to read.
    for arguments in [r#"{"a":"two","b":3}"#, r#"{"a":2}"#, r#"{"a":true,"b":1}"#, r#"{"a":1e308,"b":1e308}"#]
    {
        let answer = client.ask(&alice, &format!("/tool add {arguments}")).await.json();
        assert_eq!(
            answer["text"], r#"The tool said: "`a` and `b` have to be numbers""#,
            "{arguments}: {answer}"
        );
        let results = answer["chunks"].as_array().unwrap().iter();
        let failed: Vec<_> =
            results.map(|chunk| &chunk["data"]["is_error"]).filter(|is| is.is_boolean()).collect();
        assert_eq!(failed, [&json!(true)], "{arguments}: {answer}");
    }
    assert_eq!(client.text(&alice, r#"/tool add {"a":20,"b":22}"#).await, "The tool said: 42");
    assert_eq!(client.text(&alice, "hello").await, "You said: hello");

    // A model that is away is an honest failure, and the instance goes on.
    fails(&host, &alice, "/fail 503", (503, "unavailable", "503")).await;
    assert_eq!(client.text(&alice, "hello").await, "You said: hello");

    let (model, asked) = never_content().await;
    let host =
        TestHost::builder().model("practice", vec![practice(model)]).plugin(plugin, PRACTICE).start().await;
    fails(&host, &alice, "add", (500, "failed", "asked 8 times")).await;
    assert_eq!(asked.load(Ordering::Relaxed), 8);

    let host = TestHost::serving(&[plugin]).await;
    fails(&host, &alice, "hello", (500, "failed", "no model is granted")).await;
}

async fn fails(host: &TestHost, agent: &str, prompt: &str, (status, code, says): (u16, &str, &str)) {
    let answer = host.client().ask(agent, prompt).await;
    let problem = answer.json();
    assert_eq!((answer.status.as_u16(), &problem["code"]), (status, &json!(code)), "{agent}: {problem}");
    assert!(problem["detail"].as_str().unwrap().contains(says), "{agent}: {problem}");
}

/// The sidecar that the example comes with.
fn sidecar(plugin: &str) -> String {
    let file = guests::root().join(format!("guest-examples/{plugin}/{plugin}.toml"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A model that asks for a sum whatever it is told, and how often it was asked.
async fn never_content() -> (SocketAddr, Arc<AtomicUsize>) {
    let call = json!({
        "index": 0, "id": "c1", "type": "function",
        "function": { "name": "add", "arguments": "{\"a\":1,\"b\":1}" },
    });
    let delta = json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] });
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] });
    let answer = format!("data: {delta}\n\ndata: {end}\n\ndata: [DONE]\n\n");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let answer = async move || {
        count.fetch_add(1, Ordering::Relaxed);
        ([("content-type", "text/event-stream")], answer.clone())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async { axum::serve(listener, routes).await });
    (address, asked)
}

/// An event of a run's stream: a chunk. A text is a JSON string.
#[derive(Debug, PartialEq)]
struct Event {
    kind: String,
    data: Value,
}

fn text(text: &str) -> Event {
    Event { kind: "message".into(), data: text.into() }
}

/// The chunks of a stream, which must have ended well, without what was spent.
fn events(body: &str) -> Vec<Event> {
    let mut events: Vec<_> = body.split_terminator("\n\n").map(event).collect();
    assert_eq!(events.pop().map(|event| event.kind).as_deref(), Some("done"), "{body}");
    events.retain(|event| event.kind != "usage");
    events
}

fn event(frame: &str) -> Event {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data").expect(frame);
    match field("event") {
        None => text(data),
        Some(kind) => Event { kind: kind.into(), data: serde_json::from_str(data).expect(frame) },
    }
}
