//! An OpenAI-compatible model over wasi:http: one request, and its deltas as they come.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::exports::rookery::agent::handler::Failure;
use crate::wasi::config::store;
use crate::wasi::http::client;
use crate::wasi::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use crate::{wit_future, wit_stream};
use wit_bindgen::rt::async_support::{StreamReader, StreamResult};

/// Asks the model that the sidecar's `[config]` names.
pub async fn stream(messages: &[Value]) -> Result<Words, Failure> {
    let body = json!({ "model": config("model")?, "messages": messages, "stream": true });
    let response = client::send(post(&config("url")?, body.to_string())?).await.map_err(away)?;
    let status = response.get_status_code();
    let mut words = Words { body: consume(response), received: Vec::new(), read: 0 };
    match status {
        200..300 => Ok(words),
        429 | 500.. => Err(Failure::Unavailable(words.refusal(status).await)),
        _ => Err(Failure::Failed(words.refusal(status).await)),
    }
}

/// A model's answer on its way.
pub struct Words {
    body: StreamReader<u8>,
    received: Vec<u8>,
    /// How much of that has been read.
    read: usize,
}

/// What counts of one item of the stream. Borrowed from the line wherever that can be, since this is done for every word.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    error: Option<Trouble>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Delta<'a>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Trouble {
    message: String,
}

impl Words {
    /// The next piece of the answer; none when the model has said that it is whole.
    pub async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let Some(line) = self.line().await else {
                return Err(Failure::Unavailable("the model's answer broke off; ask again".into()));
            };
            let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else { continue };
            if data == b"[DONE]" {
                return Ok(None);
            }
            let item: Item<'_> = serde_json::from_slice(data).map_err(|error| {
                Failure::Failed(format!("the model sent something else than JSON: {error}"))
            })?;
            if let Some(Trouble { message }) = item.error {
                return Err(Failure::Unavailable(format!("the model failed midway: {message}")));
            }
            let word = item.choices.into_iter().next().and_then(|choice| choice.delta.content);
            if let Some(word) = word.filter(|word| !word.is_empty()) {
                return Ok(Some(word.into_owned()));
            }
        }
    }

    /// The next line of the stream, without its end; none where the stream ended.
    async fn line(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.received[self.read..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let begin = self.read;
                self.read += end + 1;
                return Some(&self.received[begin..begin + end]);
            }
            self.received.drain(..self.read);
            self.read = 0;
            if !self.receive().await {
                return None;
            }
        }
    }

    async fn receive(&mut self) -> bool {
        let (result, bytes) = self.body.read(Vec::with_capacity(16 * 1024)).await;
        self.received.extend_from_slice(&bytes);
        !matches!(result, StreamResult::Dropped) || !bytes.is_empty()
    }

    /// What the model says about a request that it did not take.
    async fn refusal(&mut self, status: u16) -> String {
        while self.received.len() < 16 * 1024 && self.receive().await {}
        let document: Value = serde_json::from_slice(&self.received).unwrap_or_default();
        let message = document["error"]["message"].as_str().unwrap_or("it gave no reason");
        format!("the model answered {status}: {message}")
    }
}

fn config(key: &str) -> Result<String, Failure> {
    match store::get(key) {
        Ok(Some(value)) => Ok(value),
        _ => Err(Failure::Failed(format!("`{key}` is missing in [config] of the sidecar"))),
    }
}

fn post(url: &str, body: String) -> Result<Request, Failure> {
    let bad_url =
        || Failure::Failed(format!("`url` in [config] of the sidecar is no http or https URL: {url:?}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(bad_url)?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(bad_url()),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));

    let headers =
        [("content-type".into(), b"application/json".into()), ("accept".into(), b"text/event-stream".into())];
    let headers = Fields::from_list(&headers).map_err(|error| Failure::Failed(format!("{error:?}")))?;
    let (mut contents, sent) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(headers, Some(sent), no_trailers, None);
    request.set_method(&Method::Post).map_err(|()| bad_url())?;
    request.set_scheme(Some(&scheme)).map_err(|()| bad_url())?;
    request.set_authority(Some(authority)).map_err(|()| bad_url())?;
    request.set_path_with_query(Some(path)).map_err(|()| bad_url())?;
    wit_bindgen::spawn_local(async move {
        contents.write_all(body.into_bytes()).await;
        drop((contents, trailers));
    });
    Ok(request)
}

fn consume(response: Response) -> StreamReader<u8> {
    let (_, taken) = wit_future::new(|| Ok(()));
    Response::consume_body(response, taken).0
}

fn away(error: ErrorCode) -> Failure {
    match error {
        ErrorCode::HttpRequestDenied => {
            Failure::Failed("the sidecar does not allow the model's URL; see the host's log".into())
        }
        error => Failure::Unavailable(format!("the model cannot be reached: {error}")),
    }
}
