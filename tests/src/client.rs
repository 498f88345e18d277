//! A plain HTTP client: whole answers, and streams read piece by piece.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A client of one host.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    hyper: Hyper<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

/// An answer on its way.
pub struct Streaming {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    received: String,
}

impl Client {
    /// A client for the host at this address.
    pub fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { address, hyper: Hyper::builder(TokioExecutor::new()).build(connector) }
    }

    /// The same over HTTP/2, with prior knowledge.
    pub fn http2(address: SocketAddr) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
        Self { address, hyper }
    }

    /// Sends a request with these headers and reads the head of the answer.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Streaming {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let (head, body) = self.hyper.request(request).await.unwrap().into_parts();
        Streaming { status: head.status, headers: head.headers, body, received: String::new() }
    }

    /// Prompts an agent and follows its stream.
    pub async fn prompt(&self, agent: &str, prompt: &str) -> Streaming {
        let path = format!("/agents/{agent}");
        self.send(
            Method::POST,
            &path,
            &[("accept", "text/event-stream"), ("content-type", "text/plain")],
            prompt,
        )
        .await
    }

    /// Prompts an agent and waits for its whole text, or for the problem document.
    pub async fn ask(&self, agent: &str, prompt: &str) -> Answer {
        let path = format!("/agents/{agent}");
        let headers = [("accept", "application/json"), ("content-type", "text/plain")];
        self.send(Method::POST, &path, &headers, prompt).await.whole().await
    }

    /// The text of an agent's answer, which must have been done.
    pub async fn text(&self, agent: &str, prompt: &str) -> String {
        let answer = self.ask(agent, prompt).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()["text"].as_str().unwrap().to_owned()
    }

    /// The code of an agent's failure, which must have failed.
    pub async fn code(&self, agent: &str, prompt: &str) -> String {
        let answer = self.ask(agent, prompt).await;
        assert_ne!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()["code"].as_str().unwrap().to_owned()
    }

    /// How a run stands.
    pub async fn state(&self, run: &str) -> serde_json::Value {
        let headers = [("accept", "application/json")];
        self.send(Method::GET, &format!("/runs/{run}"), &headers, "").await.whole().await.json()
    }

    /// Cancels a run; how it stands then.
    pub async fn cancel(&self, run: &str) -> serde_json::Value {
        self.send(Method::DELETE, &format!("/runs/{run}"), &[], "").await.whole().await.json()
    }

    /// Fetches something.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await.whole().await
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Streaming {
    /// The id of the run whose stream this is.
    pub fn run(&self) -> String {
        self.headers["run-id"].to_str().unwrap().to_owned()
    }

    /// Reads until what has been received contains `text`. Panics where the body ends without it.
    pub async fn until(&mut self, text: &str) -> &str {
        while !self.received.contains(text) {
            assert!(self.read().await, "the stream ended without {text:?}: {}", self.received);
        }
        &self.received
    }

    /// Reads one frame more. False at the end.
    async fn read(&mut self) -> bool {
        match self.body.frame().await {
            None => false,
            Some(frame) => {
                let bytes =
                    frame.unwrap_or_else(|error| panic!("{error} after {}", self.received)).into_data();
                self.received.push_str(std::str::from_utf8(&bytes.unwrap_or_default()).unwrap());
                true
            }
        }
    }

    /// Everything up to the end.
    pub async fn rest(&mut self) -> &str {
        while self.read().await {}
        &self.received
    }

    /// Whether the body broke off instead of ending. What came before is kept.
    pub async fn breaks_off(&mut self) -> bool {
        loop {
            match self.body.frame().await {
                None => return false,
                Some(Err(_)) => return true,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The rest of the body as an answer.
    pub async fn whole(mut self) -> Answer {
        self.rest().await;
        Answer { status: self.status, headers: self.headers, body: self.received }
    }

    /// The frames that are still to come, for a parser of somebody else's.
    pub fn into_body(self) -> Incoming {
        self.body
    }
}

/// A response's head and body in one, for clients of a test's own.
pub type Raw = Response<Incoming>;
