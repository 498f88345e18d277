//! Outgoing HTTP from inside real guests, over wasi:http 0.3 and 0.2, against real servers on loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rookery_tests::host::by_hand_sidecar;
use rookery_tests::server::{BEGINNING, CHUNKED, HELLO, chunked, hung_up};
use rookery_tests::{Server, TestHost};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_request_is_sent_from_both_versions_of_wasi_http() {
    let server = Server::start().await;
    let host = TestHost::builder()
        .plugin("fetcher", &server.allowed())
        .plugin("fetcher-02", &server.allowed())
        .start()
        .await;
    for plugin in ["fetcher", "fetcher-02"] {
        let url = format!("http://{}/path?query=1", server.address());
        let client = host.client();
        let agent = format!("{plugin}/x");
        let (head, text) = tokio::join!(server.answer(HELLO), client.text(&agent, &url));
        assert_eq!(text, "200\nhello", "{plugin}");
        assert!(head.starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{plugin}: {head}");
        assert!(
            head.to_lowercase().contains(&format!("\r\nhost: {}\r\n", server.address())),
            "{plugin}: {head}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_8_what_is_not_granted_is_refused_with_a_typed_error() {
    let server = Server::start().await;
    let host = TestHost::builder()
        .plugin("fetcher", &format!("[http]\nallow = [\"http://{}/v1\"]\n", server.address()))
        .plugin("fetcher-02", "")
        .start()
        .await;
    let client = host.client();
    let address = server.address();
    for url in [
        format!("http://{address}/"),
        format!("http://{address}/v10"),
        format!("http://{address}/v1/../v2"),
        format!("http://{address}/v1/%2e%2e/v2"),
        format!("https://{address}/v1"),
        format!("http://localhost:{}/v1", address.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let said = client.text("fetcher/x", &url).await;
        assert!(said.contains("HttpRequestDenied"), "{url}: {said}");
        let said = client.text("fetcher-02/x", &url).await;
        assert!(said.contains("HttpRequestDenied"), "{url}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_8_a_granted_name_that_leads_to_loopback_is_refused() {
    let server = Server::start().await;
    let port = server.address().port();
    let host = TestHost::builder()
        .plugin("fetcher", &format!("[http]\nallow = [\"http://rebound.example:{port}\"]\n"))
        .config(|config| {
            config.outgoing.lookup =
                Arc::new(|_| Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) }));
        })
        .start()
        .await;
    let said = host.client().text("fetcher/x", &format!("http://rebound.example:{port}/")).await;
    assert!(said.contains("DestinationIpProhibited"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_8_injected_headers_reach_the_server_and_nobody_else() {
    let server = Server::start().await;
    let address = server.address();
    let sidecar = format!(
        "{}\n[http.inject.\"http://{address}\"]\nauthorization = \"Bearer ${{KEY}}\"\n",
        server.allowed()
    );
    let host =
        TestHost::builder().plugin("fetcher", &sidecar).environment("KEY", "s3cret-value").start().await;
    let client = host.client();
    let url = format!("spoof http://{address}/");
    let (head, text) = tokio::join!(server.answer(HELLO), client.text("fetcher/x", &url));
    assert!(head.contains("Bearer s3cret-value"), "{head}");
    assert!(!head.contains("forged"), "the guest cannot put its own in its place: {head}");
    assert_eq!(text, "200\nhello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_environment_variable_is_an_error_at_load() {
    let sidecar = "[http]\nallow = [\"https://api.example.com\"]\n\n\
                   [http.inject.\"https://api.example.com\"]\nauthorization = \"Bearer ${NOT_SET}\"\n";
    let host = TestHost::builder().plugin("fetcher", sidecar).plugin("echo", "").start().await;
    let [refused] = host.refused() else { panic!("{:?}", host.refused()) };
    assert!(refused.error.contains("NOT_SET"), "{refused:?}");
    assert_eq!(host.client().text("echo/x", "still here").await, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_arrives_piece_by_piece() {
    let server = Server::start().await;
    let host = TestHost::builder().plugin("fetcher", &server.allowed()).start().await;
    let client = host.client();
    let url = format!("http://{}/", server.address());
    let (mut connection, mut stream) = tokio::join!(server.begin(CHUNKED), client.prompt("fetcher/x", &url));
    stream.until("data: 200").await;
    for piece in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        connection.write_all(chunk.as_bytes()).await.unwrap();
        // The next piece is not sent before this one has come all the way through.
        stream.until(&format!("data: {piece}\n")).await;
    }
    connection.write_all(b"0\r\n\r\n").await.unwrap();
    stream.until("event: done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_arrives_whole() {
    let server = Server::start().await;
    let host = TestHost::builder().plugin("fetcher", &server.allowed()).start().await;
    let client = host.client();
    let url = format!("post http://{}/", server.address());
    let serving = async {
        let (mut connection, head) = server.accept().await;
        assert!(head.starts_with("POST / "), "{head}");
        let body = chunked(&mut connection).await;
        connection.write_all(HELLO.as_bytes()).await.unwrap();
        body
    };
    let (uploaded, text) = tokio::join!(serving, client.text("fetcher/x", &url));
    assert!(uploaded == "x".repeat(1 << 20), "{} bytes", uploaded.len());
    assert_eq!(text, "200\nhello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_takes_its_requests_with_it() {
    let server = Server::start().await;
    let host = TestHost::builder().plugin("fetcher", &server.allowed()).start().await;
    let client = host.client();
    let prompt = format!("leave http://{}/", server.address());
    let (connection, text) = tokio::join!(server.begin(BEGINNING), client.text("fetcher/x", &prompt));
    assert_eq!(text, "left it open");
    // Ends when the host closes the connection, and only then.
    hung_up(connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_takes_its_requests_with_it() {
    let server = Server::start().await;
    let sidecar = format!("{}[runs]\ndeadline = \"2s\"\n", server.allowed());
    let host = TestHost::builder().plugin("fetcher", &sidecar).start().await;
    let client = host.client();
    let prompt = format!("open http://{}/", server.address());
    let (connection, mut stream) = tokio::join!(server.begin(BEGINNING), client.prompt("fetcher/x", &prompt));
    stream.until("data: open").await;
    stream.until("deadline-exceeded").await;
    hung_up(connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_has_only_so_many_requests_open_at_once() {
    let server = Server::start().await;
    let sidecar = format!("{}open_requests = 1\n", server.allowed());
    let host = TestHost::builder().plugin("fetcher", &sidecar).start().await;
    let client = host.client();
    let prompt = format!("open http://{}/", server.address());
    let (_connection, mut stream) =
        tokio::join!(server.begin(BEGINNING), client.prompt("fetcher/x", &prompt));
    stream.until("data: open").await;
    let said = client.text("fetcher/y", &format!("http://{}/", server.address())).await;
    assert!(said.contains("ConnectionLimitReached"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_runs_that_overlap_each_has_its_own_requests() {
    let server = Server::start().await;
    let sidecar = format!("{}[runs]\noverlap = \"concurrent\"\n", server.allowed());
    let host = TestHost::builder().plugin("fetcher", &sidecar).plugin("fetcher-02", &sidecar).start().await;
    let client = host.client();
    let url = format!("http://{}/", server.address());
    let mut runs = Vec::new();
    for _ in 0..2 {
        let prompt = format!("open {url}");
        let (connection, mut stream) =
            tokio::join!(server.begin(BEGINNING), client.prompt("fetcher/x", &prompt));
        stream.until("data: open").await;
        runs.push((connection, stream));
    }
    let (second, second_stream) = runs.pop().unwrap();
    let (mut first, first_stream) = runs.pop().unwrap();
    client.cancel(&second_stream.run()).await;
    // Ends when the host closes this connection, which the guest itself never does.
    hung_up(second).await;
    assert_eq!(client.state(&first_stream.run()).await["state"], "running");
    first.write_all(b"xx").await.expect("the other run's connection is still open");

    let (_, text) = tokio::join!(server.answer(HELLO), client.text("fetcher-02/x", &url));
    assert_eq!(text, "200\nhello", "the older wasi:http knows its run too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_falls_silent_is_a_failure_of_its_own() {
    let server = Server::start().await;
    let stall = "[runs]\nstall = \"200ms\"\n";
    let host = TestHost::builder()
        .plugin("by-hand", &format!("{}{stall}", by_hand_sidecar(server.address())))
        .plugin("fetcher", &format!("{}{stall}", server.allowed()))
        .start()
        .await;
    let client = host.client();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let (_connection, answer) = tokio::join!(server.begin(head), client.ask("by-hand/x", "hello"));
    let problem = answer.json();
    assert_eq!((answer.status.as_u16(), &problem["code"]), (504, &"stalled".into()), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains(&server.address().to_string()) && detail.contains("silent for 200ms"),
        "{detail}"
    );

    let url = format!("http://{}/", server.address());
    let (_connection, text) = tokio::join!(server.begin(head), client.text("fetcher/x", &url));
    assert!(text.contains("ConnectionReadTimeout"), "the guest hears of it, and may help itself: {text}");
}
