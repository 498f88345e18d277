//! A real browser's `EventSource`, on a page of another origin, as pages that ask a host mostly are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use rookery_tests::browser::{self, Browser};
use rookery_tests::host::PRACTICE;
use rookery_tests::{Client, TestHost};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a page may take. A browser comes back three seconds after each loss, and starts in one or two on a machine
/// that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Reports all it has seen whenever it sees something.
const PAGE: &str = r#"<!doctype html>
<script>
    const seen = { events: [], losses: [] };
    const report = () => fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
    const event = ({ type, lastEventId, data }) => {
        seen.events.push({ kind: type, id: lastEventId, data });
        report();
    };
    const source = new EventSource("STREAM");
    source.addEventListener("message", event);
    source.addEventListener("usage", event);
    source.addEventListener("done", event);
    source.addEventListener("error", () => {
        seen.losses.push(source.readyState);
        report();
    });
</script>
"#;

/// `EventSource.CONNECTING`: it will come back.
const CONNECTING: u8 = 0;
/// `EventSource.CLOSED`: it will not.
const CLOSED: u8 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_loses_its_connection_sees_every_event_once_and_stops_by_itself() {
    let Some(program) = browser::find() else { return };
    let host = chat().await;
    // Before the first event; in the middle of one, while more are to come; and in the middle of the last.
    let cuts = ["/0\n\n", "/16\ndata:  t1", "event: done\n"];
    let link = Link::to(host.address(), &cuts).await;
    // Still writing when the browser comes back for the first time.
    let mut page = Page::asking(link.address, "chat/alice?prompt=/tokens+20+/delay+250").await;
    let browser = Browser::open(program, &page.url);
    let Seen { events, losses } = page.shows(&browser, |seen| seen.losses.ends_with(&[CLOSED])).await;

    let run = only_run(&host.client()).await;
    assert_eq!(run["state"], "done");
    let ids: Vec<_> = events.iter().map(|event| &*event.id).collect();
    let expected: Vec<_> =
        (1..=22).map(|number| format!("{}/{number}", run["run"].as_str().unwrap())).collect();
    assert_eq!(ids, expected, "every event once, in order");
    let [chunks @ .., usage, done] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!((&*usage.kind, &*done.kind), ("usage", "done"));
    assert!(chunks.iter().all(|chunk| chunk.kind == "message"));
    let said: String = chunks.iter().map(|chunk| &*chunk.data).collect();
    let expected: Vec<_> = (1..=20).map(|number| format!("t{number}")).collect();
    assert_eq!(said, expected.join(" "));

    assert_eq!(*link.cuts.lock().unwrap(), [""; 0], "the link broke each time");
    // The fourth is the end of the stream, after which it asks once more, and is told that there is no more.
    assert_eq!(losses, [CONNECTING, CONNECTING, CONNECTING, CONNECTING, CLOSED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_without_the_browser_that_started_it() {
    let Some(program) = browser::find() else { return };
    let host = chat().await;
    let mut page = Page::asking(host.address(), "chat/alice?prompt=/tokens+20+/delay+100").await;
    let browser = Browser::open(program, &page.url);
    page.shows(&browser, |seen| !seen.events.is_empty()).await;
    drop(browser);

    let client = host.client();
    let run = only_run(&client).await;
    let rest = client.get(&format!("/runs/{}", run["run"].as_str().unwrap())).await.body;
    assert!(rest.contains("data:  t20\n") && rest.contains("event: done\n"), "{rest}");
}

async fn chat() -> TestHost {
    TestHost::builder().practising().await.plugin("chat", PRACTICE).start().await
}

/// How the run stands that is the only one of its host.
async fn only_run(client: &Client) -> serde_json::Value {
    let runs = client.get("/runs").await.json();
    let [run] = &runs["runs"].as_array().unwrap()[..] else { panic!("not one run: {runs}") };
    run.clone()
}

/// What a page has seen.
#[derive(Clone, Debug, Default, Deserialize)]
struct Seen {
    events: Vec<Event>,
    /// What `readyState` was at each `error`.
    losses: Vec<u8>,
}

#[derive(Clone, Debug, Deserialize)]
struct Event {
    kind: String,
    id: String,
    data: String,
}

/// The page, served from an origin of its own, and what it has reported.
struct Page {
    url: String,
    seen: watch::Receiver<Seen>,
}

impl Page {
    /// A page that asks the host behind this address.
    async fn asking(host: SocketAddr, question: &str) -> Self {
        let page = Html(PAGE.replace("STREAM", &format!("http://{host}/agents/{question}")));
        let (reports, seen) = watch::channel(Seen::default());
        let report = async move |report: String| {
            let report: Seen = serde_json::from_str(&report).unwrap();
            // One may overtake another.
            reports.send_if_modified(|last| {
                let newer = report.events.len() + report.losses.len() > last.events.len() + last.losses.len();
                newer.then(|| *last = report).is_some()
            });
        };
        let routes = Router::new().route("/", get(async || page)).route("/seen", post(report));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, routes).await });
        Self { url, seen }
    }

    /// Waits until it has seen something.
    async fn shows(&mut self, browser: &Browser, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let shown = timeout(PATIENCE, self.seen.wait_for(wanted)).await.map(|seen| seen.unwrap().clone());
        shown.unwrap_or_else(|_| panic!("{:#?}\nthe browser said: {}", self.seen.borrow(), browser.stderr()))
    }
}

/// A link to a host that breaks where it is told to.
struct Link {
    address: SocketAddr,
    cuts: Cuts,
}

/// What the host sends last on a connection that is then cut. Each comes to pass once, one after another.
type Cuts = Arc<Mutex<VecDeque<&'static str>>>;

impl Link {
    async fn to(host: SocketAddr, cuts: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts: Cuts = Arc::new(Mutex::new(cuts.iter().copied().collect()));
        let link = Self { address, cuts: cuts.clone() };
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(connection(browser, host, cuts.clone()));
            }
        });
        link
    }
}

/// One connection, until one of the two leaves or it is cut.
async fn connection(mut browser: TcpStream, host: SocketAddr, cuts: Cuts) {
    let mut host = TcpStream::connect(host).await.unwrap();
    let (mut asked, mut told) = browser.split();
    let (mut answers, mut asks) = host.split();
    let answered = async {
        let (mut received, mut passed) = (Vec::new(), 0);
        while let Ok(1..) = answers.read_buf(&mut received).await {
            let cut = cut(&received, &cuts);
            let end = cut.unwrap_or(received.len());
            if told.write_all(&received[passed..end]).await.is_err() || cut.is_some() {
                return;
            }
            passed = end;
        }
    };
    tokio::select! {
        _ = copy(&mut asked, &mut asks) => {}
        () = answered => {}
    }
}

/// After how many bytes the connection that has received these is cut, if it is.
fn cut(received: &[u8], cuts: &Cuts) -> Option<usize> {
    let mut cuts = cuts.lock().unwrap();
    let last = cuts.front()?.as_bytes();
    let at = received.windows(last.len()).position(|bytes| bytes == last)?;
    cuts.pop_front();
    Some(at + last.len())
}
