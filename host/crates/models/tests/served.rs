//! Models from outside: what is configured and granted, and the practice model over real connections.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rookery_models::{
    Answer, Assembly, ConfigError, Dialect, Error, Granted, Key, Message, ModelName, Models, Part, Provider,
    Reason, Request, Whole,
};
use rookery_outgoing::{Client, ClientSettings};
use rookery_practice::Settings;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

const SECRET: &str = "sk-never-to-be-seen-1234";

fn client() -> Client {
    Client::new(ClientSettings { system_roots: false, ..ClientSettings::default() })
}

fn name(text: &str) -> ModelName {
    text.parse().expect("a name")
}

fn models(configured: Vec<(&str, Vec<Provider>)>) -> Result<Models, ConfigError> {
    let configured = configured.into_iter().map(|(model, providers)| (name(model), providers));
    Models::new(configured.collect(), client())
}

/// The practice model's address; served as long as the test runs.
async fn practice() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let settings = Settings { delay: Duration::ZERO };
    tokio::spawn(rookery_practice::serve(listener, settings, std::future::pending()));
    format!("http://127.0.0.1:{port}")
}

fn with_key(dialect: Dialect, url: &str) -> Provider {
    Provider { key: Key::new(SECRET), retries: 0, ..Provider::new(dialect, url, "practice") }
}

async fn granted() -> Granted {
    let provider = with_key(Dialect::OpenAi, &format!("{}/v1", practice().await));
    models(vec![("fast", vec![provider])])
        .expect("models")
        .grant("chat", Some("fast"), &[], 8)
        .expect("a grant")
}

async fn ask(granted: &Granted, prompt: &str) -> Result<Whole, Error> {
    let messages = vec![Message::User(vec![Part::Text(prompt.into())])];
    let request = Request { messages, tools: vec![], settings: vec![] };
    assembled(granted.chat(None, request, CancellationToken::new())?).await
}

async fn assembled(mut answer: Answer) -> Result<Whole, Error> {
    let mut assembly = Assembly::default();
    while let Some(deltas) = answer.next().await {
        deltas.iter().for_each(|delta| assembly.push(delta));
    }
    assembly.finish()
}

#[tokio::test]
async fn the_practice_model_answers_and_is_shown_the_key() {
    let granted = granted().await;
    let whole = ask(&granted, "/tokens 1000").await.expect("an answer");
    assert!(whole.message.text.starts_with("t1 t2 ") && whole.message.text.ends_with(" t1000"));
    assert_eq!((whole.usage.model.as_str(), whole.usage.output_tokens), ("practice", 1000));
    let whole = ask(&granted, "/whoami").await.expect("an answer");
    assert_eq!(whole.message.text, "authorization: Bearer ****1234");
}

#[tokio::test]
async fn the_practice_model_fails_as_it_is_told() {
    let granted = granted().await;
    for (prompt, expected) in [
        ("/fail 400", "the provider answered 400 Bad Request: The practice model fails because"),
        ("/fail 503", "the provider answered 503 Service Unavailable: The practice model fails"),
        ("/tokens 9 /error 3", "the provider broke off, and said: The practice model fails because"),
        ("/tokens 9 /cut 3", "the connection was closed before the response was whole"),
    ] {
        let error = ask(&granted, prompt).await.expect_err(prompt);
        assert!(error.to_string().contains(expected), "{prompt}: {error}");
        assert_eq!(matches!(error, Error::Rejected(_)), prompt == "/fail 400", "{prompt}");
    }
}

