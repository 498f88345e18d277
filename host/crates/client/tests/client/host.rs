//! A host as a script: what it answers to which request, to the byte, and when it hangs up.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rookery_client::{Client, Settings};
use rookery_core::{AgentId, RunId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const RUN: &str = "018f3f5e-0000-7000-8000-000000000001";

/// What is answered to one request.
pub(crate) enum Answer {
    /// These bytes, and then the connection is closed.
    Close(Vec<u8>),
    /// These bytes, and then nothing more until the client leaves.
    Hold(Vec<u8>),
    /// These bytes, then the same piece again and again, this often.
    Repeat(Vec<u8>, &'static [u8], Duration),
    /// The same, but closed after so many pieces.
    Proxied(Vec<u8>, &'static [u8], Duration, u32),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The method and the path.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Host {
    /// One connection has one request; the script is called for each, in order.
    pub(crate) async fn play(mut script: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = host.requests.clone();
        tokio::spawn(async move {
            loop {
                let (mut link, _) = listener.accept().await.unwrap();
                let Some(request) = read(&mut link).await else { continue };
                let answer = script(&request);
                requests.lock().unwrap().push(request);
                tokio::spawn(give(link, answer));
            }
        });
        host
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(Settings::default())
    }

    pub(crate) fn client_with(&self, settings: Settings) -> Client {
        Client::with(format!("http://{}", self.address).parse().unwrap(), settings)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The method and path of every request so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }
}

impl Request {
    pub(crate) fn is_post(&self) -> bool {
        self.line.starts_with("POST ")
    }

    /// What is asked for with `?after=`.
    pub(crate) fn after(&self) -> u64 {
        self.line.split_once("after=").unwrap().1.parse().unwrap()
    }
}

async fn read(link: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if link.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        return Some(Request { line, head: head.to_owned(), body: body.to_owned() });
    }
}

async fn give(mut link: TcpStream, answer: Answer) {
    // A client that has left reads nothing any more, and that is its right.
    match answer {
        Answer::Close(bytes) => {
            let _ = link.write_all(&bytes).await;
        }
        Answer::Hold(bytes) => {
            let _ = link.write_all(&bytes).await;
            let _ = link.read(&mut [0]).await;
        }
        Answer::Repeat(bytes, piece, pause) => repeat(&mut link, bytes, piece, pause, u32::MAX).await,
        Answer::Proxied(bytes, piece, pause, times) => repeat(&mut link, bytes, piece, pause, times).await,
    }
}

async fn repeat(link: &mut TcpStream, bytes: Vec<u8>, piece: &[u8], pause: Duration, times: u32) {
    let _ = link.write_all(&bytes).await;
    for _ in 0..times {
        if link.write_all(piece).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// The head of a stream, and the body that is to come.
pub(crate) fn stream(body: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrun-id: {RUN}\r\n");
    format!("{head}location: /runs/{RUN}\r\n\r\n{body}").into_bytes()
}

/// The same as chunked parts, as a host sends it.
pub(crate) fn chunked(parts: &[&str]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrun-id: {RUN}\r\n");
    let parts: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
    format!("{head}transfer-encoding: chunked\r\n\r\n{parts}0\r\n\r\n").into_bytes()
}

pub(crate) fn document(status: &str, media: &str, body: &str) -> Answer {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {}", body.len());
    Answer::Close(format!("{head}\r\n\r\n{body}").into_bytes())
}

pub(crate) fn problem(status: u16, code: &str) -> Answer {
    let body = format!(r#"{{"title":"","status":{status},"code":"{code}","detail":"it is so"}}"#);
    document(&format!("{status} Because"), "application/problem+json", &body)
}

pub(crate) fn nothing_after() -> Answer {
    Answer::Close(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())
}

pub(crate) fn run() -> RunId {
    RUN.parse().unwrap()
}

pub(crate) fn alice() -> AgentId {
    AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() }
}

/// Waits next to nothing between attempts, for tests that are not about time.
pub(crate) fn hasty() -> Settings {
    let millis = Duration::from_millis;
    Settings { first_delay: millis(1), longest_delay: millis(1), ..Settings::default() }
}
