//! Bare hyper, and the roles in which this executable is its own floor.
//!
//! A floor does what the host's answer cannot do without, on as many threads as the host, and nothing else: no
//! routes, no limits, no deadlines, no log.
//! Ends when: its stdin does.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::header::{DATE, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::{bare, fanout, persisted, relay, stamps};

/// Plays a role until nobody needs it any more.
pub(crate) fn run(role: &[String]) {
    let role: Vec<_> = role.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stdin = tokio::io::stdin();
        tokio::select! {
            () = play(&role) => {}
            _ = stdin.read_u8() => {}
        }
    });
    // Stdin is read on a thread that cannot be told to stop.
    runtime.shutdown_background();
}

async fn play(role: &[&str]) {
    match role {
        ["answer", head, body] => answer(head, body).await,
        ["fanout", head, body] => fanout::floor::serve(head, body).await,
        ["persisted", head, body] => persisted::count(head, body).await,
        ["replay", head, file] => replay(head, file).await,
        ["relay", head, model] => relay::serve(head, model).await,
        ["stamps"] => stamps::serve().await,
        ["bare", component] => bare::run(component).await,
        role => panic!("there is no role {role:?}"),
    }
}

/// Answers everything with the same bytes: this head, and each event of this body as a frame of its own.
async fn answer(head: &str, body: &str) {
    always(head, events(body)).await;
}

/// Answers everything with the same bytes: this head, and what is in this file, in frames as large as the host's.
async fn replay(head: &str, file: &str) {
    let body = std::fs::read(file).unwrap();
    always(head, body.chunks(64 * 1024).map(Bytes::copy_from_slice).collect()).await;
}

async fn always(head: &str, frames: Vec<Bytes>) {
    let head = parsed(head);
    serve(move |request: Request<Incoming>| {
        let (head, frames) = (head.clone(), frames.clone());
        async move {
            request.into_body().collect().await.unwrap();
            let frames = frames.into_iter().map(|frame| Ok::<_, Infallible>(Frame::data(frame)));
            head.map(|()| StreamBody::new(stream::iter(frames)))
        }
    })
    .await;
}

/// The events of a body, one by one.
pub(crate) fn events(body: &str) -> Vec<Bytes> {
    body.split_inclusive("\n\n").map(|event| Bytes::copy_from_slice(event.as_bytes())).collect()
}

/// The head of an answer that somebody gave, but for what every server says for itself.
pub(crate) fn parsed(head: &str) -> Response<()> {
    let mut response = Response::new(());
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        let name: http::HeaderName = name.parse().unwrap();
        if name != DATE && name != TRANSFER_ENCODING {
            response.headers_mut().append(name, value.parse().unwrap());
        }
    }
    response
}

/// Serves on any free port, which it prints.
pub(crate) async fn serve<A, R, B>(answer: A)
where
    A: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        // Clients that leave are no news.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
