//! What is granted is sent, as the guest meant it, and streamed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use rookery_outgoing::{AskedTimeouts, Body, BoxError, Client, ClientSettings, SendError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::server::{
    SECRET, Seen, Server, at_last, caller, full, get, grants, listener, piecewise, send, settings, settled,
    text,
};

/// Answers with the request's line and headers, one a line.
async fn echo_head(request: Request<Incoming>) -> Response<Body> {
    let mut lines = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        lines += &format!("{name}: {}\n", value.to_str().expect("text"));
    }
    Response::new(full(lines))
}

#[tokio::test]
async fn two_requests_use_one_connection() {
    let server = Server::start(async |_| Response::new(full("hello"))).await;
    let caller = caller(&[&format!("http://127.0.0.1:{}", server.port)]);
    for agent in ["chat/alice", "chat/bob", "chat/alice"] {
        let request = get(&format!("http://127.0.0.1:{}/", server.port));
        assert_eq!(text(send(&caller.for_agent(agent), request).await.expect("an answer")).await, "hello");
        settled().await;
    }
    assert_eq!(server.seen(), Seen { accepted: 1, open: 1 });
}

#[tokio::test]
async fn the_host_header_comes_from_the_url() {
    let server = Server::start(echo_head).await;
    let origin = format!("http://localhost:{}", server.port);
    let mut request = get(&format!("{origin}/v1/x?q=1"));
    request.headers_mut().insert(header::HOST, "internal.example".parse().expect("a value"));
    request.headers_mut().insert(header::CONNECTION, "close, x-hop".parse().expect("a value"));
    request.headers_mut().insert("x-hop", "1".parse().expect("a value"));
    request.headers_mut().insert("x-mine", "2".parse().expect("a value"));
    let seen = text(send(&caller(&[&origin]), request).await.expect("an answer")).await;
    assert_eq!(seen, format!("GET /v1/x?q=1\nx-mine: 2\nhost: localhost:{}\n", server.port));
}

#[tokio::test]
async fn an_injected_header_is_the_hosts_and_only_where_it_belongs() {
    let server = Server::start(echo_head).await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let granted = grants(&[&format!("{origin}/v1"), &origin], &[("authorization", "Bearer ${KEY}")]);
    let caller = Client::new(settings()).caller("chat", granted, 8, AskedTimeouts::default());
    for (path, expected) in [
        ("/v1/chat", format!("authorization: Bearer {SECRET}\n")),
        ("/other", "authorization: mine\n".to_owned()),
        ("/v1/../other", "authorization: mine\n".to_owned()),
    ] {
        let mut request = get(&format!("{origin}{path}"));
        request.headers_mut().insert(header::AUTHORIZATION, "mine".parse().expect("a value"));
        let seen = text(send(&caller, request).await.expect("an answer")).await;
        assert!(seen.contains(&expected) && seen.matches("authorization").count() == 1, "{path}: {seen}");
    }
}

#[tokio::test]
async fn bodies_are_streamed_both_ways_at_once() {
    let echo =
        async |request: Request<Incoming>| Response::new(request.map_err(BoxError::from).boxed_unsync());
    let server = Server::start(echo).await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let (pieces, body) = piecewise();
    let request = Request::post(&origin).body(body).expect("a request");
    let mut response = send(&caller(&[&origin]), request).await.expect("a head before the upload has ended");
    for piece in ["one", "two", "three"] {
        pieces.send(piece).await.expect("a reader");
        let frame = response.frame().await.expect("a frame").expect("whole");
        assert_eq!(frame.into_data().expect("data"), piece, "before the next piece is written");
    }
    drop(pieces);
    assert!(response.frame().await.is_none());
}

