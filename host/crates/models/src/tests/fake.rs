//! Providers that play what they are told, and remember what they were asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rookery_outgoing::{Body, SendError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::granted::Plugin;
use crate::provider::ModelName;
use crate::route::{ResponseBytes, Route, Way};
use crate::{Answer, Delta, Dialect, Error, Granted, Message, Part, Provider, Usage};

/// What a provider does when it is asked.
pub(super) struct Play {
    after: Duration,
    response: Result<Head, SendError>,
    frames: Vec<(Duration, Frames)>,
}

/// Status and headers.
type Head = (u16, Vec<(&'static str, String)>);

enum Frames {
    Data(Bytes),
    Fails(SendError),
    Never,
}

impl Play {
    pub(super) fn says(stream: &str) -> Play {
        Play::status(200).header("content-type", "text/event-stream").then(0, stream)
    }

    pub(super) fn status(status: u16) -> Play {
        Play { after: Duration::ZERO, response: Ok((status, Vec::new())), frames: Vec::new() }
    }

    pub(super) fn fails(error: SendError) -> Play {
        Play { after: Duration::ZERO, response: Err(error), frames: Vec::new() }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Play {
        if let Ok((_, headers)) = &mut self.response {
            headers.push((name, value.to_owned()));
        }
        self
    }

    /// Its head comes after so many seconds.
    pub(super) fn after(self, seconds: u64) -> Play {
        Play { after: Duration::from_secs(seconds), ..self }
    }

    pub(super) fn then(mut self, seconds: u64, data: &str) -> Play {
        self.frames.push((Duration::from_secs(seconds), Frames::Data(data.to_owned().into())));
        self
    }

    pub(super) fn then_fails(mut self, error: SendError) -> Play {
        self.frames.push((Duration::ZERO, Frames::Fails(error)));
        self
    }

    /// Nothing more comes, not even an end.
    pub(super) fn then_nothing(mut self) -> Play {
        self.frames.push((Duration::ZERO, Frames::Never));
        self
    }

    fn body(frames: Vec<(Duration, Frames)>, alive: watch::Sender<()>) -> ResponseBytes {
        let frames = stream::iter(frames).then(move |(pause, frame)| {
            let _ = &alive; // Dropped with the body.
            async move {
                if !pause.is_zero() {
                    sleep(pause).await;
                }
                match frame {
                    Frames::Data(data) => Ok(Frame::data(data)),
                    Frames::Fails(error) => Err(error),
                    Frames::Never => std::future::pending().await,
                }
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

/// What a provider was asked, and when.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) path: String,
    pub(super) body: serde_json::Value,
    /// Closed when the request or its response was dropped.
    pub(super) alive: watch::Receiver<()>,
}

#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    pub(super) fn all(&self) -> Vec<Asked> {
        self.0.lock().expect("a log").clone()
    }

    /// Seconds from then to each time that it was asked.
    pub(super) fn seconds(&self, since: Instant) -> Vec<f64> {
        self.all().iter().map(|asked| (asked.at - since).as_secs_f64()).collect()
    }
}

struct Fake {
    plays: Mutex<VecDeque<Play>>,
    log: Log,
}

impl Way for Fake {
    fn send(
        &self,
        _: &str,
        request: Request<Body>,
        _: CancellationToken,
    ) -> BoxFuture<'static, Result<Response<ResponseBytes>, SendError>> {
        let play = self.plays.lock().expect("plays").pop_front().expect("one more than was foreseen");
        let (log, at) = (self.log.clone(), Instant::now());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let body = serde_json::from_slice(&body).expect("JSON");
            let (sender, alive) = watch::channel(());
            let path = head.uri.to_string();
            log.0.lock().expect("a log").push(Asked { at, path, body, alive });
            if !play.after.is_zero() {
                sleep(play.after).await;
            }
            let (status, headers) = play.response?;
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Play::body(play.frames, sender)).expect("a response"))
        })
    }
}

/// The key of all providers here.
pub(super) const SECRET: &str = "sk-never-to-be-seen";

/// A plugin whose model `fast` has these providers, `http://p1/v1` and so on.
pub(super) struct Stage {
    pub(super) granted: Granted,
    pub(super) logs: Vec<Log>,
    pub(super) ended: CancellationToken,
}

pub(super) fn provider(number: usize) -> Provider {
    Provider::new(Dialect::OpenAi, format!("http://p{number}/v1"), "model-1")
}

impl Stage {
    pub(super) fn new(plays: Vec<Vec<Play>>) -> Stage {
        let provider = |number| provider(number);
        Stage::with((1..).zip(plays).map(|(number, plays)| (provider(number), plays)).collect(), || 1.0)
    }

    pub(super) fn with(providers: Vec<(Provider, Vec<Play>)>, chance: fn() -> f64) -> Stage {
        let (mut logs, mut routes) = (Vec::new(), Vec::new());
        for (provider, plays) in providers {
            let log = Log::default();
            logs.push(log.clone());
            let way = Box::new(Fake { plays: Mutex::new(plays.into()), log });
            routes.push(Arc::new(Route::through(&provider, vec![SECRET.to_owned()], way)));
        }
        let name: ModelName = "fast".parse().expect("a name");
        let models = BTreeMap::from([(name.clone(), routes.into())]);
        let plugin = Plugin { name: "chat".to_owned(), default: Some(name), models, chance };
        Stage { granted: Granted::new(plugin), logs, ended: CancellationToken::new() }
    }

    pub(super) fn chat(&self) -> Answer {
        self.granted.chat(None, hello(), self.ended.clone()).expect("an answer on its way")
    }
}

pub(super) fn hello() -> crate::Request {
    let messages = vec![Message::User(vec![Part::Text("hello".into())])];
    crate::Request { messages, tools: vec![], settings: vec![] }
}

/// OpenAI's chunks of these words.
pub(super) fn chunks(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| {
            format!(
                "data: {}\n\n",
                serde_json::json!({ "choices": [{ "index": 0, "delta": { "content": word } }] })
            )
        })
        .collect()
}

pub(super) const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                              data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n\
                              data: [DONE]\n\n";

pub(super) fn whole(words: &[&str]) -> Play {
    Play::says(&(chunks(words) + END))
}

/// Everything that an answer says, to its end.
pub(super) async fn all(mut answer: Answer) -> Vec<Delta> {
    let mut deltas = Vec::new();
    while let Some(more) = answer.next().await {
        assert!(!more.is_empty(), "each time at least one");
        deltas.extend(more);
    }
    deltas
}

/// Its words, and how it failed if it did.
pub(super) async fn said(answer: Answer) -> (String, Option<Error>) {
    let (mut text, mut failed) = (String::new(), None);
    for delta in all(answer).await {
        assert!(failed.is_none(), "nothing comes after a failure");
        match delta {
            Delta::Text(more) => text += &more,
            Delta::Failed(error) => {
                assert!(!error.to_string().contains("the host broke"), "more was asked than was foreseen");
                failed = Some(error);
            }
            _ => {}
        }
    }
    (text, failed)
}

pub(super) fn usage(input_tokens: u64, output_tokens: u64) -> Delta {
    Delta::Usage(Usage { model: "model-1".into(), input_tokens, output_tokens })
}
