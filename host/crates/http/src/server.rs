//! The listener: one port for HTTP/1.1 and HTTP/2 (prior knowledge).
//!
//! Bounded by: [`Settings::max_connections`]; further clients wait in the system's queue.
//! Ends when: `stop` fires and every open answer has ended; who cannot wait that long drops the future, and with it
//! all connections.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rookery_agents::Directory;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::routes::Face;
use crate::stall::Stall;

/// What the HTTP face allows its clients.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// The bytes of all bodies that are being read at one time. A request that finds no room is refused.
    pub bodies: usize,
    /// How long a stream is silent before a comment keeps its links open.
    pub keep_alive: Duration,
    /// Connections that are open at one time; more wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take for the head of a request, and for its first byte.
    pub header_timeout: Duration,
    /// How long a client may take for the body of a request.
    pub body_timeout: Duration,
    /// How long a client may take no byte while bytes wait for it.
    pub write_stall: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A conversation of this size is beyond most models' context.
            max_body: 4 << 20,
            // Sixty-four of the largest at once; hundreds of thousands of common ones.
            bodies: 256 << 20,
            // Proxies commonly cut links that were idle for 60 s, some after 30.
            keep_alive: Duration::from_secs(15),
            // Each may hold some 64 KiB for a slow client: half a GiB at the worst.
            max_connections: 8192,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            // A phone in a tunnel comes back within that, or asks again.
            write_stall: Duration::from_secs(60),
        }
    }
}

/// Serves the directory's agents until `stop` fires and all answers that are open then have ended.
///
/// No new connection is accepted after `stop`, and idle ones are closed. Nothing that a client or the system does
/// ends it earlier: there is no error to return.
pub async fn serve(listener: TcpListener, directory: Directory, settings: Settings, stop: CancellationToken) {
    listen(listener, Face::new(directory, settings), settings, stop).await;
}

/// Answers requests; what goes wrong is an answer too.
pub(crate) trait Answers: Send + Sync + 'static {
    /// What its responses carry.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
        client: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The same for any face.
pub(crate) async fn listen(
    listener: TcpListener,
    face: impl Answers,
    settings: Settings,
    stop: CancellationToken,
) {
    let server = Arc::new(Server { face, protocols: protocols(settings), settings });
    let mut places = Places::new(settings.max_connections);
    let mut connections = JoinSet::new();
    loop {
        let (stream, client, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = places.next(&listener) => next,
        };
        while connections.try_join_next().is_some() {}
        let (server, stop) = (server.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            server.connection(stream, client, stop).await;
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

struct Server<F> {
    face: F,
    protocols: auto::Builder<TokioExecutor>,
    settings: Settings,
}

impl<F: Answers> Server<F> {
    async fn connection(self: Arc<Self>, stream: TcpStream, client: SocketAddr, stop: CancellationToken) {
        // A chunk would otherwise wait up to 40 ms for the previous one's acknowledgement. Where this fails, the client
        // has left already.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let io = Stall::new(stream, self.settings.header_timeout, self.settings.write_stall);
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.face.answer(request, client).await) }
        });
        let mut connection = pin!(self.protocols.serve_connection(TokioIo::new(io), service));
        let ended = tokio::select! {
            biased;
            ended = &mut connection => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%client, "the connection broke: {error}");
        }
    }
}

/// What a slow client can make the host hold for one connection, beside the event that goes out next; and the largest
/// head of a request.
const BUFFER: usize = 64 * 1024;

fn protocols(settings: Settings) -> auto::Builder<TokioExecutor> {
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    let timeout = settings.header_timeout;
    protocols.http1().timer(TokioTimer::new()).header_read_timeout(timeout).max_buf_size(BUFFER);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(32 * 1024)
        .max_send_buf_size(BUFFER)
        // Finds out about clients that went away without a word.
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    protocols
}

/// The connections that may be open, and how accepting them has gone.
struct Places {
    free: Arc<Semaphore>,
    failing: bool,
}

/// How long the listener rests when the system has nothing left to accept with, such as file descriptors. They come
/// back when connections end, and nobody tells when.
const REST: Duration = Duration::from_millis(100);

impl Places {
    fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))), failing: false }
    }

    /// The next connection, with its place. Whoever stops waiting for it loses none.
    async fn next(
        &mut self,
        listener: &TcpListener,
    ) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
        // Nobody closes the semaphore, so there is always a place in the end.
        let place = self.free.clone().acquire_owned().await.ok();
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    self.failing = false;
                    return (stream, client, place);
                }
                Err(error) if left_again(&error) => {}
                Err(error) => {
                    if !self.failing {
                        tracing::warn!("no connection can be accepted, trying on: {error}");
                    }
                    self.failing = true;
                    sleep(REST).await;
                }
            }
        }
    }
}

/// A client that left before it was accepted is no fault of the listener's.
fn left_again(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
