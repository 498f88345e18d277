//! Cassettes from the first note to the last answer, without a connection.

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, request, response};
use tempfile::TempDir;
use tokio::time::advance;

use crate::record::Bounds;
use crate::{BODY_LIMIT, CassetteError, Ended, Exchange, Recording, Replaying, Secrets, Speed};

const URL: &str = "https://api.example.com/v1/chat?alt=sse";

fn asked(method: &str, url: &str, headers: &[(&'static str, &'static str)]) -> request::Parts {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn head(headers: &[(&'static str, &'static str)]) -> response::Parts {
    let mut response = Response::builder();
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

/// Notes a whole exchange of `chat/alice`.
async fn note(recording: &Recording, url: &str, sent: &str, received: &str) {
    let take = recording.take("chat/alice", &asked("POST", url, &[]), Secrets::default()).await.unwrap();
    take.sent(sent.as_bytes());
    take.head(&head(&[]));
    take.received(received.as_bytes());
    take.ended(Ended::Whole, "");
}

async fn settled(recording: &Recording) -> u64 {
    tokio::time::timeout(Duration::from_secs(30), recording.settled()).await.expect("all is written")
}

fn replaying(folder: &TempDir) -> Replaying {
    Replaying::open(folder.path(), Speed::Instant).unwrap()
}

fn data(exchange: &Exchange) -> &[u8] {
    &exchange.response.as_ref().expect("a response").data
}

fn write(folder: &TempDir, file: &str, text: impl AsRef<[u8]>) {
    let path = folder.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn a_cassette_reads_well_and_reads_back() {
    tokio::time::pause();
    let folder = TempDir::new().unwrap();
    let recording = Recording::begin(folder.path()).unwrap();
    advance(Duration::from_millis(1042)).await;
    let request =
        asked("POST", URL, &[("content-type", "application/json"), ("authorization", "Bearer mine")]);
    let take = recording.take("chat/Alice", &request, Secrets::default()).await.unwrap();
    take.sent(br#"{"model":"m","messages":"#);
    take.sent(br#"[{"role":"user","content":"it's \"me\""}]}"#);
    advance(Duration::from_millis(35)).await;
    take.head(&head(&[
        ("content-type", "text/event-stream"),
        ("set-cookie", "id=1"),
        ("vary", "a"),
        ("vary", "b"),
    ]));
    take.received(b"data: {\"delta\":\"Hi\"}\n\n");
    advance(Duration::from_millis(30)).await;
    take.received(&[0xff, 0xfe]);
    take.received(b"data: a\r\n");
    advance(Duration::from_millis(1)).await;
    take.trailers(&HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]));
    take.ended(Ended::Whole, "");
    take.ended(Ended::Cut, "the first word holds");
    drop(take);
    let take =
        recording.take("chat/Alice", &asked("GET", "http://a.example/", &[]), Secrets::default()).await;
    advance(Duration::from_millis(5)).await;
    take.unwrap().ended(Ended::Dns, "no such name");
    tokio::time::resume();
    assert_eq!(settled(&recording).await, 0);

    let text = fs::read_to_string(folder.path().join("chat/alice+1.toml")).unwrap();
    let expected = r#"# What chat/Alice asked over HTTP and what it was answered. It may be edited; `rookery dev --replay` reads it.
# Times are milliseconds: `at` since the recording began, `after` since the request, in a response since its head.

[[exchange]]
at = 1042
method = "POST"
url = "https://api.example.com/v1/chat?alt=sse"
headers = [
  "content-type: application/json",
]
json = '''
{
  "model": "m",
  "messages": [
    {
      "role": "user",
      "content": "it's \"me\""
    }
  ]
}
'''
after = 35

[exchange.response]
status = 200
headers = [
  "content-type: text/event-stream",
  "vary: a",
  "vary: b",
]
frames = [
  { at = 0, text = '''
data: {"delta":"Hi"}

''' },
  { at = 30, base64 = "//4=" },
  { at = 30, text = """
data: a\r
""" },
]
trailers = [
  "x-sum: 7",
]
until = 31

[[exchange]]
at = 1108
method = "GET"
url = "http://a.example/"
after = 5
ended = "dns"
detail = "no such name"
"#;
    assert_eq!(text, expected);

    let cassettes = replaying(&folder);
    let body = br#"{ "messages": [{"content": "it's \"me\"", "role": "user"}], "model": "m" }"#;
    let answered = cassettes.answer("chat/Alice", &Method::POST, URL, body).expect("the same JSON");
    let response = answered.response.as_ref().unwrap();
    let pieces: Vec<_> = response.pieces().map(|(at, data)| (at, data.to_vec())).collect();
    let expected: [(u32, &[u8]); 3] =
        [(0, b"data: {\"delta\":\"Hi\"}\n\n"), (30, &[0xff, 0xfe]), (30, b"data: a\r\n")];
    assert_eq!(pieces, expected.map(|(at, data)| (at, data.to_vec())));
    assert_eq!(response.headers.get_all("vary").iter().count(), 2);
    assert_eq!(response.trailers.as_ref().unwrap()["x-sum"], "7");
    assert_eq!((answered.at, answered.after, response.until), (1042, 35, 31));
    assert_eq!(response.status, 200);
    let failed = cassettes.answer("chat/Alice", &Method::GET, "http://a.example/", b"").unwrap();
    assert_eq!((failed.ended, failed.detail.as_str()), (Ended::Dns, "no such name"));
}

#[tokio::test]
async fn equal_requests_are_answered_in_the_order_in_which_they_were_asked_and_once_each() {
    tokio::time::pause();
    let folder = TempDir::new().unwrap();
    let recording = Recording::begin(folder.path()).unwrap();
    let first = recording.take("chat/alice", &asked("POST", URL, &[]), Secrets::default()).await.unwrap();
    first.head(&head(&[]));
    first.received(b"first");
    advance(Duration::from_millis(1)).await;
    note(&recording, URL, "", "second").await;
    first.ended(Ended::Whole, "");
    drop(first);
    tokio::time::resume();
    settled(&recording).await;
    let cassettes = replaying(&folder);
    for expected in ["first", "second"] {
        let answered = cassettes.answer("chat/alice", &Method::POST, URL, b"").unwrap();
        assert_eq!(data(&answered), expected.as_bytes());
    }
    let missing = cassettes.answer("chat/alice", &Method::POST, URL, b"").unwrap_err().to_string();
    assert!(
        missing.ends_with("alice.toml: it was recorded 2 times, and that is answered already"),
        "{missing}"
    );
}

#[tokio::test]
async fn what_was_not_recorded_is_told_with_what_is_nearest() {
    let folder = TempDir::new().unwrap();
    let recording = Recording::begin(folder.path()).unwrap();
    note(&recording, URL, r#"{"n":1}"#, "one").await;
    note(&recording, URL, r#"{"n":2}"#, "two").await;
    note(&recording, "https://api.example.com/v1/models", "plain", "three").await;
    settled(&recording).await;
    let cassettes = replaying(&folder);
    let file = folder.path().join("chat/alice.toml");
    let told = |agent: &str, method: Method, url: &str, body: &str| {
        cassettes.answer(agent, &method, url, body.as_bytes()).unwrap_err().to_string()
    };
    let about = |method: &str, url: &str, why: &str| {
        format!("{method} https://api.example.com{url} is not in the cassette {}: {why}", file.display())
    };
    cassettes.answer("chat/alice", &Method::POST, URL, br#"{"n":1}"#).unwrap();
    let line = |at: usize| {
        let text = fs::read_to_string(&file).unwrap();
        let begins = |line: &(usize, &str)| line.1 == "[[exchange]]";
        text.lines().enumerate().filter(begins).nth(at).unwrap().0 + 1
    };
    let nearest = |at: usize, but: &str| format!("nearest is the exchange at line {}, but {but}", line(at));
    assert_eq!(
        told("chat/alice", Method::POST, URL, r#"{"n":3}"#),
        about("POST", "/v1/chat", &nearest(1, "`/n` is 2 there and 3 here")),
        "and not the one that was answered"
    );
    assert_eq!(
        told("chat/alice", Method::POST, "https://api.example.com/v1/chat?alt=json", ""),
        about("POST", "/v1/chat", &nearest(1, "its query is another one"))
    );
    assert_eq!(
        told("chat/alice", Method::POST, "https://api.example.com/v1/models", "plane"),
        about(
            "POST",
            "/v1/models",
            &nearest(2, "the body differs from byte 3 on, and has 5 bytes there and 5 here")
        )
    );
    assert_eq!(
        told("chat/alice", Method::GET, URL, ""),
        about("GET", "/v1/chat", "none of its 3 exchanges has this method and path")
    );
    let bobs = told("chat/bob", Method::GET, URL, "");
    assert!(bobs.contains("bob.toml: there is no such file; record it with --record"), "{bobs}");
    assert!(told("chat/../x", Method::GET, URL, "").contains("there is no such file"));
}

#[tokio::test]
async fn a_key_in_a_url_is_not_written_and_not_asked_for() {
    let folder = TempDir::new().unwrap();
    let recording = Recording::begin(folder.path()).unwrap();
    note(&recording, "https://a.example/?key=sk-mine&n=1", "", "one").await;
    settled(&recording).await;
    assert!(!fs::read_to_string(folder.path().join("chat/alice.toml")).unwrap().contains("sk-mine"));
    let answered =
        replaying(&folder).answer("chat/alice", &Method::POST, "https://a.example/?key=other&n=1", b"");
    assert_eq!(data(&answered.unwrap()), b"one");
}

#[tokio::test]
async fn a_secret_is_masked_wherever_it_comes_back() {
    let folder = TempDir::new().unwrap();
    let recording = Recording::begin(folder.path()).unwrap();
    let secrets = Secrets::new([&b"sk-secret"[..]]);
    let request = asked("POST", "https://a.example/sk-secret/x", &[("x-told", "sk-secret")]);
    let take = recording.take("chat/alice", &request, secrets).await.unwrap();
    take.sent(b"[\"sk-sec");
    take.sent(b"ret\"]");
    take.head(&head(&[("x-echo", "you sent sk-secret")]));
    take.received(b"a sk-s");
    take.received(b"ecret b");
    take.received(b" sk-secr");
    take.trailers(&HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("sk-secret"))]));
    take.ended(Ended::ConnectionClosed, "at sk-secret");
    drop(take);
    settled(&recording).await;
    let text = fs::read_to_string(folder.path().join("chat/alice.toml")).unwrap();
    assert!(!text.contains("sk-") && !text.contains("ecret"), "{text}");
    let answered = replaying(&folder)
        .answer("chat/alice", &Method::POST, "https://a.example/*********/x", b"[\"*********\"]")
        .expect("what was answered with a mask asks with one");
    let pieces: Vec<_> = answered.response.as_ref().unwrap().pieces().map(|(_, data)| data).collect();
    assert_eq!(pieces, ["a ****", "***** b", " *******"], "at the borders of the frames");
}

#[tokio::test]
async fn a_folder_with_cassettes_is_not_recorded_into_and_one_without_is_not_replayed() {
    let folder = TempDir::new().unwrap();
    write(&folder, "README.md", "what these are");
    assert!(matches!(Replaying::open(folder.path(), Speed::Instant), Err(CassetteError::Empty(_))));
    let recording = Recording::begin(&folder.path().join("new/deeper")).unwrap();
    note(&recording, URL, "", "one").await;
    settled(&recording).await;
    let before = fs::read_to_string(folder.path().join("new/deeper/chat/alice.toml")).unwrap();
    let again = Recording::begin(&folder.path().join("new/deeper")).unwrap_err();
    assert!(
        matches!(&again, CassetteError::Taken { found, .. } if found.ends_with("chat/alice.toml")),
        "{again}"
    );
    assert_eq!(fs::read_to_string(folder.path().join("new/deeper/chat/alice.toml")).unwrap(), before);
    let nowhere = Replaying::open(&folder.path().join("nowhere"), Speed::Instant);
    assert!(matches!(nowhere, Err(CassetteError::Io { .. })));
}

#[tokio::test]
async fn a_file_that_came_meanwhile_is_left_alone_and_the_loss_is_counted() {
    let folder = TempDir::new().unwrap();
    let recording = Recording::begin(folder.path()).unwrap();
    write(&folder, "chat/alice.toml", "somebody else's");
    note(&recording, URL, "", "one").await;
    assert_eq!(settled(&recording).await, 1);
    assert_eq!(fs::read_to_string(folder.path().join("chat/alice.toml")).unwrap(), "somebody else's");
}

#[test]
fn a_mistake_is_named_with_its_file_and_line() {
    let exchange = "[[exchange]]\nmethod = \"GET\"\nurl = \"http://a.example/\"\n";
    for (text, line, reason) in [
        ("x", 1, ""),
        ("# a\n\nfoo = 1", 3, "unknown field `foo`"),
        ("[[exchange]]\nmethod = \"GET\"", 1, "missing field `url`"),
        ("[[exchange]]\nmethod = \"G T\"\nurl = \"http://a.example/\"", 2, "invalid HTTP method"),
        ("[[exchange]]\nmethod = \"GET\"\nurl = \"/v1\"", 3, "this is no URL"),
        (&format!("{exchange}headers = [\n  \"a: b\",\n  \"a b\",\n]"), 6, "this is no header"),
        (&format!("{exchange}json = '''\n{{\n'''"), 4, "this is no JSON: EOF"),
        (&format!("{exchange}base64 = \"a\""), 4, "this is no base64"),
        (&format!("{exchange}ended = \"lost\""), 4, "unknown variant `lost`"),
        (&format!("{exchange}after = -1"), 4, "invalid value"),
        (&format!("{exchange}at = 99999999999"), 4, "invalid value"),
        (exchange, 1, "there is no [exchange.response], and no `ended`"),
        (&format!("{exchange}json = \"[]\"\ntext = \"\"\nended = \"dns\""), 1, "more than one of"),
        (
            &format!("{exchange}ended = \"dns\"\n{exchange}[exchange.response]\nstatus = 2000"),
            9,
            "this is no status",
        ),
        (&format!("{exchange}[exchange.response]\nstatus = 1"), 5, "this is no status"),
        (
            &format!("{exchange}[exchange.response]\nstatus = 200\nframes = [\n  {{ at = 1 }},\n]"),
            7,
            "a frame",
        ),
        (
            &format!(
                "{exchange}[exchange.response]\nstatus = 200\nframes = [\n  {{ at = 1, txt = \"\" }},\n]"
            ),
            7,
            "`txt`",
        ),
        (
            &format!("{exchange}[exchange.response]\nstatus = 200\nframes = [\n  {{ at = 1, text = '''\nda"),
            8,
            "unclosed inline table",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        write(&folder, "chat/alice.toml", text);
        let error = Replaying::open(folder.path(), Speed::Instant).expect_err(text);
        let CassetteError::Malformed { path, line: found, .. } = &error else { panic!("{text}: {error}") };
        assert!(path.ends_with("chat/alice.toml"));
        assert!(error.to_string().contains(reason), "{text}: {error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
        assert_eq!(*found, line, "{text}: {error}");
    }
}

#[test]
fn what_is_no_text_is_named_too() {
    let folder = TempDir::new().unwrap();
    write(&folder, "chat/alice.toml", b"# a\n# \xff\n");
    let error = Replaying::open(folder.path(), Speed::Instant).unwrap_err().to_string();
    assert!(error.ends_with("alice.toml, line 2: this is no text in UTF-8"), "{error}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_marked_and_not_answered() {
    let folder = TempDir::new().unwrap();
    let recording = Recording::begin(folder.path()).unwrap();
    let piece = vec![b'x'; 1024 * 1024];
    for (at, (sent, received)) in [(17, 0), (0, 17), (16, 16)].into_iter().enumerate() {
        let url = format!("https://a.example/{at}");
        let take = recording.take("chat/alice", &asked("POST", &url, &[]), Secrets::default()).await.unwrap();
        (0..sent).for_each(|_| take.sent(&piece));
        take.head(&head(&[]));
        (0..received).for_each(|_| take.received(&piece));
        take.ended(Ended::Whole, "");
    }
    settled(&recording).await;
    let cassettes = replaying(&folder);
    for at in 0..2 {
        let url = format!("https://a.example/{at}");
        let missing = cassettes.answer("chat/alice", &Method::POST, &url, b"").unwrap_err().to_string();
        assert!(missing.contains("is not whole in the cassette"), "{missing}");
        assert!(missing.contains("has a body of more than 16 MiB"), "{missing}");
    }
    let largest = vec![b'x'; BODY_LIMIT];
    let answered = cassettes.answer("chat/alice", &Method::POST, "https://a.example/2", &largest).unwrap();
    assert_eq!(data(&answered).len(), BODY_LIMIT, "exactly so much is kept");
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_marked_and_frees_what_it_held() {
    let folder = TempDir::new().unwrap();
    let recording =
        Recording::bounded(folder.path(), Bounds { memory: 10_000, ..Bounds::default() }).unwrap();
    let take = async |url: &str| {
        let take = recording.take("chat/alice", &asked("GET", url, &[]), Secrets::default()).await.unwrap();
        take.head(&head(&[]));
        take
    };
    let (first, second) = (take("https://a.example/1").await, take("https://a.example/2").await);
    first.received(&[b'x'; 4000]);
    second.received(&[b'x'; 4000]);
    second.received(&[b'x'; 4000]);
    second.received(b"more");
    first.received(&[b'x'; 5000]);
    for take in [first, second] {
        take.ended(Ended::Whole, "");
    }
    settled(&recording).await;
    note(&recording, "https://a.example/3", "", &"x".repeat(9000)).await;
    settled(&recording).await;
    let cassettes = replaying(&folder);
    let answer = |method: Method, url: &str| cassettes.answer("chat/alice", &method, url, b"");
    assert_eq!(data(&answer(Method::GET, "https://a.example/1").unwrap()).len(), 9000);
    assert!(
        answer(Method::GET, "https://a.example/2").unwrap_err().to_string().contains("too much was open")
    );
    assert_eq!(
        data(&answer(Method::POST, "https://a.example/3").unwrap()).len(),
        9000,
        "there was room again"
    );
}

#[tokio::test]
async fn no_more_is_written_than_a_replay_reads() {
    for bounds in [
        Bounds { file: 1500, folder: 10_000, ..Bounds::default() },
        Bounds { file: 10_000, folder: 1500, ..Bounds::default() },
    ] {
        let folder = TempDir::new().unwrap();
        let recording = Recording::bounded(folder.path(), bounds).unwrap();
        for length in [500, 1000, 200] {
            note(&recording, URL, "", &"x".repeat(length)).await;
        }
        assert_eq!(settled(&recording).await, 1);
        let cassettes = replaying(&folder);
        for length in [500, 200] {
            let answered = cassettes.answer("chat/alice", &Method::POST, URL, b"").unwrap();
            assert_eq!(data(&answered).len(), length, "what fits is whole");
        }
    }
}

#[tokio::test]
async fn one_exchange_too_many_waits_until_another_is_written() {
    let folder = TempDir::new().unwrap();
    let recording = Recording::bounded(folder.path(), Bounds { open: 1, ..Bounds::default() }).unwrap();
    let request = asked("GET", URL, &[]);
    let first = recording.take("chat/alice", &request, Secrets::default()).await.unwrap();
    let mut second = std::pin::pin!(recording.take("chat/alice", &request, Secrets::default()));
    tokio::select! {
        biased;
        _ = &mut second => panic!("there is no place"),
        () = std::future::ready(()) => {}
    }
    drop(first);
    tokio::time::timeout(Duration::from_secs(30), second).await.expect("a place").unwrap();
    settled(&recording).await;
    let cassettes = replaying(&folder);
    let missing = cassettes.answer("chat/alice", &Method::GET, URL, b"").unwrap_err().to_string();
    assert!(missing.contains("its run had ended"), "{missing}");
}

#[test]
fn a_cassette_of_a_moved_folder_reads_the_same() {
    let folder = TempDir::new().unwrap();
    let text =
        "[[exchange]]\nmethod = \"GET\"\nurl = \"http://a.example/\"\n[exchange.response]\nstatus = 204\n";
    write(&folder, "here/chat/alice.toml", text);
    fs::rename(folder.path().join("here"), folder.path().join("there")).unwrap();
    let cassettes = Replaying::open(&folder.path().join("there"), Speed::Recorded).unwrap();
    let answered = cassettes.answer("chat/alice", &Method::GET, "http://a.example/", b"").unwrap();
    assert_eq!(answered.response.as_ref().unwrap().status, 204);
    assert!(Path::new(&format!("{cassettes:?}")).to_string_lossy().contains("there"));
}