#[tokio::test]
async fn both_dialects_say_the_same_with_thoughts_tools_and_usage() {
    let url = practice().await;
    let mut wholes = Vec::new();
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        let models = models(vec![("fast", vec![with_key(dialect, &format!("{url}/v1"))])]).expect("models");
        let granted = models.grant("chat", Some("fast"), &[], 8).expect("a grant");
        let mut whole =
            ask(&granted, r#"/think 3 /tokens 2 /tool add {"x":1} /tool now {}"#).await.expect("whole");
        let messages = vec![
            Message::User(vec![Part::Text(r#"/tool add {"x":1}"#.into())]),
            Message::Assistant(whole.message.clone()),
            Message::Tool { id: "call_1_1".into(), content: "2".into(), is_error: false },
            Message::Tool { id: "call_1_2".into(), content: "noon".into(), is_error: true },
        ];
        let next = Request { messages, tools: vec![], settings: vec![] };
        let next = granted.chat(None, next, CancellationToken::new()).expect("an answer");
        assert_eq!(assembled(next).await.expect("whole").message.text, "The tool said: 2 and noon");

        let state = whole.message.state.take();
        assert_eq!(state.is_some(), dialect == Dialect::Anthropic, "{state:?}");
        assert!(matches!(ask(&granted, "/fail 529").await, Err(Error::Unavailable(_))));
        assert!(matches!(ask(&granted, "/fail 413").await, Err(Error::Rejected(_))));
        wholes.push(whole);
    }
    assert_eq!(wholes[0], wholes[1]);
    let Whole { message, reasoning, reason, usage } = &wholes[0];
    assert_eq!((message.text.as_str(), reasoning.as_str()), ("t1 t2", "h1 h2 h3"));
    let calls: Vec<_> =
        message.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("add", r#"{"x":1}"#), ("now", "{}")]);
    assert_eq!((reason, usage.input_tokens, usage.output_tokens), (&Reason::ToolCalls, 10, 5));
}

#[tokio::test]
async fn the_practice_model_embeds() {
    let texts = vec!["hello".to_owned(), "hello there".to_owned()];
    let embedded = granted().await.embed(None, texts, CancellationToken::new()).expect("begun").await;
    let embedded = embedded.expect("vectors");
    assert!(embedded.vectors.iter().all(|vector| vector.len() == 8) && embedded.vectors.len() == 2);
    assert_eq!(embedded.usage.input_tokens, 3);
}

#[tokio::test]
async fn a_connection_whose_response_ends_after_its_answer_is_used_again() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (accepted, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn({
        let (accepted, heard) = (accepted.clone(), heard.clone());
        async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut request = vec![0; 64 * 1024];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let answer = "data: [DONE]\n\n";
                        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
                        let begin = format!("{head}\r\n{:x}\r\n{answer}\r\n", answer.len());
                        let _ = stream.write_all(begin.as_bytes()).await;
                        heard.notified().await;
                        let _ = stream.write_all(b"0\r\n\r\n").await;
                    }
                });
            }
        }
    });
    let provider = with_key(Dialect::OpenAi, &format!("http://127.0.0.1:{port}/v1"));
    let granted = models(vec![("fast", vec![provider])]).expect("models");
    let granted = granted.grant("chat", Some("fast"), &[], 1).expect("a grant");
    for _ in 0..3 {
        // With one open request at most, each has to let go of its place, and does so when its response ends.
        let answered = async {
            while let Err(error) = ask(&granted, "hello").await {
                assert!(error.to_string().contains("1 requests open already"), "{error}");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered).await.expect("a free place");
        heard.notify_one();
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

/// A server that answers each request with all that it was sent, as an error.
async fn echoing() -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 64 * 1024];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let said = String::from_utf8_lossy(&head[..read]).replace("\r\n", " ");
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
                said.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://127.0.0.1:{port}")
}

#[tokio::test]
async fn no_key_is_seen_in_an_error_or_a_log_even_if_the_provider_repeats_it() {
    let (log, _guard) = Log::capture();
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        let models = models(vec![("fast", vec![with_key(dialect, &echoing().await)])]).expect("models");
        let granted = models.grant("chat", Some("fast"), &[], 8).expect("a grant");
        let error = ask(&granted, "hello").await.expect_err("always");
        assert!(error.to_string().contains("POST /"), "{error}");
        for printed in [error.to_string(), format!("{error:?}"), log.text()] {
            assert!(printed.contains('…') && !printed.contains("never-to-be-seen"), "{printed}");
        }
    }
}

