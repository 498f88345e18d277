//! What is not granted is not sent, and the log says what would grant it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Response};
use http_body_util::BodyExt;
use rookery_outgoing::{AskedTimeouts, Client, ClientSettings, Grants, SendError};
use tracing::Level;

use crate::server::{
    Log, Seen, Server, caller, full, get, grants, listener, piecewise, send, settings, text,
};

#[tokio::test]
async fn a_refused_request_is_one_line_that_says_what_would_allow_it() {
    let server = Server::start(async |_| Response::new(full("hello"))).await;
    let (log, _guard) = Log::capture(Level::INFO);
    let caller = Client::new(settings()).caller(
        "chat",
        grants(&["https://a.example/v1"], &[]),
        8,
        AskedTimeouts::default(),
    );
    let url = format!("http://127.0.0.1:{}/v1/x?key=secret", server.port);
    let refused = send(&caller.for_agent("chat/alice"), get(&url)).await.err().expect("a refusal");
    assert_eq!(
        refused.to_string(),
        format!(
            "http://127.0.0.1:{port}/v1/x is not granted to this plugin; \"http://127.0.0.1:{port}\" in \
             `allow` of its [http] would allow it",
            port = server.port
        )
    );
    assert_eq!(
        log.text(),
        format!(
            " WARN refused a request that is not granted; to allow it, have `allow = \
             [\"https://a.example/v1\", \"http://127.0.0.1:{port}\"]` under [http] in chat.toml plugin=chat \
             agent=\"chat/alice\" method=GET url=http://127.0.0.1:{port}/v1/x\n",
            port = server.port
        )
    );
    assert_eq!(server.seen(), Seen::default());
}

#[tokio::test]
async fn the_line_in_the_log_does_allow_it() {
    let server = Server::start(async |_| Response::new(full("hello"))).await;
    let url = format!("http://127.0.0.1:{}/v1/../x", server.port);
    let narrow = format!("http://127.0.0.1:{}/v1", server.port);
    let Err(SendError::Denied { entry, .. }) = send(&caller(&[&narrow]), get(&url)).await else {
        panic!("the path leads out of the prefix");
    };
    assert_eq!(text(send(&caller(&[&narrow, &entry]), get(&url)).await.expect("an answer")).await, "hello");
}

#[tokio::test]
async fn a_plugin_without_grants_reaches_nothing() {
    let caller = Client::new(settings()).caller("chat", Grants::none(), 8, AskedTimeouts::default());
    for url in ["https://api.example.com/", "http://127.0.0.1/", "http://169.254.169.254/latest/meta-data"] {
        assert!(matches!(send(&caller, get(url)).await, Err(SendError::Denied { .. })), "{url}");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused() {
    let server = Server::start(async |_| Response::new(full("hello"))).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let lookup: rookery_outgoing::Lookup = Arc::new({
        let asked = asked.clone();
        move |name| {
            assert_eq!(name, "rebind.example");
            asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
        }
    });
    let (log, _guard) = Log::capture(Level::WARN);
    let allow = format!("http://rebind.example:{}", server.port);
    let client = Client::new(ClientSettings { lookup, ..settings() });
    let caller = client.caller("chat", grants(&[&allow], &[]), 8, AskedTimeouts::default());
    let refused = send(&caller, get(&allow)).await.err();
    assert!(matches!(refused, Some(SendError::AddressDenied { address, .. }) if address.is_loopback()));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "checking and connecting share one lookup");
    assert_eq!(server.seen(), Seen::default());
    let (lines, by_address) = (log.text(), format!("\"http://127.0.0.1:{}\"]`", server.port));
    assert!(lines.lines().count() == 1 && lines.contains(&by_address), "{lines}");
}

#[tokio::test]
async fn a_name_that_the_operator_trusts_is_reached_where_it_leads_and_nothing_else_is() {
    let server = Server::start(async |_| Response::new(full("hello"))).await;
    let lookup: rookery_outgoing::Lookup =
        Arc::new(|_| Box::pin(async { Ok(vec!["127.0.0.1".parse().expect("an address")]) }));
    let client = Client::new(ClientSettings { lookup, ..settings() });
    let url = format!("http://ollama.test:{}", server.port);
    let trusted = Grants::trusted(&format!("{url}/v1"), &BTreeMap::new()).expect("grants");
    let trusted = client.caller("chat", trusted, 1, AskedTimeouts::default());
    assert_eq!(text(send(&trusted, get(&format!("{url}/v1/x"))).await.expect("an answer")).await, "hello");
    assert!(matches!(send(&trusted, get(&url)).await.err(), Some(SendError::Denied { .. })));

    let sidecars = client.caller("chat", grants(&[&url], &[]), 1, AskedTimeouts::default());
    assert!(matches!(send(&sidecars, get(&url)).await.err(), Some(SendError::AddressDenied { .. })));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told_apart() {
    let lookup: rookery_outgoing::Lookup =
        Arc::new(|_| Box::pin(async { Err(std::io::Error::other("no such name")) }));
    let client = Client::new(ClientSettings { lookup, ..settings() });
    let caller = client.caller("chat", grants(&["http://gone.example"], &[]), 8, AskedTimeouts::default());
    let outcome = send(&caller, get("http://gone.example/")).await;
    assert!(matches!(outcome, Err(SendError::Dns { host, .. }) if host == "gone.example"));
}

#[tokio::test]
async fn one_request_too_many_is_refused_until_a_body_is_dropped() {
    let (pieces, body) = piecewise();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_| {
        let body = body.lock().expect("a body").take();
        async { Response::new(body.unwrap_or_default()) }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let caller = Client::new(settings()).caller("chat", grants(&[&origin], &[]), 1, AskedTimeouts::default());
    let mut streaming = send(&caller, get(&origin)).await.expect("an answer");
    pieces.send("one").await.expect("a reader");
    streaming.frame().await.expect("a frame").expect("whole");

    let bob = caller.for_agent("chat/bob");
    assert!(matches!(send(&bob, get(&origin)).await, Err(SendError::TooManyOpen { limit: 1 })));
    drop(streaming);
    send(&bob, get(&origin)).await.expect("the place is free again");
}

#[tokio::test]
async fn methods_that_go_around_the_host_are_refused() {
    let caller = caller(&["http://127.0.0.1"]);
    for method in [Method::CONNECT, Method::TRACE] {
        let mut request = get("http://127.0.0.1/");
        *request.method_mut() = method.clone();
        assert!(matches!(send(&caller, request).await, Err(SendError::BadRequest(_))), "{method}");
    }
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_told_apart() {
    let (listener, port) = listener().await;
    drop(listener);
    let origin = format!("http://127.0.0.1:{port}");
    assert!(matches!(send(&caller(&[&origin]), get(&origin)).await, Err(SendError::ConnectionRefused)));
}
