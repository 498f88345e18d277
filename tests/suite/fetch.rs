//! The contract's `fetch` from inside real guests, against real servers on loopback.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use rookery_tests::languages::{Language, built};
use rookery_tests::server::{BEGINNING, CHUNKED, HELLO, allowing, chunked, hung_up};
use rookery_tests::{Server, TestHost};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn fetching(server: &Server) -> TestHost {
    TestHost::builder().plugin("fetch", &server.allowed()).start().await
}

/// A server that sends back what it is sent, while it is sent.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let back = async |request: Request| Body::from_stream(request.into_body().into_data_stream());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(back)).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_response_say_all_that_they_have_to_say() {
    let server = Server::start().await;
    let address = server.address();
    let host = fetching(&server).await;
    let client = host.client();

    let url = format!("http://{address}/path?query=1#not-sent");
    let response = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 4\r\nX-Two: a\r\nX-Two: k\u{e4}se\r\n\r\nnone";
    let prompt = format!("as {url} PATCH X-Mine k\u{e4}se");
    let (head, text) = tokio::join!(server.answer(response), client.text("fetch/x", &prompt));
    assert!(head.starts_with("PATCH /path?query=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {address}\r\n")), "{head}");
    assert!(head.contains("\r\nx-mine: k\u{e4}se\r\n"), "{head}");
    assert_eq!(text, "404\nconnection: close\ncontent-length: 4\nx-two: a\nx-two: k\u{e4}se\nnone\nwhole");

    let posted = async {
        let (mut connection, head) = server.accept().await;
        let mut body = [0; 7];
        connection.read_exact(&mut body).await.unwrap();
        connection.write_all(HELLO.as_bytes()).await.unwrap();
        (head, body)
    };
    let prompt = format!("post http://{address}/ g\u{fc}nter");
    let ((head, body), text) = tokio::join!(posted, client.text("fetch/x", &prompt));
    assert!(head.starts_with("POST / ") && head.contains("\r\ncontent-length: 7\r\n"), "{head}");
    assert_eq!(body, *"g\u{fc}nter".as_bytes());
    assert!(text.starts_with("200\n") && text.ends_with("\nhello\nwhole"), "{text}");

    let nothing = "HTTP/1.1 204 No Content\r\n\r\n";
    let prompt = format!("open http://{address}/");
    let (_, text) = tokio::join!(server.answer(nothing), client.text("fetch/x", &prompt));
    assert_eq!(text, "openwhole", "a response without a body has ended also where nobody reads it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_denied_and_what_is_no_request_invalid() {
    let server = Server::start().await;
    let address = server.address();
    let host = TestHost::builder()
        .plugin("fetch", &format!("[http]\nallow = [\"http://{address}/v1\"]\n"))
        .plugin_as("fetch", "poor", "")
        .start()
        .await;
    let client = host.client();
    for url in ["/", "/v10", "/v1/../v2"].map(|path| format!("http://{address}{path}")) {
        let said = client.text("fetch/x", &format!("get {url}")).await;
        assert!(said.starts_with("Error::Denied(") && said.contains("not granted"), "{url}: {said}");
    }
    let said = client.text("poor/x", &format!("get http://{address}/v1")).await;
    assert!(said.starts_with("Error::Denied("), "{said}");

    let url = format!("http://{address}/v1");
    for prompt in [
        "get ".to_owned(),
        "get /v1".to_owned(),
        "get ftp://a".to_owned(),
        format!("get http://me@{address}/v1"),
        format!("as {url} G\u{e4}T"),
        format!("as {url} CONNECT"),
        format!("as {url} TRACE"),
        format!("as {url} GET x: y"),
        format!("as {url} GET x y\r\nz:1"),
        format!("as {url} GET content-length many"),
    ] {
        let said = client.text("fetch/x", &prompt).await;
        assert!(said.starts_with("Error::Invalid("), "{prompt}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_header_reaches_the_server_and_nobody_else() {
    let server = Server::start().await;
    let address = server.address();
    let sidecar = format!(
        "{}\n[http.inject.\"http://{address}\"]\nauthorization = \"Bearer ${{KEY}}\"\n",
        allowing(address)
    );
    let host = TestHost::builder().plugin("fetch", &sidecar).environment("KEY", "s3cret-value").start().await;
    let client = host.client();
    let prompt = format!("as http://{address}/ GET authorization forged");
    let (head, text) = tokio::join!(server.answer(HELLO), client.text("fetch/x", &prompt));
    assert!(
        head.contains("\r\nauthorization: Bearer s3cret-value\r\n") && !head.contains("forged"),
        "{head}"
    );
    assert!(text.ends_with("\nhello\nwhole"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_response() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let to = format!("http://{}/there", server.address());
    let response = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let prompt = format!("get http://{}/", server.address());
    let (_, text) = tokio::join!(server.answer(&response), client.text("fetch/x", &prompt));
    assert_eq!(text, format!("302\nlocation: {to}\ncontent-length: 0\n\nwhole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_is_not_whole() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let prompt = format!("get http://{}/", server.address());
    for response in ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", &format!("{CHUNKED}5\r\nhello\r\n")]
    {
        let (_, text) = tokio::join!(server.answer(response), client.text("fetch/x", &prompt));
        assert!(text.contains("\nhello\nError::Broken("), "{text}");
    }
    let (_, text) = tokio::join!(server.answer("HTTP/9\r\n"), client.text("fetch/x", &prompt));
    assert!(text.starts_with("Error::Broken("), "{text}");
    let nobody = "127.0.0.1:1".parse().unwrap();
    let host = TestHost::builder().plugin("fetch", &allowing(nobody)).start().await;
    let text = host.client().text("fetch/x", &format!("get http://{nobody}/")).await;
    assert!(text.starts_with("Error::Unavailable("), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_go_both_ways_as_they_come() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let prompt = format!("upload http://{}/ one two three", server.address());
    let uploaded = async {
        let (mut connection, head) = server.accept().await;
        assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
        assert_eq!(chunked(&mut connection).await, "onetwothree");
        connection
    };
    let (mut connection, mut stream) = tokio::join!(uploaded, client.prompt("fetch/x", &prompt));
    connection.write_all(CHUNKED.as_bytes()).await.unwrap();
    stream.until("data: 200").await;
    for piece in ["four", "five"] {
        connection.write_all(format!("4\r\n{piece}\r\n").as_bytes()).await.unwrap();
        // The next piece is not sent before this one has come all the way through.
        stream.until(&format!("data: {piece}\n")).await;
    }
    connection.write_all(b"0\r\n\r\n").await.unwrap();
    stream.until("data: whole").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_arrive_byte_for_byte_in_both_directions_at_once() {
    let address = echo().await;
    let host = TestHost::builder().plugin("fetch", &allowing(address)).start().await;
    for count in [0, 1, 8 << 20] {
        let text = host.client().text("fetch/x", &format!("echo http://{address}/ {count}")).await;
        assert_eq!(text, "the same whole", "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_writes_waits_for_the_server() {
    let server = Server::start().await;
    let host = TestHost::builder().plugin("fetch", &server.allowed()).plugin("echo", "").start().await;
    let client = host.client();
    let prompt = format!("pour http://{}/", server.address());
    let (accepted, mut stream) = tokio::join!(server.accept(), client.prompt("fetch/x", &prompt));
    let (connection, _) = accepted;
    // The kernel holds some MiB of it. What it would have written until now, if nothing held it, is a hundred times that.
    for turn in 0..200 {
        client.text("echo/x", &turn.to_string()).await;
    }
    drop(connection);
    let poured = stream.until("data: poured").await;
    let pieces = poured.lines().filter_map(|line| line.strip_prefix("data: ")?.parse::<u32>().ok()).max();
    assert!(pieces.unwrap_or_default() < 16 * 32, "{pieces:?} pieces of 64 KiB");
    assert!(stream.rest().await.contains("Error::Broken("));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_passed_on_without_the_guest_and_breaks_where_it_breaks() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let address = server.address();
    let prompt = format!("pass http://{address}/from http://{address}/to");

    let passed = async {
        server.answer(&format!("{CHUNKED}3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")).await;
        let (mut connection, head) = server.accept().await;
        assert!(head.starts_with("POST /to "), "{head}");
        assert_eq!(chunked(&mut connection).await, "onetwo");
        connection.write_all(HELLO.as_bytes()).await.unwrap();
    };
    let ((), text) = tokio::join!(passed, client.text("fetch/x", &prompt));
    assert!(text.starts_with("whole\n200\n") && text.ends_with("\nhello\nwhole"), "{text}");

    let broken = async {
        let from = server.begin(&format!("{CHUNKED}3\r\none\r\n")).await;
        let (mut to, _) = server.accept().await;
        let mut one = [0; 8];
        to.read_exact(&mut one).await.unwrap();
        assert_eq!(one, *b"3\r\none\r\n");
        drop(from);
        hung_up(to).await
    };
    let (sent, text) = tokio::join!(broken, client.text("fetch/x", &prompt));
    assert_eq!(sent, "", "an upload that was cut looks whole");
    let (first, second) = text.split_once('\n').unwrap();
    assert!(first.starts_with("Error::Broken(") && second.starts_with("Error::Invalid("), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_or_gives_up_a_read_misses_nothing() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let prompt = format!("look http://{}/", server.address());
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
    let (mut connection, mut stream) = tokio::join!(server.begin(head), client.prompt("fetch/x", &prompt));
    stream.until("data: (Cancelled, [])").await;
    connection.write_all(b"abcdef").await.unwrap();
    let text = stream.rest().await;
    let expected = ["Complete(0) 0", "Complete(3) abc", "200", "def", "whole"];
    assert!(expected.iter().all(|expected| text.contains(&format!("data: {expected}\n"))), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_let_go_of_things_in_every_order() {
    let address = echo().await;
    let sidecar = format!("{}open_requests = 10\n", allowing(address));
    let host = TestHost::builder().plugin("fetch", &sidecar).start().await;
    let client = host.client();
    let prompt = format!("drop http://{address}/");
    let mut dropped = 0;
    while dropped < 3 {
        let answer = client.ask("fetch/x", &prompt).await.json();
        match &answer["text"] {
            text if text == "dropped all" => dropped += 1,
            // Places are given back by the connections' own tasks, perhaps a moment later.
            _ => assert!(answer["detail"].as_str().unwrap().contains("TooMany"), "{answer}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_takes_its_requests_with_it() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let prompt = format!("leave http://{}/", server.address());
    let (connection, text) = tokio::join!(server.begin(BEGINNING), client.text("fetch/x", &prompt));
    assert_eq!(text, "left");
    // Ends when the host closes the connection, and only then; so below.
    hung_up(connection).await;

    for (how, says) in [("get", "data: xx"), ("open", "data: open"), ("insist", ""), ("pour", "data: 3")] {
        let prompt = format!("{how} http://{}/", server.address());
        let (connection, mut stream) =
            tokio::join!(server.begin(BEGINNING), client.prompt("fetch/x", &prompt));
        stream.until(says).await;
        client.cancel(&stream.run()).await;
        let sent = hung_up(connection).await;
        assert!(!sent.ends_with("0\r\n\r\n"), "{how}: an upload that was cut looks whole");
        let body = stream.whole().await.body;
        assert!(body.contains("\"code\":\"cancelled\"") && body.contains("returned"), "{how}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_left_over_sends_nothing() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let prompt = format!("later http://{}/", server.address());
    assert_eq!(client.text("fetch/x", &prompt).await, "");
    let mut said = String::new();
    while said.is_empty() {
        said = client.text("fetch/x", "said").await;
    }
    assert_eq!(said, "Error::Cancelled, Error::Cancelled, 12");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_traps_keeps_what_it_stored_before_it_wrote_and_its_upload_does_not_look_whole() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let prompt = format!("trap http://{}/", server.address());
    let receiving = async {
        let (mut connection, _) = server.accept().await;
        let mut half = [0; 15];
        connection.read_exact(&mut half).await.unwrap();
        assert_eq!(half, *b"A\r\nhalf of it\r\n");
        connection.write_all(CHUNKED.as_bytes()).await.unwrap();
        hung_up(connection).await
    };
    let (sent, code) = tokio::join!(receiving, client.code("fetch/x", &prompt));
    assert_eq!(code, "trapped");
    assert!(!sent.ends_with("0\r\n\r\n"), "an upload that was cut looks whole: {sent}");
    assert_eq!(client.text("fetch/x", "kept").await, "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_a_failure_of_its_own() {
    let server = Server::start().await;
    let sidecar = format!("{}[runs]\nstall = \"200ms\"\n", server.allowed());
    let host = TestHost::builder().plugin("fetch", &sidecar).start().await;
    let client = host.client();
    let hello = format!("{CHUNKED}5\r\nhello\r\n");
    let prompt = format!("insist http://{}/", server.address());
    let (_connection, answer) = tokio::join!(server.begin(&hello), client.ask("fetch/x", &prompt));
    let problem = answer.json();
    assert_eq!((answer.status.as_u16(), &problem["code"]), (504, &json!("stalled")), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains(&server.address().to_string()) && detail.contains("silent for 200ms"),
        "{detail}"
    );

    let prompt = format!("get http://{}/", server.address());
    let (_connection, text) = tokio::join!(server.begin(&hello), client.text("fetch/x", &prompt));
    assert!(text.ends_with("\nhello\nError::Timeout(\"the server stopped answering\")"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_ask_for_shorter_waits() {
    let server = Server::start().await;
    let host = fetching(&server).await;
    let client = host.client();
    let prompt = format!("hurry http://{}/", server.address());
    let (_connection, text) = tokio::join!(server.accept(), client.text("fetch/x", &prompt));
    assert!(text.starts_with("Error::Timeout(\"the server did not answer in time"), "{text}");
    let (_connection, text) = tokio::join!(server.begin(CHUNKED), client.text("fetch/x", &prompt));
    assert!(text.ends_with("\nError::Timeout(\"the server stopped answering\")"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_has_only_so_many_requests_open_at_once() {
    let server = Server::start().await;
    let sidecar = format!("{}open_requests = 1\n", server.allowed());
    let host = TestHost::builder().plugin("fetch", &sidecar).start().await;
    let client = host.client();
    let prompt = format!("open http://{}/", server.address());
    let (_connection, mut stream) = tokio::join!(server.begin(BEGINNING), client.prompt("fetch/x", &prompt));
    stream.until("data: open").await;
    let said = client.text("fetch/y", &format!("get http://{}/", server.address())).await;
    assert!(said.starts_with("Error::TooMany("), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_javascript_fetches() {
    if !built(Language::JavaScript).await {
        return;
    }
    let server = Server::start().await;
    let address = server.address();
    let host = TestHost::builder().plugin("fetch-js", &allowing(address)).start().await;
    let client = host.client();
    let told = "200 text/plain\ngr\u{fc}n\nok";
    let response = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nconnection: close\r\n\r\ngr\u{fc}n";

    let prompt = format!("get http://{address}/");
    let (head, text) = tokio::join!(server.answer(response), client.text("fetch-js/x", &prompt));
    assert!(head.starts_with("GET / ") && head.contains("\r\nx-from: JavaScript\r\n"), "{head}");
    assert_eq!(text, told);

    let uploaded = async {
        let (mut connection, _) = server.accept().await;
        assert_eq!(chunked(&mut connection).await, "onetwothree");
        connection.write_all(response.as_bytes()).await.unwrap();
    };
    let prompt = format!("upload http://{address}/");
    let ((), text) = tokio::join!(uploaded, client.text("fetch-js/x", &prompt));
    assert_eq!(text, told);

    let passed = async {
        server.answer(response).await;
        let (mut connection, _) = server.accept().await;
        assert_eq!(chunked(&mut connection).await, "gr\u{fc}n");
        connection.write_all(response.as_bytes()).await.unwrap();
    };
    let prompt = format!("pass http://{address}/from http://{address}/to");
    let ((), text) = tokio::join!(passed, client.text("fetch-js/x", &prompt));
    assert_eq!(text, told);

    let answer = client.ask("fetch-js/x", "get http://127.0.0.1:1/").await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("denied"), "{}", answer.body);
    let cut = async { server.answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut").await };
    let prompt = format!("get http://{address}/");
    let (_, answer) = tokio::join!(cut, client.ask("fetch-js/x", &prompt));
    assert!(answer.json()["detail"].as_str().unwrap().contains("broken"), "{}", answer.body);
}