#[tokio::test]
async fn what_is_left_of_a_response_is_known_and_its_place_free_at_the_end() {
    let (pieces, body) = piecewise();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_| {
        let body = body.lock().expect("a body").take();
        async {
            let length = if body.is_some() { 6 } else { 0 };
            let response = Response::builder().header(header::CONTENT_LENGTH, length);
            response.body(body.unwrap_or_default()).expect("a response")
        }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let caller = Client::new(settings()).caller("chat", grants(&[&origin], &[]), 1, AskedTimeouts::default());
    let mut body = send(&caller, get(&origin)).await.expect("an answer").into_body();
    assert_eq!(body.size_hint().exact(), Some(6));
    for (piece, left) in [("one", 3), ("two", 0)] {
        assert!(!body.is_end_stream());
        pieces.send(piece).await.expect("a reader");
        body.frame().await.expect("a frame").expect("whole");
        assert_eq!(body.size_hint().exact(), Some(left));
    }
    assert!(body.is_end_stream(), "known with its last piece");
    send(&caller, get(&origin)).await.expect("the place is free");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_guest_that_does_not_read_stops_the_download_and_loses_nothing() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 512;
    let given = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let given = given.clone();
        move |_| {
            let given = given.clone();
            let frames = stream::iter(0..PIECES).map(move |_| {
                given.fetch_add(1, Ordering::Relaxed);
                Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; PIECE])))
            });
            async { Response::new(StreamBody::new(frames).boxed_unsync()) }
        }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let body = send(&caller(&[&origin]), get(&origin)).await.expect("an answer").into_body();
    let (mut before, mut given_now) = (usize::MAX, 0);
    while before != given_now {
        // What is under way in the system's buffers is nobody's task, so one look does not tell.
        for _ in 0..100 {
            settled().await;
        }
        (before, given_now) = (given_now, given.load(Ordering::Relaxed));
    }
    assert!(given_now < PIECES / 2, "the system's buffers and ours are full after {given_now} pieces");
    let body = at_last(body.collect()).await.expect("a whole body");
    assert_eq!(body.to_bytes().len(), PIECE * PIECES);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let server = Server::start(async |_| {
        let redirect = Response::builder().status(StatusCode::FOUND).header(header::LOCATION, "/elsewhere");
        redirect.body(Body::default()).expect("a response")
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let response = send(&caller(&[&origin]), get(&origin)).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()[header::LOCATION], "/elsewhere");
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_the_upload() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 2048;
    let (listener, port) = listener().await;
    let accepted = tokio::spawn(async move { listener.accept().await.expect("a connection") });
    let taken = Arc::new(AtomicUsize::new(0));
    let frames = stream::iter(0..PIECES).map({
        let taken = taken.clone();
        move |_| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; PIECE])))
        }
    });
    let origin = format!("http://127.0.0.1:{port}");
    let caller = caller(&[&origin]);
    let request = Request::post(&origin).body(StreamBody::new(frames).boxed_unsync()).expect("a request");
    // A paused clock goes on only when nothing else does, so this ends once the upload stands still.
    let pause = async {
        let connection = accepted.await;
        tokio::time::pause();
        connection
    };
    let (outcome, _unread) = tokio::join!(send(&caller, request), pause);
    assert!(matches!(outcome, Err(SendError::FirstByteTimeout)));
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < PIECES / 2, "the system's buffers and ours are full after {taken} pieces");
}

#[tokio::test]
async fn a_pool_that_has_opened_its_connections_is_let_go() {
    let mut server = Server::start(async |_| Response::new(full("hello"))).await;
    let client = Client::new(ClientSettings { connections: 4, ..settings() });
    let allow = format!("http://*.localhost:{}", server.port);
    let caller = client.caller("crawler", grants(&[&allow], &[]), 8, AskedTimeouts::default());
    for n in 0..10 {
        let url = format!("http://n{n}.localhost:{}/", server.port);
        text(send(&caller, get(&url)).await.expect("an answer")).await;
    }
    at_last(server.seen.wait_for(|seen| seen.accepted == 10 && seen.open <= 4)).await.expect("a server");
}

#[tokio::test]
async fn a_guest_may_shorten_the_hosts_times() {
    let asked = Arc::new(Notify::new());
    let server = Server::start({
        let asked = asked.clone();
        move |_| {
            asked.notify_one();
            std::future::pending()
        }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let caller = caller(&[&origin]);
    let pause = async {
        asked.notified().await;
        tokio::time::pause();
        Instant::now()
    };
    let second = AskedTimeouts { first_byte: Some(Duration::from_secs(1)), ..AskedTimeouts::default() };
    let sent = caller.send(get(&origin), CancellationToken::new(), second);
    let (outcome, arrived) = tokio::join!(sent, pause);
    assert!(matches!(outcome, Err(SendError::FirstByteTimeout)));
    assert!(arrived.elapsed() < Duration::from_secs(2), "not after the host's time");
}
