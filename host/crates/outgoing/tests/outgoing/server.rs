//! Servers to send to, callers to send with, and a log to read afterwards.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rookery_outgoing::{
    AskedTimeouts, Body, BoxError, Caller, Client, ClientSettings, Grants, ResponseBody, SendError,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

pub(crate) type Answer = BoxFuture<'static, Response<Body>>;
type Handler = Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;

/// What a server has seen of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) accepted: usize,
    pub(crate) open: usize,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) seen: watch::Receiver<Seen>,
}

impl Server {
    pub(crate) async fn start<F>(answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Server
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Server::listen(None, Arc::new(move |request| Box::pin(answer(request)))).await
    }

    pub(crate) async fn start_tls<F>(
        tls: rustls::ServerConfig,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Server
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let tls = TlsAcceptor::from(Arc::new(tls));
        Server::listen(Some(tls), Arc::new(move |request| Box::pin(answer(request)))).await
    }

    async fn listen(tls: Option<TlsAcceptor>, handler: Handler) -> Server {
        let (listener, port) = listener().await;
        let (see, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                see.send_modify(|seen| {
                    seen.accepted += 1;
                    seen.open += 1;
                });
                let (tls, handler, see) = (tls.clone(), handler.clone(), see.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, handler).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, handler).await;
                            }
                        }
                    }
                    see.send_modify(|seen| seen.open -= 1);
                });
            }
        });
        Server { port, seen }
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, handler: Handler) {
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // A client that hangs up is what some tests want.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

pub(crate) async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is written piece by piece, and never ends by itself while the sender lives.
pub(crate) fn piecewise() -> (mpsc::Sender<&'static str>, Body) {
    let (pieces, mut written) = mpsc::channel::<&'static str>(1);
    let frames = futures_util::stream::poll_fn(move |cx| written.poll_recv(cx));
    let frames = futures_util::StreamExt::map(frames, |piece| Ok::<_, BoxError>(Frame::data(piece.into())));
    (pieces, StreamBody::new(frames).boxed_unsync())
}

pub(crate) fn settings() -> ClientSettings {
    ClientSettings { system_roots: false, ..ClientSettings::default() }
}

pub(crate) fn grants(allow: &[&str], inject: &[(&str, &str)]) -> Grants {
    let allow: Vec<String> = allow.iter().map(|&entry| entry.to_owned()).collect();
    let headers: BTreeMap<_, _> =
        inject.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let inject = if headers.is_empty() { BTreeMap::new() } else { [(allow[0].clone(), headers)].into() };
    Grants::parse(&allow, &inject, &|name| (name == "KEY").then(|| SECRET.to_owned())).expect("grants")
}

pub(crate) const SECRET: &str = "sk-never-to-be-seen";

pub(crate) fn caller(allow: &[&str]) -> Caller {
    Client::new(settings()).caller("chat", grants(allow, &[]), 8, AskedTimeouts::default())
}

pub(crate) fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::default()).expect("a request")
}

pub(crate) async fn send(
    caller: &Caller,
    request: Request<Body>,
) -> Result<Response<ResponseBody>, SendError> {
    caller.send(request, CancellationToken::new(), AskedTimeouts::default()).await
}

pub(crate) async fn text(response: Response<ResponseBody>) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

/// Lets every task run that can, until all of them wait for something: only then does a paused clock go on.
pub(crate) async fn settled() {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::time::resume();
}

/// For what has to happen by itself: a test that waits for it in vain is to fail and not to hang.
pub(crate) async fn at_last<T>(happening: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), happening).await.expect("it did not happen")
}

/// All that is logged on this thread while it lives.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn capture(level: tracing::Level) -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("a log").clone()).expect("text")
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}
