//! A request ends with its run, with whoever dropped it, and with the server; each is told apart.

use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt;
use rookery_outgoing::{AskedTimeouts, Caller, SendError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::server::{at_last, caller, get, listener, piecewise, send, settled};

/// A server for one connection: reads a head, says so, writes `answer`, and waits until the client is gone.
async fn once(answer: &'static str) -> (Caller, String, oneshot::Receiver<()>, JoinHandle<()>) {
    let (listener, port) = listener().await;
    let (asked, is_asked) = oneshot::channel();
    let gone = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.expect("a client");
        let _ = asked.send(());
        while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
    });
    let origin = format!("http://127.0.0.1:{port}");
    (caller(&[&origin]), origin, is_asked, gone)
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
}

const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";

#[tokio::test]
async fn the_end_of_a_run_closes_a_connection_whose_body_nobody_reads() {
    let (caller, origin, _, gone) = once(BEGUN).await;
    let ended = CancellationToken::new();
    let response = caller.send(get(&origin), ended.clone(), AskedTimeouts::default()).await.expect("a head");
    let mut body = response.into_body();
    body.frame().await.expect("a frame").expect("whole");
    ended.cancel();
    at_last(gone).await.expect("the server sees the end while the guest still holds the body");
    assert!(matches!(body.frame().await, Some(Err(SendError::Cancelled))), "and never a whole body");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn what_came_before_a_cut_is_read_together_and_then_the_cut() {
    let words = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n";
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream.write_all(words.as_bytes()).await.expect("a client");
    });
    let origin = format!("http://127.0.0.1:{port}");
    let mut body = send(&caller(&[&origin]), get(&origin)).await.expect("a head").into_body();
    settled().await;
    let frame = body.frame().await.expect("a frame").expect("what came before");
    assert_eq!(frame.into_data().expect("data"), "abc", "not a frame a word");
    assert!(!body.is_end_stream());
    assert!(matches!(body.frame().await, Some(Err(SendError::ConnectionClosed(_)))));
}

#[tokio::test]
async fn the_end_of_a_run_ends_the_wait_for_an_answer() {
    let (caller, origin, asked, gone) = once("").await;
    let ended = CancellationToken::new();
    let end = async {
        asked.await.expect("a request");
        ended.cancel();
    };
    let (outcome, ()) = tokio::join!(caller.send(get(&origin), ended.clone(), AskedTimeouts::default()), end);
    assert!(matches!(outcome, Err(SendError::Cancelled)));
    at_last(gone).await.expect("the server sees the end");
}

#[tokio::test]
async fn the_end_of_a_run_ends_an_upload_that_outlives_its_answer() {
    let (caller, origin, _, gone) = once("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let (pieces, body) = piecewise();
    let ended = CancellationToken::new();
    let request = Request::post(&origin).body(body).expect("a request");
    let response = caller.send(request, ended.clone(), AskedTimeouts::default()).await.expect("an answer");
    assert!(response.into_body().collect().await.expect("a whole body").to_bytes().is_empty());
    pieces.send("still here").await.expect("a reader");
    ended.cancel();
    at_last(pieces.closed()).await;
    at_last(gone).await.expect("the server sees the end");
}

#[tokio::test]
async fn a_run_that_has_ended_sends_nothing() {
    let (listener, port) = listener().await;
    let origin = format!("http://127.0.0.1:{port}");
    let ended = CancellationToken::new();
    ended.cancel();
    let outcome = caller(&[&origin]).send(get(&origin), ended, AskedTimeouts::default()).await;
    assert!(matches!(outcome, Err(SendError::Cancelled)));
    let nobody =
        tokio::select! { biased; _ = listener.accept() => false, () = std::future::ready(()) => true };
    assert!(nobody, "no connection was made");
}

#[tokio::test]
async fn dropping_a_send_closes_its_connection() {
    let (caller, origin, asked, gone) = once("").await;
    tokio::select! {
        _ = send(&caller, get(&origin)) => panic!("there is no answer"),
        asked = asked => asked.expect("a request"),
    }
    at_last(gone).await.expect("the server sees the end");
}

#[tokio::test]
async fn dropping_a_body_closes_its_connection() {
    let (caller, origin, _, gone) = once(BEGUN).await;
    drop(send(&caller, get(&origin)).await.expect("a head"));
    at_last(gone).await.expect("the server sees the end");
}

#[tokio::test]
async fn a_body_that_falls_silent_is_given_up() {
    let (caller, origin, ..) = once(BEGUN).await;
    let mut body = send(&caller, get(&origin)).await.expect("a head").into_body();
    body.frame().await.expect("a frame").expect("whole");
    tokio::time::pause();
    assert!(matches!(body.frame().await, Some(Err(SendError::BetweenBytesTimeout(_)))));
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_an_error() {
    for (answer, in_head) in
        [("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none", false), ("HTTP/1.1 2", true)]
    {
        let (listener, port) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.expect("a client");
        });
        let origin = format!("http://127.0.0.1:{port}");
        let outcome = match send(&caller(&[&origin]), get(&origin)).await {
            Ok(response) if !in_head => response.into_body().collect().await.map(|_| ()),
            Ok(_) => panic!("half a head is no answer"),
            Err(error) => Err(error),
        };
        assert!(matches!(outcome, Err(SendError::ConnectionClosed(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_told_apart() {
    let (caller, origin, ..) = once("SSH-2.0-OpenSSH\r\n\r\n").await;
    assert!(matches!(send(&caller, get(&origin)).await, Err(SendError::Protocol(_))));
}

#[tokio::test]
async fn a_body_of_the_guests_that_fails_is_the_guests_failure() {
    let (caller, origin, ..) = once("").await;
    let failing = futures_util::stream::iter([Err("out of ideas".into())]);
    let body = http_body_util::StreamBody::new(failing).boxed_unsync();
    let request = Request::post(&origin).body(body).expect("a request");
    assert!(matches!(send(&caller, request).await, Err(SendError::Upload(_))));
}
