//! The practice model as its clients see it: real sockets, and the bytes on them.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use rookery_practice::{BODY_LIMIT, Settings, router, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let settings = Settings { delay: Duration::ZERO };
        let task = tokio::spawn(serve(listener, settings, async {
            let _ = stopped.await;
        }));
        Self { address, stop, task }
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: practice\r\nconnection: close\r\n{headers}");
        let request = format!("{head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("a request that is read");
        stream
    }

    async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let mut stream = self.send(method, path, headers, body).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("a response and the end of the connection");
        Response::parse(&bytes)
    }

    async fn ask(&self, prompt: &str, more: Value) -> Response {
        self.request("POST", "/v1/chat/completions", "", &body(prompt, more)).await
    }

    async fn ask_streaming(&self, prompt: &str) -> Response {
        self.ask(prompt, json!({"stream": true})).await
    }
}

fn body(prompt: &str, more: Value) -> String {
    let mut body = json!({"model": "practice", "messages": [{"role": "user", "content": prompt}]});
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body.to_string()
}

/// Reads until the text has come, however it is cut into packets.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(text) {
        assert_ne!(stream.read_buf(&mut bytes).await.expect("more to read"), 0, "ended before {text:?}");
    }
    String::from_utf8(bytes).expect("text")
}

struct Response {
    status: u16,
    head: String,
    /// The chunks of a chunked body, or the whole body as one.
    frames: Vec<String>,
    /// Whether the body came to its end.
    complete: bool,
}

impl Response {
    fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("text");
        let (head, mut rest) = text.split_once("\r\n\r\n").expect("a head");
        let status = head[9..12].parse().expect("a status");
        let mut response = Self { status, head: head.to_lowercase(), frames: Vec::new(), complete: true };
        if response.header("transfer-encoding") != Some("chunked") {
            response.frames.push(rest.to_owned());
            return response;
        }
        response.complete = false;
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).expect("a size");
            if size == 0 {
                response.complete = true;
                break;
            }
            response.frames.push(after[..size].to_owned());
            rest = &after[size + 2..];
        }
        response
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.frames.concat()).expect("JSON")
    }

    fn answer(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().expect("an answer").to_owned()
    }

    /// The tokens of a stream, without the empty opening.
    fn tokens(&self) -> Vec<String> {
        let content = |frame: &String| {
            let chunk: Value = serde_json::from_str(frame.strip_prefix("data: ")?).ok()?;
            chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
        };
        self.frames.iter().filter_map(content).skip(1).collect()
    }

    fn assert_refused(&self, status: u16, kind: &str, param: Option<&str>, code: Option<&str>) {
        assert_eq!(self.status, status);
        assert_eq!(self.header("content-type"), Some("application/json"));
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(
            (&error["type"], &error["param"], &error["code"]),
            (&json!(kind), &json!(param), &json!(code))
        );
    }
}

