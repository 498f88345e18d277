//! What was recorded of a server is answered without it, and nothing else is.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use rookery_cassettes::{Cassettes, Recording, Replaying, Speed};
use rookery_outgoing::{
    AskedTimeouts, Body, BoxError, Caller, Client, ClientSettings, Grants, ResponseBody, SendError,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::server::{
    Log, SECRET, Seen, Server, at_last, full, get, grants, listener, piecewise, send, settings, settled, text,
};

/// `chat/alice`, whose requests are recorded or replayed.
fn alice(grants: Grants, cassettes: Cassettes) -> Caller {
    let settings = ClientSettings { cassettes: Some(cassettes), ..settings() };
    Client::new(settings).caller("chat", grants, 8, AskedTimeouts::default()).for_agent("chat/alice")
}

fn recorded(folder: &Path, origin: &str) -> (Recording, Caller) {
    let recording = Recording::begin(folder).expect("an empty folder");
    let caller = alice(grants(&[origin], &[]), Cassettes::Recording(recording.clone()));
    (recording, caller)
}

fn replayed(folder: &Path, origin: &str, speed: Speed) -> Caller {
    let cassettes = Replaying::open(folder, speed).expect("cassettes");
    alice(grants(&[origin], &[]), Cassettes::Replaying(cassettes))
}

fn cassette(folder: &Path) -> String {
    fs::read_to_string(folder.join("chat/alice.toml")).expect("a cassette")
}

fn post(url: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::post(url).body(full(body)).expect("a request")
}

/// All that a guest can see of an answer.
async fn seen(outcome: Result<Response<ResponseBody>, SendError>) -> String {
    let response = match outcome {
        Ok(response) => response,
        Err(error) => return format!("failed: {error}"),
    };
    let mut lines = format!("{}\n{:?}\n", response.status(), response.headers());
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(frame)) => lines += &format!("{:?}\n", frame.into_trailers().expect("trailers")),
            Err(error) => lines += &format!("broke off: {error}\n"),
        }
    }
    // A character for each byte, so that nothing is lost.
    lines.extend(bytes.into_iter().map(char::from));
    lines
}

fn frames(frames: Vec<Frame<Bytes>>) -> Body {
    StreamBody::new(stream::iter(frames).map(Ok::<_, BoxError>)).boxed_unsync()
}

async fn provider(request: Request<Incoming>) -> Response<Body> {
    let data = |bytes: &'static [u8]| Frame::data(Bytes::from_static(bytes));
    match request.uri().path() {
        "/sse" => {
            let events = vec![data(b"data: {\"a\":1}\n\n"), data(b"data: \xc3"), data(b"\xa9\r\n\r\n")];
            let response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
            response.body(frames(events)).expect("a response")
        }
        "/binary" => Response::new(full(&b"\x00\xff\xfe'''\"\"\"\\"[..])),
        "/trailers" => {
            let trailers =
                HeaderMap::from_iter([("x-sum".parse().expect("a name"), HeaderValue::from_static("7"))]);
            let response = Response::builder().header(header::TRAILER, "x-sum");
            response.body(frames(vec![data(b"one"), Frame::trailers(trailers)])).expect("a response")
        }
        "/empty" => {
            Response::builder().status(StatusCode::NO_CONTENT).body(Body::default()).expect("a response")
        }
        "/echo" => Response::new(request.map_err(BoxError::from).boxed_unsync()),
        path => {
            let missing =
                Response::builder().status(StatusCode::NOT_FOUND).header(header::SET_COOKIE, "id=1");
            missing.body(full(path.to_owned())).expect("a response")
        }
    }
}

fn requests(origin: &str) -> Vec<Request<Body>> {
    let te = Request::get(format!("{origin}/trailers")).header(header::TE, "trailers");
    vec![
        get(&format!("{origin}/sse")),
        get(&format!("{origin}/binary")),
        te.body(Body::default()).expect("a request"),
        get(&format!("{origin}/empty")),
        post(&format!("{origin}/echo"), "{\"b\": 1.50, \"a\": [\"x\"]}"),
        post(&format!("{origin}/echo"), "plain\n"),
        post(&format!("{origin}/echo"), &b"\xff\x00"[..]),
        get(&format!("{origin}/gone")),
        Request::head(format!("{origin}/echo")).body(Body::default()).expect("a request"),
    ]
}

