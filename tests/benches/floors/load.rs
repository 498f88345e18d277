//! The load client: HTTP/1.1 on connections that stay open, the same for the host and for every floor.
//!
//! Promises: every answer is read to its end and checked to be whole; a body's pieces are handed on as the server
//! framed them.
//! Costs: some microseconds a request. It knows only what servers send here, a stream as a 200 in chunked encoding and
//! a document with its length; anything else ends the bench and says what it was.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// When it has been enough.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// No request is begun after this time.
    Time(Duration),
    /// So many requests, over all connections.
    Count(usize),
}

/// What is asked: the agent by the number of the connection and of the request, and the prompt.
pub(crate) struct Load<F> {
    pub(crate) connections: usize,
    pub(crate) until: Until,
    pub(crate) agent: F,
    pub(crate) prompt: &'static str,
    /// The id of the `done` event that ends every answer: one more than its chunks.
    pub(crate) events: usize,
}

/// What came of it.
pub(crate) struct Answered {
    pub(crate) answers: usize,
    pub(crate) time: Duration,
    /// How an answer ended that was not done. No request is begun after such a one.
    pub(crate) failure: Option<String>,
}

impl<F: Fn(usize, usize) -> String + Clone + Send + 'static> Load<F> {
    /// Asks on all connections at once, on each one request after another.
    pub(crate) async fn on(self, address: SocketAddr) -> Answered {
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Connection::open(address).await);
        }
        let (begun, answers) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let failure = Arc::<OnceLock<String>>::default();
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, mut connection) in connections.into_iter().enumerate() {
            let (begun, answers, failure) = (begun.clone(), answers.clone(), failure.clone());
            let (agent, until, prompt, done) =
                (self.agent.clone(), self.until, self.prompt, done(self.events));
            tasks.spawn(async move {
                while failure.get().is_none() {
                    let request = begun.fetch_add(1, Ordering::Relaxed);
                    match until {
                        Until::Time(time) if began.elapsed() >= time => return,
                        Until::Count(count) if request >= count => return,
                        _ => {}
                    }
                    match connection.whole(&post(&agent(number, request), prompt), &done).await {
                        Ok(()) => answers.fetch_add(1, Ordering::Relaxed),
                        Err(end) => return drop(failure.set(end)),
                    };
                }
            });
        }
        tasks.join_all().await;
        let time = began.elapsed();
        Answered { answers: answers.load(Ordering::Relaxed), time, failure: failure.get().cloned() }
    }
}

/// A request that prompts an agent and wants its stream.
pub(crate) fn post(agent: &str, prompt: &str) -> Vec<u8> {
    format!(
        "POST /agents/{agent} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
         accept: text/event-stream\r\ncontent-length: {}\r\n\r\n{prompt}",
        prompt.len()
    )
    .into_bytes()
}

/// The same where the client does not wait for the run.
pub(crate) fn post_detached(agent: &str, prompt: &str) -> Vec<u8> {
    format!(
        "POST /agents/{agent} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
         prefer: respond-async\r\ncontent-length: {}\r\n\r\n{prompt}",
        prompt.len()
    )
    .into_bytes()
}

/// A request that fetches something, as a stream where there is one.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n").into_bytes()
}

/// The run that an answer is about.
pub(crate) fn run_id(head: &str) -> &str {
    field(head, "run-id").unwrap()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// One answer, as it is: its head, and its decoded body.
pub(crate) async fn sample(address: SocketAddr, agent: &str, prompt: &str) -> (String, String) {
    let mut body = Vec::new();
    let mut connection = Connection::open(address).await;
    let head = connection.ask(&post(agent, prompt), |piece| body.extend_from_slice(piece)).await;
    (head, String::from_utf8(body).unwrap())
}

/// What stands in the last event of an answer of so many events.
pub(crate) fn done(events: usize) -> Vec<u8> {
    format!("event: done\nid: {events}\n").into_bytes()
}

/// The last event of a stream, with its run's id, is not longer than this.
const LAST_EVENT: usize = 128;

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    received: BytesMut,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: BytesMut::with_capacity(16 * 1024) }
    }

    /// Asks, and checks that the answer has its end; what it ends with where it does not.
    pub(crate) async fn whole(&mut self, request: &[u8], done: &[u8]) -> Result<(), String> {
        let mut whole = Ok(());
        let check = |piece: &[u8]| {
            let end = &piece[piece.len().saturating_sub(LAST_EVENT)..];
            whole = match find(end, done) {
                Some(_) => Ok(()),
                None => Err(String::from_utf8_lossy(piece).into_owned()),
            };
        };
        self.ask(request, check).await;
        whole
    }

    /// Asks, and hands on the pieces of the body as they come. Returns the head.
    pub(crate) async fn ask(&mut self, request: &[u8], mut piece: impl FnMut(&[u8])) -> String {
        let head = self.begin(request).await;
        while self.piece(&mut piece).await {}
        head
    }

    /// Asks, and reads the head of the answer.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> String {
        self.stream.write_all(request).await.unwrap();
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        head
    }

    /// Hands on the next piece of the body. False at its end.
    pub(crate) async fn piece(&mut self, mut piece: impl FnMut(&[u8])) -> bool {
        let (begin, size) = self.chunk_size().await;
        let end = begin + size;
        self.receive_until(end + 2).await;
        if size > 0 {
            piece(&self.received[begin..end]);
        }
        self.received.advance(end + 2);
        size > 0
    }

    /// Asks for something that is not streamed: its status and its body.
    pub(crate) async fn document(&mut self, request: &[u8]) -> (u16, String) {
        self.stream.write_all(request).await.unwrap();
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        self.receive_until(length).await;
        let body = self.received.split_to(length);
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn head(&mut self) -> String {
        let end = loop {
            match find(&self.received, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.receive().await,
            }
        };
        let head = self.received[..end].to_vec();
        self.received.advance(end);
        String::from_utf8(head).unwrap()
    }

    /// Where the next chunk of the encoding begins, and its size.
    async fn chunk_size(&mut self) -> (usize, usize) {
        loop {
            if let Some(end) = find(&self.received, b"\r\n") {
                let size = std::str::from_utf8(&self.received[..end]).unwrap();
                return (end + 2, usize::from_str_radix(size, 16).unwrap());
            }
            self.receive().await;
        }
    }

    async fn receive_until(&mut self, length: usize) {
        while self.received.len() < length {
            self.receive().await;
        }
    }

    async fn receive(&mut self) {
        self.received.reserve(4 * 1024);
        let count = self.stream.read_buf(&mut self.received).await.unwrap();
        assert_ne!(count, 0, "the server closed the connection in the middle of an answer");
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