#[tokio::test]
async fn a_model_that_is_not_granted_is_refused_with_the_line_that_would_grant_it() {
    let (log, _guard) = Log::capture();
    let providers = || vec![Provider::new(Dialect::OpenAi, "http://127.0.0.1:1", "m")];
    let models = models(vec![("fast", providers()), ("smart", providers())]).expect("models");
    let granted = models.grant("chat", None, &["fast".into()], 8).expect("a grant").for_agent("chat/alice");
    assert_eq!(granted.named(Some("fast")).map(ModelName::as_str), Ok("fast"));
    let denied = granted.named(Some("smart")).expect_err("not granted");
    assert_eq!(denied.to_string(), "the model `smart` is not granted to `chat`; granted are `fast`");
    let text = log.text();
    assert!(
        text.contains(r#"have `others = ["fast", "smart"]` under [models] in chat.toml"#)
            && text.contains("chat/alice"),
        "{text}"
    );
    let unnamed = granted.named(None).expect_err("no default");
    assert_eq!(unnamed.to_string(), "no model is named, and `chat` has no default one; granted are `fast`");
    let none = Granted::none("quiet").named(Some("a\nb")).expect_err("nothing granted");
    assert_eq!(none.to_string(), "the model `a\\nb` is not granted to `quiet`; no model is granted to it");
}

#[tokio::test]
async fn a_name_that_is_not_configured_is_an_error_with_the_nearest_one() {
    let providers = || vec![Provider::new(Dialect::OpenAi, "http://127.0.0.1:1", "m")];
    let known = models(vec![("fast", providers()), ("smart", providers())]).expect("models");
    let hint = |models: &Models, default| {
        models.grant("chat", Some(default), &[], 8).err().expect("unknown").to_string()
    };
    assert_eq!(hint(&known, "Smrt"), "no model is called `Smrt`; did you mean `smart`?");
    assert_eq!(hint(&known, "zzz"), "no model is called `zzz`; there are `fast`, `smart`");
    let none = models(vec![]).expect("no models");
    assert_eq!(hint(&none, "x"), "no model is called `x`; the host's configuration has no models at all");
}

#[test]
fn a_provider_that_cannot_be_spoken_to_is_an_error_by_name_and_without_its_key() {
    let provider = |url: &str| with_key(Dialect::OpenAi, url);
    let header = |name: &str, value: &str| Provider {
        headers: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..provider("https://a.com")
    };
    let good = || provider("https://a.com/v1");
    for (provider, what) in [
        (provider("a.com/v1"), "its `url` `a.com/v1`: it has no scheme; write `https://a.com/v1`"),
        (provider("https://*.a.com"), "is not one URL"),
        (provider("https://me:hunter2@a.com"), "its `url`: it holds a user name"),
        (Provider { model: " ".into(), ..good() }, "its `model` is empty"),
        (Provider { retries: 11, ..good() }, "11 retries are too many; have at most 10"),
        (
            Provider { key: Key::new("sk-never\nseen"), ..good() },
            "its header `authorization` has a value that no",
        ),
        (header("a b", "x"), "its header `a b` is not a header name"),
        (header("Host", "x"), "its header `host` is the transport's own"),
    ] {
        let error = models(vec![("fast", vec![good(), provider])]).err().expect(what).to_string();
        assert!(error.starts_with("the model `fast`, provider 2: ") && error.contains(what), "{error}");
        assert!(!error.contains("sk-") && !error.contains("hunter2"), "{error}");
    }
    let none = models(vec![("fast", vec![])]).err().expect("none").to_string();
    assert_eq!(none, "the model `fast` has 0 providers; give it 1 to 8");
    assert!(Key::new(" \n").is_none());
    for text in ["", "a b", "a/b", "ü", &"a".repeat(65)] {
        assert!(text.parse::<ModelName>().is_err(), "{text}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
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