#[tokio::test]
async fn a_round_trip_ends_where_it_began() {
    let server = Server::start(provider).await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    let mut answers = Vec::new();
    for request in requests(&origin) {
        answers.push(seen(send(&caller, request).await).await.replace("\"set-cookie\": \"id=1\", ", ""));
    }
    assert!(answers[0].ends_with("data: {\"a\":1}\n\ndata: \u{c3}\u{a9}\r\n\r\n"), "{}", answers[0]);
    assert!(answers[2].contains("x-sum"), "{}", answers[2]);
    assert_eq!(at_last(recording.settled()).await, 0);
    let (connections, replaying) = (server.seen().accepted, replayed(folder.path(), &origin, Speed::Instant));
    // In another order too, since each request is found by what it is.
    for (request, answer) in requests(&origin).into_iter().zip(&answers).rev() {
        assert_eq!(seen(send(&replaying, request).await).await, *answer);
    }
    assert_eq!(server.seen().accepted, connections, "the server was not asked");
}

#[tokio::test]
async fn the_same_recorded_twice_is_the_same_but_for_times() {
    let server = Server::start(provider).await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let mut texts = Vec::new();
    for _ in 0..2 {
        let folder = TempDir::new().expect("a folder");
        let (recording, caller) = recorded(folder.path(), &origin);
        // Those whose pieces do not depend on how the system passes them on.
        for request in requests(&origin).into_iter().skip(3) {
            seen(send(&caller, request).await).await;
        }
        at_last(recording.settled()).await;
        let is_time = |line: &&str| {
            ["at = ", "after = ", "until = ", "  \"date: "].iter().any(|&time| line.starts_with(time))
        };
        let kept = cassette(folder.path());
        let kept: Vec<String> = kept
            .lines()
            .filter(|line| !is_time(line))
            .map(|line| match line.split_once("{ at = ") {
                Some((_, frame)) => frame.trim_start_matches(|char: char| char.is_ascii_digit()).to_owned(),
                None => line.to_owned(),
            })
            .collect();
        texts.push(kept.join("\n"));
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(texts[0].matches("[[exchange]]").count(), 6);
}

#[tokio::test]
async fn a_failure_is_recorded_and_comes_again() {
    let (listener, port) = listener().await;
    let broken = tokio::spawn(async move {
        for answer in
            ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none", "HTTP/1.1 2", "SSH-2.0-OpenSSH\r\n\r\n"]
        {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a whole head"));
            }
            stream.write_all(answer.as_bytes()).await.expect("a client");
        }
    });
    let origin = format!("http://127.0.0.1:{port}");
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    let mut answers = Vec::new();
    for path in ["half", "head", "other"] {
        answers.push(seen(send(&caller, get(&format!("{origin}/{path}"))).await).await);
    }
    broken.await.expect("three connections");
    answers.push(seen(send(&caller, get(&format!("{origin}/refused"))).await).await);
    assert!(answers[0].ends_with("broke off: the connection was closed before the response was whole\none"));
    assert_eq!(answers[3], "failed: the connection was refused");
    at_last(recording.settled()).await;
    let replaying = replayed(folder.path(), &origin, Speed::Instant);
    for (path, answer) in ["half", "head", "other", "refused"].into_iter().zip(answers) {
        assert_eq!(seen(send(&replaying, get(&format!("{origin}/{path}"))).await).await, answer);
    }
}

