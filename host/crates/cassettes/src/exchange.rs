//! One request and what came of it, as a cassette holds it.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Milliseconds from the beginning of the recording until the request.
    pub at: u32,
    /// The request's method.
    pub method: Method,
    /// Where it went, without what by its name is a key.
    pub url: String,
    /// Its headers, without those that the host adds and those that hold keys.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Milliseconds from the request until the head of the response, or until it failed without one.
    pub after: u32,
    /// How it ended.
    pub ended: Ended,
    /// What there is to say of a failure; of a refused address, the address.
    pub detail: String,
    /// What came, if anything did. Is there where `ended` is `Whole`.
    pub response: Option<Response>,
}

/// A response, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those that hold keys.
    pub headers: HeaderMap,
    /// Its body, all frames together.
    pub data: Bytes,
    /// Where in `data` each frame ends, ascending, and when it came.
    pub frames: Vec<Frame>,
    /// What came after the body.
    pub trailers: Option<HeaderMap>,
    /// Milliseconds from the head until the response ended.
    pub until: u32,
}

/// A piece of a response's body, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Milliseconds since the head.
    pub at: u32,
    /// Where it ends in the whole body.
    pub end: usize,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The response came to its end.
    #[default]
    Whole,
    /// The run ended, or the agent did not read on.
    Cut,
    /// A body was larger than is kept, or more was open than fits into the recording's memory; no body is there.
    TooLarge,
    /// Nobody answered for the name in time.
    DnsTimeout,
    /// Nobody knows the name.
    Dns,
    /// The name led to an address that is not granted, which is the detail.
    AddressDenied,
    /// There was no connection in time.
    ConnectTimeout,
    /// Nothing listened there.
    ConnectionRefused,
    /// The connection could not be made.
    Unreachable,
    /// The server's certificate was not trusted.
    TlsCertificate,
    /// TLS failed otherwise.
    Tls,
    /// The head did not come in time.
    FirstByteTimeout,
    /// The body was silent for too long.
    BetweenBytesTimeout,
    /// The other side closed the connection before the response was whole.
    ConnectionClosed,
    /// What came was not HTTP.
    Protocol,
}

impl Response {
    /// The frames with their bytes, in order.
    pub fn pieces(&self) -> impl Iterator<Item = (u32, Bytes)> + '_ {
        let starts = std::iter::once(0).chain(self.frames.iter().map(|frame| frame.end));
        starts.zip(&self.frames).map(|(start, frame)| {
            let end = frame.end.min(self.data.len());
            (frame.at, self.data.slice(start.min(end)..end))
        })
    }
}