#[tokio::test]
async fn a_stream_is_the_opening_the_tokens_the_finish_and_done_each_in_its_own_frame() {
    let server = Server::start().await;
    let response = server.ask_streaming("hello").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.header("cache-control"), Some("no-cache"));
    assert!(response.complete);
    let chunk = |choice: &str| {
        let head = r#""id":"chatcmpl-f3d6a073ab948a52","object":"chat.completion.chunk","created":1700000000,"model":"practice""#;
        format!("data: {{{head},\"choices\":[{choice}]}}\n\n")
    };
    assert_eq!(
        response.frames,
        [
            chunk(r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#),
            chunk(r#"{"index":0,"delta":{"content":"You"},"finish_reason":null}"#),
            chunk(r#"{"index":0,"delta":{"content":" said:"},"finish_reason":null}"#),
            chunk(r#"{"index":0,"delta":{"content":" hello"},"finish_reason":null}"#),
            chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
            "data: [DONE]\n\n".to_owned(),
        ],
    );
}

#[tokio::test]
async fn a_stream_with_usage_has_it_in_an_extra_last_chunk_and_null_before() {
    let server = Server::start().await;
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let response = server.ask("hello there", asked).await;
    let (usage, before) = response.frames[..response.frames.len() - 1].split_last().unwrap();
    assert_eq!(before.len(), 1 + 4 + 1);
    assert!(before.iter().all(|frame| frame.ends_with("],\"usage\":null}\n\n")));
    let end = r#""choices":[],"usage":{"prompt_tokens":2,"completion_tokens":4,"total_tokens":6}}"#;
    assert!(usage.ends_with(&format!("{end}\n\n")), "{usage}");
}

#[tokio::test]
async fn the_same_question_has_the_same_answer_to_the_byte() {
    let server = Server::start().await;
    let (first, second) = (server.ask_streaming("hello").await, server.ask_streaming("hello").await);
    assert_eq!(first.frames, second.frames);
}

#[tokio::test]
async fn a_token_is_on_the_wire_before_the_next_one_is_due() {
    let server = Server::start().await;
    let asked = body("/tokens 2 /delay 60000", json!({"stream": true}));
    let mut stream = server.send("POST", "/v1/chat/completions", "", &asked).await;
    let read = read_until(&mut stream, r#"{"content":"t1"}"#).await;
    assert!(!read.contains("t2"));
}

#[tokio::test]
async fn a_hundred_thousand_tokens_are_a_hundred_thousand_frames() {
    let server = Server::start().await;
    let response = server.ask_streaming("/tokens 100000").await;
    assert!(response.complete);
    assert_eq!(response.frames.len(), 100_003);
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_one_document() {
    let server = Server::start().await;
    let response = server.ask("hello", json!({"model": "any-name"})).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let document = response.json();
    assert_eq!(
        document,
        json!({
            "id": document["id"],
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "any-name",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": "You said: hello", "refusal": null},
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
        }),
    );
}

#[tokio::test]
async fn an_answer_is_no_longer_than_the_client_wants() {
    let server = Server::start().await;
    let streamed = server.ask("/tokens 9", json!({"stream": true, "max_tokens": 2})).await;
    assert_eq!(streamed.tokens(), ["t1", " t2"]);
    assert!(streamed.frames[3].contains(r#""finish_reason":"length""#));
    let whole = server.ask("/tokens 9", json!({"max_completion_tokens": 2})).await.json();
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 2);
}

#[tokio::test]
async fn a_conversation_is_counted_and_a_key_is_recognised() {
    let server = Server::start().await;
    let messages = json!([
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "You said: hello"},
        {"role": "user", "content": [{"type": "text", "text": "/history"}]},
    ]);
    let response = server.ask("", json!({"messages": messages})).await;
    assert_eq!(response.answer(), "This conversation has 3 messages.");

    let (key, asked) = ("authorization: Bearer sk-practice-1234\r\n", body("/whoami", json!({})));
    let response = server.request("POST", "/v1/chat/completions", key, &asked).await;
    assert_eq!(response.answer(), "authorization: Bearer ****1234");
    assert_eq!(server.ask("/whoami", json!({})).await.answer(), "authorization: none");
}

#[tokio::test]
async fn a_failure_has_the_status_that_was_asked_for_streamed_or_not() {
    let server = Server::start().await;
    for (status, kind, code, retry_after) in [
        (400, "invalid_request_error", None, None),
        (401, "invalid_request_error", Some("invalid_api_key"), None),
        (429, "requests", Some("rate_limit_exceeded"), Some("1")),
        (500, "server_error", None, None),
        (503, "server_error", None, Some("1")),
    ] {
        for stream in [false, true] {
            let response = server.ask(&format!("/fail {status}"), json!({"stream": stream})).await;
            response.assert_refused(status, kind, None, code);
            assert_eq!(response.header("retry-after"), retry_after);
        }
    }
}

#[tokio::test]
async fn an_error_amid_a_stream_ends_it_without_done() {
    let server = Server::start().await;
    let response = server.ask_streaming("/tokens 9 /error 2").await;
    assert_eq!(response.tokens(), ["t1", " t2"]);
    let error: Value = serde_json::from_str(&response.frames[3]["data: ".len()..]).unwrap();
    assert_eq!(error["error"]["type"], "server_error");
    assert!(response.complete);
    assert_eq!(response.frames.len(), 4);
    server.ask("/error 2", json!({})).await.assert_refused(500, "server_error", None, None);
}

#[tokio::test]
async fn a_cut_stream_has_its_tokens_and_never_becomes_complete() {
    let server = Server::start().await;
    for cut in [0, 2, 5000] {
        let response = server.ask_streaming(&format!("/tokens 9000 /cut {cut}")).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.tokens().len(), cut);
        assert_eq!(response.frames.len(), 1 + cut);
        assert!(!response.complete);
    }
}

#[tokio::test]
async fn a_cut_document_never_becomes_complete() {
    let server = Server::start().await;
    let response = server.ask("/cut 2 hello", json!({})).await;
    assert_eq!(response.status, 200);
    assert!(!response.complete);
    assert!(response.frames.concat().starts_with('{'));
}

#[tokio::test]
async fn a_stalled_answer_ends_with_its_client() {
    let server = Server::start().await;
    for streamed in [true, false] {
        let asked = body("/tokens 9 /stall 2", json!({"stream": streamed}));
        let mut stream = server.send("POST", "/v1/chat/completions", "", &asked).await;
        if streamed {
            assert!(!read_until(&mut stream, "t2").await.contains("t3"));
        }
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert_eq!(closed.expect("closed by the server").unwrap(), 0, "nothing more came");
    }
}

#[tokio::test]
async fn a_stop_ends_even_an_answer_that_stalls() {
    let server = Server::start().await;
    let asked = body("/tokens 9 /stall 1", json!({"stream": true}));
    let mut stream = server.send("POST", "/v1/chat/completions", "", &asked).await;
    read_until(&mut stream, "t1").await;
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8(rest).unwrap().find("0\r\n\r\n"), None, "cut off, not ended");
}

#[tokio::test]
async fn an_answer_under_way_is_finished_after_the_stop() {
    let server = Server::start().await;
    let asked = body("/tokens 3 /delay 50", json!({"stream": true}));
    let mut stream = server.send("POST", "/v1/chat/completions", "", &asked).await;
    read_until(&mut stream, "t1").await;
    server.stop.send(()).unwrap();
    let rest = read_until(&mut stream, "[DONE]").await;
    assert!(rest.contains("t3"));
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_with_the_reason() {
    let server = Server::start().await;
    let path = "/v1/chat/completions";
    let kind = "invalid_request_error";
    server.request("POST", path, "", "{not json").await.assert_refused(400, kind, None, None);
    server.request("POST", path, "", "").await.assert_refused(400, kind, None, None);
    server.request("POST", path, "", r#"{"model":"m"}"#).await.assert_refused(
        400,
        kind,
        Some("messages"),
        None,
    );
    let no_messages = body("", json!({"messages": []}));
    server.request("POST", path, "", &no_messages).await.assert_refused(400, kind, Some("messages"), None);
    server.request("POST", "/v1/nothing", "", "").await.assert_refused(404, kind, None, None);
    let response = server.request("GET", path, "", "").await;
    response.assert_refused(405, kind, None, None);
    assert_eq!(response.header("allow"), Some("post"));
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let request = |size| {
        let body = body(&" ".repeat(size), json!({}));
        Request::post("/v1/chat/completions").body(Body::from(body)).unwrap()
    };
    let router = router(Settings::default());
    let response = router.clone().oneshot(request(BODY_LIMIT)).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    let error: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["type"], "invalid_request_error");
    let response = router.oneshot(request(BODY_LIMIT - 1024)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_models_and_the_rules_can_be_read() {
    let server = Server::start().await;
    let models = server.request("GET", "/v1/models", "", "").await.json();
    let practice =
        json!({"id": "practice", "object": "model", "created": 1_700_000_000, "owned_by": "rookery"});
    assert_eq!(models, json!({"object": "list", "data": [practice]}));
    let page = server.request("GET", "/", "", "").await;
    assert_eq!(page.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(page.frames.concat().contains("| `/tokens N` |"));
}

#[tokio::test]
async fn thoughts_and_tools_are_worded_as_openai_words_them() {
    let server = Server::start().await;
    let prompt = r#"/think 2 /tokens 1 /tool add {"x":1}"#;
    let response = server.ask_streaming(prompt).await;
    let deltas: Vec<Value> = response
        .frames
        .iter()
        .filter_map(|frame| serde_json::from_str::<Value>(frame.strip_prefix("data: ")?).ok())
        .map(|chunk| chunk["choices"][0].clone())
        .collect();
    let delta = |delta: Value| json!({"index": 0, "delta": delta, "finish_reason": null});
    let function = |function: Value| delta(json!({"tool_calls": [{"index": 0, "function": function}]}));
    let named = json!({"index": 0, "id": "call_1_1", "type": "function", "function": {"name": "add", "arguments": ""}});
    assert_eq!(
        deltas,
        [
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"reasoning_content": "h1"})),
            delta(json!({"reasoning_content": " h2"})),
            delta(json!({"content": "t1"})),
            delta(json!({"tool_calls": [named]})),
            function(json!({"arguments": "{\"x"})),
            function(json!({"arguments": "\":1}"})),
            json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"}),
        ],
    );
    let message = &server.ask(prompt, json!({})).await.json()["choices"][0]["message"];
    assert_eq!((&message["reasoning_content"], &message["content"]), (&json!("h1 h2"), &json!("t1")));
    assert_eq!(message["tool_calls"][0]["function"], json!({"name": "add", "arguments": "{\"x\":1}"}));

    let messages = json!([
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": "t1", "tool_calls": []},
        {"role": "tool", "tool_call_id": "call_1_1", "content": "2"},
    ]);
    let messages = json!({"messages": messages});
    assert_eq!(server.ask(prompt, messages).await.answer(), "t1", "`/tokens` says what is said");
}

#[tokio::test]
async fn messages_are_worded_as_anthropic_words_them() {
    let server = Server::start().await;
    let asked = body(r#"/think 1 /tokens 2 /tool add {"x":1}"#, json!({"stream": true, "max_tokens": 9}));
    let response = server.request("POST", "/v1/messages", "", &asked).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let events: Vec<Value> = response
        .frames
        .concat()
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once("\ndata: ").expect("a name and data");
            let data: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect();
    let start = |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta =
        |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: usize| json!({"type": "content_block_stop", "index": index});
    let json_delta = |piece: &str| delta(2, json!({"type": "input_json_delta", "partial_json": piece}));
    assert_eq!(events[0]["message"]["usage"], json!({"input_tokens": 7, "output_tokens": 1}));
    assert_eq!(
        events[1..],
        [
            json!({"type": "ping"}),
            start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, json!({"type": "thinking_delta", "thinking": "h1"})),
            delta(0, json!({"type": "signature_delta", "signature": "cHJhY3RpY2U="})),
            stop(0),
            start(1, json!({"type": "text", "text": ""})),
            delta(1, json!({"type": "text_delta", "text": "t1"})),
            delta(1, json!({"type": "text_delta", "text": " t2"})),
            stop(1),
            start(2, json!({"type": "tool_use", "id": "call_1_1", "name": "add", "input": {}})),
            json_delta(""),
            json_delta("{\"x"),
            json_delta("\":1}"),
            stop(2),
            json!({
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": null},
                "usage": {"output_tokens": 3},
            }),
            json!({"type": "message_stop"}),
        ],
    );
}

#[tokio::test]
async fn a_message_that_is_not_streamed_is_one_document_and_knows_what_tools_answered() {
    let server = Server::start().await;
    let result =
        json!({"type": "tool_result", "tool_use_id": "call_1_1", "content": [{"type": "text", "text": "2"}]});
    let messages = json!([
        {"role": "user", "content": "/tool add {}"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1_1", "name": "add", "input": {}}]},
        {"role": "user", "content": [result]},
    ]);
    let asked = json!({"model": "m", "max_tokens": 99, "messages": messages}).to_string();
    let document = server.request("POST", "/v1/messages", "", &asked).await.json();
    assert_eq!(document["content"], json!([{"type": "text", "text": "The tool said: 2"}]));
    assert_eq!((&document["stop_reason"], &document["type"]), (&json!("end_turn"), &json!("message")));

    let asked = body("/whoami", json!({"max_tokens": 9}));
    let document = server.request("POST", "/v1/messages", "x-api-key: sk-1234\r\n", &asked).await.json();
    assert_eq!(document["content"][0]["text"], "authorization: ****1234");
}

#[tokio::test]
async fn a_message_is_refused_as_anthropic_does() {
    let server = Server::start().await;
    for (asked, status, kind) in [
        (body("hello", json!({})), 400, "invalid_request_error"),
        (body("/fail 401", json!({"max_tokens": 9})), 401, "authentication_error"),
        (body("/fail 529", json!({"max_tokens": 9})), 529, "overloaded_error"),
        ("{".to_owned(), 400, "invalid_request_error"),
    ] {
        let response = server.request("POST", "/v1/messages", "", &asked).await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(
            (&response.json()["type"], &response.json()["error"]["type"]),
            (&json!("error"), &json!(kind))
        );
    }
    let asked = body("/tokens 9 /error 1", json!({"stream": true, "max_tokens": 9}));
    let response = server.request("POST", "/v1/messages", "", &asked).await;
    let last = response.frames.last().and_then(|frame| frame.strip_prefix("event: error\ndata: "));
    let error: Value = serde_json::from_str(last.expect("an error")).expect("JSON");
    assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("api_error")));
}

#[tokio::test]
async fn an_embedding_depends_on_its_text_alone() {
    let server = Server::start().await;
    let embed = async |input: Value| {
        let asked = json!({"model": "m", "input": input}).to_string();
        server.request("POST", "/v1/embeddings", "", &asked).await.json()
    };
    let both = embed(json!(["hello", "hello there"])).await;
    let alone = embed(json!("hello")).await;
    assert_eq!(both["data"][0]["embedding"], alone["data"][0]["embedding"]);
    assert_ne!(both["data"][1]["embedding"], alone["data"][0]["embedding"]);
    assert_eq!(both["data"][1]["index"], 1);
    assert_eq!(alone["data"][0]["embedding"].as_array().map(Vec::len), Some(8));
    assert_eq!(both["usage"]["prompt_tokens"], 3);
    let refused = server.request("POST", "/v1/embeddings", "", r#"{"model":"m","input":7}"#).await;
    refused.assert_refused(400, "invalid_request_error", None, None);
}