#[tokio::test]
async fn a_secret_that_a_server_sends_back_is_nowhere_in_the_folder() {
    let server = Server::start(async |request: Request<Incoming>| {
        let sent = request.headers()["authorization"].to_str().expect("text").to_owned();
        let (first, last) = sent.split_at(sent.len() - 4);
        let body = frames(vec![Frame::data(first.to_owned().into()), Frame::data(last.to_owned().into())]);
        let echo =
            Response::builder().header("x-echo", &sent).header(header::SET_COOKIE, format!("key={sent}"));
        echo.body(body).expect("a response")
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let recording = Recording::begin(folder.path()).expect("an empty folder");
    let granted = || grants(&[&origin], &[("authorization", "Bearer ${KEY}")]);
    let caller = alice(granted(), Cassettes::Recording(recording.clone()));
    let mut request = get(&origin);
    request.headers_mut().insert(header::AUTHORIZATION, "mine-and-dear".parse().expect("a value"));
    assert_eq!(text(send(&caller, request).await.expect("an answer")).await, format!("Bearer {SECRET}"));
    // And once the guest has it, it can put it anywhere.
    let mut request = post(&format!("{origin}/{SECRET}"), format!("[\"{SECRET}\"]"));
    request.headers_mut().insert("x-seen", SECRET.parse().expect("a value"));
    text(send(&caller, request).await.expect("an answer")).await;
    at_last(recording.settled()).await;

    let files: Vec<_> = fs::read_dir(folder.path().join("chat")).expect("a folder").collect();
    assert_eq!(files.len(), 1);
    let kept = cassette(folder.path());
    assert_eq!(kept.matches("[[exchange]]").count(), 2);
    for part in [SECRET, &SECRET[..SECRET.len() - 4], "seen\"", "mine-and-dear", "cookie", "authorization"] {
        assert!(!kept.contains(part), "{part} is in {kept}");
    }
    let cassettes = Replaying::open(folder.path(), Speed::Instant).expect("cassettes");
    let answer = send(&alice(granted(), Cassettes::Replaying(cassettes)), get(&origin)).await;
    assert_eq!(text(answer.expect("an answer")).await, format!("Bearer {}", "*".repeat(SECRET.len())));
}

#[tokio::test]
async fn a_request_that_was_not_recorded_is_one_line_that_says_what_was() {
    let server = Server::start(provider).await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    seen(send(&caller, post(&format!("{origin}/echo"), "{\"a\": 1}")).await).await;
    at_last(recording.settled()).await;
    let (log, _guard) = Log::capture(Level::INFO);
    let replaying = replayed(folder.path(), &origin, Speed::Instant);
    let refused = send(&replaying, post(&format!("{origin}/echo?key=x"), "{\"a\": 2}")).await.err();
    let Some(SendError::NotRecorded(_)) = &refused else { panic!("{refused:?}") };
    let refused =
        send(&replaying, post(&format!("{origin}/echo"), "{\"a\": 2}")).await.err().expect("an error");
    let expected = format!(
        "POST {origin}/echo is not in the cassette {}: nearest is the exchange at line 4, but `/a` is 1 there and \
         2 here",
        folder.path().join("chat/alice.toml").display()
    );
    assert_eq!(refused.to_string(), expected);
    let lines: Vec<String> = log.text().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "one each: {lines:?}");
    assert_eq!(lines[1], format!(" WARN {expected} agent=\"chat/alice\""));
    assert_eq!(
        seen(send(&replaying, post(&format!("{origin}/echo"), "{\"a\":1}")).await).await.lines().last(),
        Some("{\"a\": 1}"),
        "the one that was, is still there"
    );
}

#[tokio::test]
async fn each_agent_has_what_it_recorded_itself_and_in_its_order() {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let server = Server::start(move |_| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Response::new(full(count.to_string())) }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    let agents = ["chat/alice", "chat/Alice"];
    let caller = agents.map(|agent| caller.for_agent(agent));
    for _ in 0..3 {
        let both = caller
            .each_ref()
            .map(async |caller| text(send(caller, get(&origin)).await.expect("an answer")).await);
        futures_util::future::join_all(both).await;
    }
    at_last(recording.settled()).await;
    let replaying = replayed(folder.path(), &origin, Speed::Instant);
    let mut all = Vec::new();
    for agent in agents {
        let replaying = replaying.for_agent(agent);
        let mut last = None;
        for _ in 0..3 {
            let next = text(send(&replaying, get(&origin)).await.expect("an answer")).await;
            assert!(last.as_ref().is_none_or(|last| *last < next), "{agent}: {next} after {last:?}");
            all.push(next.clone());
            last = Some(next);
        }
        assert!(matches!(send(&replaying, get(&origin)).await, Err(SendError::NotRecorded(_))), "once each");
    }
    all.sort();
    assert_eq!(all, ["0", "1", "2", "3", "4", "5"]);
}

/// A cassette as a person would write it, with what follows the head of the response.
fn by_hand(folder: &Path, rest: &str) {
    fs::create_dir_all(folder.join("chat")).expect("a folder");
    let text = format!(
        "[[exchange]]\nmethod = \"GET\"\nurl = \"https://api.example.com/v1\"\nafter = 2000\n{rest}\n\
         [exchange.response]\nstatus = 200\nuntil = 61_000\nframes = [\n  {{ at = 0, text = \"one\" }},\n  \
         {{ at = 1000, text = \"two\" }},\n  {{ at = 60_500, base64 = \"dGhyZWU=\" }},\n]\n"
    );
    fs::write(folder.join("chat/alice.toml"), text).expect("a cassette");
}

const BY_HAND: &str = "https://api.example.com/v1";

#[tokio::test(start_paused = true)]
async fn at_recorded_speed_everything_comes_when_it_came() {
    let folder = TempDir::new().expect("a folder");
    by_hand(folder.path(), "");
    // Nothing here is trusted and nothing is reached, and neither is needed.
    let replaying = replayed(folder.path(), "https://api.example.com", Speed::Recorded);
    let begun = Instant::now();
    let mut body = send(&replaying, get(BY_HAND)).await.expect("a head").into_body();
    assert_eq!(begun.elapsed(), Duration::from_millis(2000));
    for (at, expected) in [(2000, "one"), (3000, "two"), (62_500, "three")] {
        let frame = timeout(Duration::from_secs(3600), body.frame()).await.expect("an end");
        assert_eq!(frame.expect("a frame").expect("whole").into_data().expect("data"), expected);
        assert_eq!(begun.elapsed(), Duration::from_millis(at), "neither early nor late");
    }
    assert!(timeout(Duration::from_secs(3600), body.frame()).await.expect("an end").is_none());
    assert_eq!(begun.elapsed(), Duration::from_millis(63_000));
}

#[tokio::test(start_paused = true)]
async fn at_once_nothing_is_waited_for() {
    let folder = TempDir::new().expect("a folder");
    by_hand(folder.path(), "");
    let replaying = replayed(folder.path(), "https://api.example.com", Speed::Instant);
    let begun = Instant::now();
    assert_eq!(text(send(&replaying, get(BY_HAND)).await.expect("a head")).await, "onetwothree");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_times_that_hold_for_servers_hold_for_cassettes() {
    let folder = TempDir::new().expect("a folder");
    by_hand(folder.path(), "");
    let second = |asked: fn(&mut AskedTimeouts) -> &mut Option<Duration>| {
        let mut times = AskedTimeouts::default();
        *asked(&mut times) = Some(Duration::from_millis(1500));
        times
    };
    let never = CancellationToken::new();
    let replaying = replayed(folder.path(), "https://api.example.com", Speed::Recorded);
    let late = replaying.send(get(BY_HAND), never.clone(), second(|times| &mut times.first_byte)).await;
    assert!(matches!(late, Err(SendError::FirstByteTimeout)));
    let replaying = replayed(folder.path(), "https://api.example.com", Speed::Recorded);
    let times = second(|times| &mut times.between_bytes);
    let body = replaying.send(get(BY_HAND), never, times).await.expect("a head").into_body();
    let outcome = timeout(Duration::from_secs(3600), body.collect()).await.expect("an end");
    assert!(matches!(outcome, Err(SendError::BetweenBytesTimeout(_))));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_ends_a_replay() {
    let folder = TempDir::new().expect("a folder");
    by_hand(folder.path(), "");
    for in_head in [true, false] {
        let replaying = replayed(folder.path(), "https://api.example.com", Speed::Recorded);
        let ended = CancellationToken::new();
        let begun = Instant::now();
        let end = async {
            tokio::time::sleep(Duration::from_millis(if in_head { 500 } else { 2500 })).await;
            ended.cancel();
        };
        let asking = async {
            let response = replaying.send(get(BY_HAND), ended.clone(), AskedTimeouts::default()).await?;
            response.into_body().collect().await
        };
        let (outcome, ()) = tokio::join!(asking, end);
        assert!(matches!(outcome, Err(SendError::Cancelled)), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_millis(3000), "at once");
    }
}

#[tokio::test]
async fn the_end_of_a_run_ends_a_recording_and_its_rest_is_an_error() {
    let (pieces, body) = piecewise();
    let body = std::sync::Mutex::new(Some(body));
    let asked = Arc::new(Notify::new());
    let server = Server::start({
        let asked = asked.clone();
        move |_| {
            asked.notify_one();
            let body = body.lock().expect("a body").take();
            async {
                match body {
                    Some(body) => Response::new(body),
                    None => std::future::pending().await,
                }
            }
        }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    let ended = CancellationToken::new();
    let sent = caller.send(get(&origin), ended.clone(), AskedTimeouts::default()).await;
    let mut kept_by_guest = sent.expect("a head").into_body();
    pieces.send("one").await.expect("a reader");
    kept_by_guest.frame().await.expect("a frame").expect("whole");
    asked.notified().await;
    let end = async {
        asked.notified().await;
        ended.cancel();
    };
    let (silent, ()) = tokio::join!(caller.send(get(&origin), ended.clone(), AskedTimeouts::default()), end);
    assert!(matches!(silent, Err(SendError::Cancelled)));
    at_last(recording.settled()).await;
    assert_eq!(cassette(folder.path()).matches("ended = \"cut\"").count(), 2);

    let (log, _guard) = Log::capture(Level::INFO);
    let replaying = replayed(folder.path(), &origin, Speed::Instant);
    let mut body = send(&replaying, get(&origin)).await.expect("a head").into_body();
    assert_eq!(body.frame().await.expect("a frame").expect("whole").into_data().expect("data"), "one");
    let cut = body.frame().await.expect("no end").expect_err("an error").to_string();
    assert!(cut.contains("is not whole in the cassette") && cut.contains("its run had ended"), "{cut}");
    assert_eq!(log.text(), format!(" WARN {cut} agent=\"chat/alice\"\n"));
    assert!(matches!(send(&replaying, get(&origin)).await, Err(SendError::NotRecorded(_))));
}

#[tokio::test]
async fn silence_is_recorded_as_what_it_is() {
    let (pieces, body) = piecewise();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_| {
        let body = body.lock().expect("a body").take().expect("one request");
        async { Response::new(body) }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    let mut body = send(&caller, get(&origin)).await.expect("a head").into_body();
    pieces.send("one").await.expect("a reader");
    body.frame().await.expect("a frame").expect("whole");
    tokio::time::pause();
    assert!(matches!(body.frame().await, Some(Err(SendError::BetweenBytesTimeout(_)))));
    tokio::time::resume();
    at_last(recording.settled()).await;
    let replaying = replayed(folder.path(), &origin, Speed::Instant);
    let mut body = send(&replaying, get(&origin)).await.expect("a head").into_body();
    body.frame().await.expect("a frame").expect("whole");
    let Some(Err(SendError::BetweenBytesTimeout(silence))) = body.frame().await else {
        panic!("no such error")
    };
    assert!(silence >= Duration::from_secs(300), "{silence:?}");
}

#[tokio::test]
async fn what_is_granted_is_the_same_when_nothing_is_sent() {
    let folder = TempDir::new().expect("a folder");
    by_hand(folder.path(), "");
    let replaying = replayed(folder.path(), "https://other.example", Speed::Instant);
    assert!(matches!(send(&replaying, get(BY_HAND)).await, Err(SendError::Denied { .. })));
}

#[tokio::test]
async fn a_body_without_end_is_passed_on_but_not_kept() {
    const PIECE: usize = 1024 * 1024;
    let endless = |pieces: usize| {
        let pieces = stream::iter(0..pieces)
            .map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[b'x'; PIECE]))));
        StreamBody::new(pieces).boxed_unsync()
    };
    let server = Server::start(move |request: Request<Incoming>| async move {
        let sent = request.into_body().collect().await.expect("a whole body").to_bytes().len();
        Response::new(if sent == 0 { endless(17) } else { full("thanks") })
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    let upload = || Request::post(&origin).body(endless(17)).expect("a request");
    let down = send(&caller, get(&origin)).await.expect("an answer").into_body();
    assert_eq!(down.collect().await.expect("a whole body").to_bytes().len(), 17 * PIECE);
    assert_eq!(text(send(&caller, upload()).await.expect("an answer")).await, "thanks");
    at_last(recording.settled()).await;
    assert_eq!(cassette(folder.path()).matches("ended = \"too-large\"").count(), 2);
    assert!(cassette(folder.path()).len() < 10_000);
    let replaying = replayed(folder.path(), &origin, Speed::Instant);
    for request in [get(&origin), upload()] {
        let missing = send(&replaying, request).await.err().expect("an error");
        assert!(matches!(missing, SendError::NotRecorded(_)), "{missing}");
    }
}

#[tokio::test]
async fn an_upload_that_waits_for_its_answer_waits_until_its_time_is_over() {
    let folder = TempDir::new().expect("a folder");
    by_hand(folder.path(), "");
    let replaying = replayed(folder.path(), "https://api.example.com", Speed::Instant);
    let (_pieces, body) = piecewise();
    tokio::time::pause();
    let outcome = send(&replaying, Request::post(BY_HAND).body(body).expect("a request")).await;
    assert!(matches!(outcome, Err(SendError::FirstByteTimeout)));
}

#[tokio::test]
async fn a_server_does_not_see_whether_it_is_recorded() {
    let server = Server::start(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let sent = body.collect().await.expect("a whole body").to_bytes();
        Response::new(full(format!("{} {} {:?} {sent:?}", head.method, head.uri, head.headers)))
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let granted = || grants(&[&origin], &[("x-mine", "${KEY}")]);
    let recording = Recording::begin(folder.path()).expect("an empty folder");
    let recorded = alice(granted(), Cassettes::Recording(recording.clone()));
    let plain = Client::new(settings()).caller("chat", granted(), 8, AskedTimeouts::default());
    for request in
        [|origin: &str| get(origin), |origin: &str| post(origin, "hello"), |origin: &str| post(origin, "")]
    {
        let expected = text(send(&plain, request(&origin)).await.expect("an answer")).await;
        assert_eq!(text(send(&recorded, request(&origin)).await.expect("an answer")).await, expected);
    }
}

#[tokio::test]
async fn a_recording_holds_up_neither_guest_nor_server() {
    let echo =
        async |request: Request<Incoming>| Response::new(request.map_err(BoxError::from).boxed_unsync());
    let server = Server::start(echo).await;
    let origin = format!("http://127.0.0.1:{}", server.port);
    let folder = TempDir::new().expect("a folder");
    let (recording, caller) = recorded(folder.path(), &origin);
    let (pieces, body) = piecewise();
    let request = Request::post(&origin).body(body).expect("a request");
    let mut response = send(&caller, request).await.expect("a head before the upload has ended");
    for piece in ["one", "two", "three"] {
        pieces.send(piece).await.expect("a reader");
        let frame = response.frame().await.expect("a frame").expect("whole");
        assert_eq!(frame.into_data().expect("data"), piece, "before the next piece is written");
    }
    drop(pieces);
    assert!(response.frame().await.is_none());
    settled().await;
    assert_eq!(server.seen(), Seen { accepted: 1, open: 1 }, "the connection is used again");
    at_last(recording.settled()).await;
    let replaying = replayed(folder.path(), &origin, Speed::Instant);
    assert_eq!(
        text(send(&replaying, post(&origin, "onetwothree")).await.expect("an answer")).await,
        "onetwothree"
    );
}
