//! A host whose guest is the test itself, and a client that sees every byte.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rookery_agents::guest::{Ask, Call, Instance, Plugin, Policy, Work};
use rookery_agents::{Archiving, Directory, Limits};
use rookery_core::{AgentId, Chunk, Failure, Generation, Overlap, Spent};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::shelf::Shelf;
use crate::{Settings, serve};

pub(super) const POLICY: Policy = Policy {
    queue: 1,
    deadline: Duration::from_secs(600),
    output: 64 << 20,
    overlap: Overlap::Queue,
    cancel_on_detach: false,
    grace: Duration::from_secs(600),
    sleep_after: Duration::from_secs(60),
};

pub(super) const LIMITS: Limits = Limits { runs: 100, live: 100, prompts: 16 << 20, unread: 64 << 20 };

/// A host that serves the plugin `chat`.
pub(super) struct Host {
    pub(super) address: SocketAddr,
    pub(super) directory: Directory,
    pub(super) stop: CancellationToken,
    pub(super) serving: JoinHandle<()>,
    pub(super) shelf: Arc<Shelf>,
    runs: mpsc::Receiver<Box<Call>>,
}

impl Host {
    pub(super) async fn start() -> Self {
        Self::with(Settings::default(), LIMITS).await
    }

    /// A host that keeps nothing.
    pub(super) async fn with(settings: Settings, limits: Limits) -> Self {
        let (directory, runs) = scripted(limits, POLICY, None);
        Self::serving(settings, directory, Shelf::new(), runs).await
    }

    /// A host that keeps its runs.
    pub(super) async fn keeping(policy: Policy) -> Self {
        let shelf = Shelf::new();
        let (directory, runs) = scripted(LIMITS, policy, Some(shelf.clone()));
        Self::serving(Settings::default(), directory, shelf, runs).await
    }

    async fn serving(
        settings: Settings,
        directory: Directory,
        shelf: Arc<Shelf>,
        runs: mpsc::Receiver<Box<Call>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, directory.clone(), settings, stop.clone()));
        Self { address, directory, stop, serving, shelf, runs }
    }

    pub(super) async fn client(&self) -> Client {
        Client::of(self.address).await
    }

    /// The next run, as the guest sees it.
    pub(super) async fn run(&mut self) -> Guest {
        Guest(*soon(self.runs.recv()).await.expect("the host lives"))
    }

    /// One exchange on a connection of its own.
    pub(super) async fn ask(&self, request: &str) -> Response {
        let mut client = self.client().await;
        client.send(request).await;
        client.response().await
    }

    /// A client that has asked.
    pub(super) async fn client_of(&self, request: &str) -> Client {
        let mut client = self.client().await;
        client.send(request).await;
        client
    }

    /// A run that has begun, by a client that waits for nothing.
    pub(super) async fn begun(&mut self, prompt: &str) -> (String, Guest) {
        let response = self.ask(&post("prefer: respond-async\r\n", prompt)).await;
        assert_eq!(response.status(), 202, "{response:?}");
        (response.header("run-id").unwrap().to_owned(), self.run().await)
    }

    /// How a run stands.
    pub(super) async fn state(&self, run: &str) -> Value {
        self.ask(&bare("GET", &format!("/runs/{run}"), "accept: application/json\r\n")).await.json()
    }

    /// Waits until a run stands like this.
    pub(super) async fn reaches(&self, run: &str, state: &str) -> Value {
        let reached = async {
            loop {
                let now = self.state(run).await;
                if now["state"] == state {
                    return now;
                }
                tokio::task::yield_now().await;
            }
        };
        soon(reached).await
    }

    /// What an `EventSource` would see of a run from after this event: the number and the data of every event, after
    /// the run is over.
    pub(super) async fn replay(&self, run: &str, after: u64) -> Vec<(u64, String)> {
        let mut client = self.client().await;
        client.send(bare("GET", &format!("/runs/{run}?after={after}"), "")).await;
        client.events().await
    }
}

/// A directory whose guests are what comes out of the receiver.
pub(super) fn scripted(
    limits: Limits,
    policy: Policy,
    shelf: Option<Arc<Shelf>>,
) -> (Directory, mpsc::Receiver<Box<Call>>) {
    let (sender, runs) = mpsc::channel(16);
    let chat: Arc<dyn Plugin> = Arc::new(Scripted(sender, policy));
    let plugins = BTreeMap::from([("chat".parse().unwrap(), chat)]);
    let archiving = shelf.map(|archive| Archiving { archive, strict: false });
    (Directory::new(plugins, limits, archiving), runs)
}

struct Scripted(mpsc::Sender<Box<Call>>, Policy);

impl Plugin for Scripted {
    fn policy(&self) -> Policy {
        self.1
    }

    fn version(&self) -> &str {
        "v1"
    }

