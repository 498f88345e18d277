//! A bare hyper relay: asks the model through a pooled client, and passes its words on in the host's form.
//!
//! Does the least that an answer needs: one request a run, the content out of every delta, an event around it, and
//! everything that has come goes out at once. It remembers nothing and checks nothing.

use std::convert::Infallible;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use crate::floor;

/// Relays the model at this address.
pub(crate) async fn serve(head: &str, model: &str) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let (head, model) = (floor::parsed(head), format!("http://{model}/v1/chat/completions"));
    floor::serve(move |request: Request<Incoming>| {
        let (client, head, model) = (client.clone(), head.clone(), model.clone());
        async move {
            let prompt = request.into_body().collect().await.unwrap().to_bytes();
            let asked = client.request(ask(&model, &prompt)).await.unwrap();
            assert_eq!(asked.status(), 200);
            let run = head.headers()["run-id"].to_str().unwrap().to_owned();
            let relay = Relay { model: asked.into_body(), received: BytesMut::new(), next: 1, run };
            head.map(|()| StreamBody::new(stream::unfold(relay, Relay::next)))
        }
    })
    .await;
}

fn ask(model: &str, prompt: &[u8]) -> Request<Full<Bytes>> {
    let prompt = std::str::from_utf8(prompt).unwrap();
    let messages = serde_json::json!([{ "role": "user", "content": prompt }]);
    let body = serde_json::json!({ "model": "practice", "messages": messages, "stream": true }).to_string();
    Request::post(model)
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .body(body.into())
        .unwrap()
}

/// One answer on its way.
struct Relay {
    model: Incoming,
    received: BytesMut,
    /// The id of the next event.
    next: usize,
    run: String,
}

impl Relay {
    /// The next frame: the events for all lines that have come.
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        let mut events = BytesMut::with_capacity(1024);
        while events.is_empty() {
            let frame = self.model.frame().await?.unwrap();
            self.received.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line = self.received[..end].trim_ascii();
                if let Some(data) = line.strip_prefix(b"data: ") {
                    self.next += encode(data, self.next, &self.run, &mut events);
                }
                self.received.advance(end + 1);
            }
        }
        Some((Ok(Frame::data(events.freeze())), self))
    }
}

/// Appends the event for what the model said, and says whether there was one.
fn encode(data: &[u8], id: usize, run: &str, events: &mut BytesMut) -> usize {
    if data == b"[DONE]" {
        events.put_slice(format!("event: done\nid: {id}\ndata: {{\"run\":\"{run}\"}}\n\n").as_bytes());
        return 1;
    }
    let said: Said<'_> = serde_json::from_slice(data).unwrap();
    match said.choices.first().and_then(|choice| choice.delta.content.as_deref()) {
        None | Some("") => 0,
        Some(word) => {
            events.put_slice(format!("id: {id}\ndata: {word}\n\n").as_bytes());
            1
        }
    }
}

/// What a chunk of a chat completion says, as far as it is passed on.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<std::borrow::Cow<'a, str>>,
}