    fn launch(&self, _: &AgentId, _: Generation) -> BoxFuture<'static, Result<Box<dyn Instance>, Failure>> {
        let instance: Box<dyn Instance> = Box::new(Scripted(self.0.clone(), self.1));
        Box::pin(async { Ok(instance) })
    }
}

impl Instance for Scripted {
    fn drive(self: Box<Self>, mut asked: mpsc::Receiver<Ask>, _: Work) -> BoxFuture<'static, Failure> {
        Box::pin(async move {
            while let Some(asked) = asked.recv().await {
                match asked {
                    Ask::Run(call) => self.0.send(call).await.expect("the test takes every run"),
                    Ask::Sleep(asleep) => drop(asleep.send(())),
                }
            }
            std::future::pending().await
        })
    }
}

/// The way in of an HTTP/2 connection that was begun with prior knowledge.
pub(super) async fn h2<B>(address: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A run in the hands of the test.
#[derive(Debug)]
pub(super) struct Guest(pub(super) Call);

impl Guest {
    pub(super) fn text(&self, text: &str) {
        self.write(Chunk::Text(text.into()));
    }

    pub(super) fn write(&self, chunk: Chunk) {
        self.0.reply.write(chunk).unwrap();
    }

    pub(super) fn spent(&self, spent: Spent) {
        self.0.reply.spent(spent);
    }

    /// Returns from the guest, and waits until the run has its outcome.
    pub(super) async fn end(self, answer: Result<(), Failure>) {
        self.0.answer.send(answer).unwrap();
        soon(self.0.ended.cancelled()).await;
    }

    pub(super) async fn done(self) {
        self.end(Ok(())).await;
    }
}

/// An HTTP/1.1 client that sees the bytes.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(super) async fn of(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub(super) async fn send(&mut self, request: impl AsRef<[u8]>) {
        self.stream.write_all(request.as_ref()).await.unwrap();
    }

    /// All bytes up to and with this text.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let found = |read: &[u8]| read.windows(text.len()).position(|window| window == text.as_bytes());
        let end = loop {
            if let Some(start) = found(&self.read) {
                break start + text.len();
            }
            let count = soon(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(count > 0, "closed before {text:?}: {:?}", String::from_utf8_lossy(&self.read));
        };
        String::from_utf8(self.read.drain(..end).collect()).unwrap()
    }

    /// All bytes until the host closes the connection.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        soon(self.stream.read_to_end(&mut self.read)).await.unwrap();
        std::mem::take(&mut self.read)
    }

    /// A response with all of its body.
    pub(super) async fn response(&mut self) -> Response {
        let mut response = self.head().await;
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = self.chunked().await;
            return response;
        }
        let length = response.header("content-length").unwrap_or("0").parse().unwrap();
        response.body = self.exactly(length).await;
        response
    }

    /// A body whose length is not told.
    async fn chunked(&mut self) -> String {
        let mut body = String::new();
        loop {
            let size = self.until("\r\n").await;
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            body += &self.exactly(size).await;
            assert_eq!(self.exactly(2).await, "\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    /// So many bytes. The tests write no character that a frame could tear apart.
    async fn exactly(&mut self, length: usize) -> String {
        while self.read.len() < length {
            let count = soon(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(count > 0, "closed within a body");
        }
        String::from_utf8(self.read.drain(..length).collect()).unwrap()
    }

    /// The whole of a stream, as the number and the data of every event that a client would see.
    pub(super) async fn events(&mut self) -> Vec<(u64, String)> {
        let response = self.response().await;
        assert_eq!((response.status(), response.header("content-type")), (200, Some("text/event-stream")));
        let blocks = response.body.split_terminator("\n\n");
        let field = |block: &str, name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
        };
        blocks
            .filter_map(|block| {
                let id = field(block, "id")?;
                let number = id.rsplit('/').next()?.parse().unwrap();
                Some((number, field(block, "data")?))
            })
            .collect()
    }

    /// Waits for the head, and leaves it to be read again.
    pub(super) async fn has_head(&mut self) -> Response {
        let head = self.head().await;
        self.read.splice(..0, head.head.bytes());
        head
    }

    pub(super) async fn head(&mut self) -> Response {
        Response { head: self.until("\r\n\r\n").await, body: String::new() }
    }
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) head: String,
    pub(super) body: String,
}

impl Response {
    pub(super) fn status(&self) -> u16 {
        self.head["HTTP/1.1 ".len()..][..3].parse().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of a problem document that is one in every respect.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.header("access-control-allow-origin"), Some("*"), "pages see errors too");
        self.code()
    }

    /// The same, whoever may see it.
    pub(super) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status());
        assert!(document["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{document}");
        document["code"].as_str().unwrap().to_owned()
    }
}

/// A request to the agent `chat/alice`, with a body.
pub(super) fn post(headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST /agents/chat/alice HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// A request without a body.
pub(super) fn bare(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: h\r\n{headers}\r\n")
}

/// Keeps a test that would wait forever from doing so; how long it takes is not the subject.
pub(super) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("what the test waits for never comes")
}
