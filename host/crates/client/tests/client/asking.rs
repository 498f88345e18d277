//! What is asked of a host, and what its answers mean.

use std::time::Duration;

use rookery_client::{Client, ClientError, Query, Settings, StateName};
use tokio::net::TcpListener;

use crate::host::{Answer, Host, RUN, alice, document, problem, run, stream};

fn state(state: &str) -> String {
    format!(
        r#"{{"run":"{RUN}","agent":"chat/alice","state":"{state}","prompt":"hello","origin":{{"client":"127.0.0.1:9"}},"submitted":"2026-11-24T10:00:00.000Z","events":3,"new":1}}"#
    )
}

#[tokio::test]
async fn a_prompt_is_sent_as_it_is_and_asks_for_a_stream() {
    let host = Host::play(|_| Answer::Hold(stream(""))).await;
    let run = host.client().prompt(&alice(), "Hé\r\n ").await.unwrap();
    assert_eq!((run.id(), run.seen()), (crate::host::run(), 0));
    let [request] = host.requests().try_into().unwrap();
    assert_eq!(request.line, "POST /agents/chat/alice");
    assert_eq!(request.body, "Hé\r\n ");
    assert!(request.head.contains("accept: text/event-stream"), "{}", request.head);
    assert!(request.head.contains("content-type: text/plain; charset=utf-8"), "{}", request.head);
}

#[tokio::test]
async fn a_prompt_in_the_background_gives_the_runs_id() {
    let host = Host::play(|_| {
        let head = format!("HTTP/1.1 202 Accepted\r\nrun-id: {RUN}\r\nlocation: /runs/{RUN}");
        Answer::Close(format!("{head}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    });
    let host = host.await;
    assert_eq!(host.client().submit(&alice(), "hello").await.unwrap(), run());
    assert!(host.requests()[0].head.contains("prefer: respond-async"));
}

#[tokio::test]
async fn a_refused_prompt_is_the_hosts_problem_document() {
    let host = Host::play(|_| problem(429, "mailbox-full")).await;
    let error = host.client().prompt(&alice(), "hello").await.map(drop).unwrap_err();
    let ClientError::Problem(problem) = error else { panic!("{error:?}") };
    assert_eq!(
        (problem.status, problem.code.as_str(), problem.detail.as_str()),
        (429, "mailbox-full", "it is so")
    );
    assert_eq!(host.lines().len(), 1, "a prompt is sent once");
}

#[tokio::test]
async fn a_prompt_that_nobody_took_says_that_no_host_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&format!("http://{address}")).unwrap();
    for error in [
        client.prompt(&alice(), "hello").await.map(drop).unwrap_err(),
        client.follow(run(), 0).next().await.unwrap().map(drop).unwrap_err(),
        client.state(run()).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("no host answers at http://{address}"));
    }
}

#[tokio::test]
async fn a_prompt_whose_answer_broke_in_its_head_is_not_sent_again_and_may_have_been_accepted() {
    let whole = stream("");
    for cut in 0..whole.len() {
        let head = whole[..cut].to_vec();
        let host = Host::play(move |_| Answer::Close(head.clone())).await;
        let error = host.client().prompt(&alice(), "hello").await.map(drop).unwrap_err();
        assert!(matches!(error, ClientError::Unanswered { .. }), "cut at {cut}: {error:?}");
        assert!(error.to_string().contains("can have accepted"), "{error}");
        assert_eq!(host.lines().len(), 1, "cut at {cut}");
    }
}

#[tokio::test]
async fn what_is_no_host_is_told_apart() {
    let answers: [fn() -> Answer; 3] = [
        || document("200 OK", "text/html", "<h1>welcome</h1>"),
        || document("404 Not Found", "text/html", "<h1>no</h1>"),
        || document("200 OK", "application/json", "{}"),
    ];
    for answer in answers {
        let host = Host::play(move |_| answer()).await;
        let client = host.client();
        let error = client.prompt(&alice(), "hello").await.map(drop).unwrap_err();
        assert!(matches!(error, ClientError::Foreign { .. }), "{error:?}");
        let error = client.state(run()).await.map(drop).unwrap_err();
        assert!(matches!(error, ClientError::Foreign { .. }), "{error:?}");
        let error = client.list(&Query::default()).next().await.unwrap().map(drop).unwrap_err();
        assert!(matches!(error, ClientError::Foreign { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_runs_state_is_read_and_kept_whole() {
    let host = Host::play(|_| document("200 OK", "application/json", &state("running"))).await;
    let read = host.client().state(run()).await.unwrap();
    assert_eq!((read.run, read.agent.as_str(), read.standing), (run(), "chat/alice", StateName::Running));
    assert_eq!((read.prompt.as_str(), read.events, read.problem.is_none()), ("hello", 3, true));
    assert_eq!(read.origin.as_deref(), Some("client 127.0.0.1:9"));
    assert!(read.json().contains("\"new\":1"), "what a later host adds is not lost: {}", read.json());
    let [request] = host.requests().try_into().unwrap();
    assert_eq!(request.line, format!("GET /runs/{RUN}"));
    assert!(request.head.contains("accept: application/json"));
}

#[tokio::test]
async fn cancelling_says_what_became_of_the_run() {
    let host = Host::play(|_| document("202 Accepted", "application/json", &state("cancelled"))).await;
    assert_eq!(host.client().cancel(run()).await.unwrap().unwrap().standing, StateName::Cancelled);
    assert_eq!(host.lines(), [format!("DELETE /runs/{RUN}")]);
}

#[tokio::test]
async fn cancelling_a_run_that_the_host_has_just_forgotten_is_no_error() {
    let forgotten = format!(r#"{{"run":"{RUN}"}}"#);
    let host = Host::play(move |_| document("200 OK", "application/json", &forgotten)).await;
    assert!(host.client().cancel(run()).await.unwrap().is_none());
}

#[tokio::test]
async fn pages_are_followed_to_the_last_one() {
    let mut pages = 0;
    let host = Host::play(move |_| {
        pages += 1;
        let run = state("done");
        let page = match pages {
            1 => format!(r#"{{"runs":[{run},{run}],"next":"/runs?before={RUN}"}}"#),
            _ => format!(r#"{{"runs":[{run}]}}"#),
        };
        document("200 OK", "application/json", &page)
    });
    let host = host.await;
    let mut pages = host.client().list(&Query { page: Some(2), ..Query::default() });
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().len());
    }
    assert_eq!(sizes, [2, 1]);
    assert_eq!(host.lines(), ["GET /runs?limit=2".to_owned(), format!("GET /runs?before={RUN}")]);
}

#[tokio::test]
async fn an_empty_page_ends_a_list_that_would_go_on_for_ever() {
    let page = r#"{"runs":[],"next":"/runs?before=1"}"#;
    let host = Host::play(move |_| document("200 OK", "application/json", page)).await;
    assert!(host.client().list(&Query::default()).next().await.is_none());
}

#[tokio::test]
async fn a_path_in_front_of_a_host_is_kept() {
    let host = Host::play(|_| document("200 OK", "application/json", &state("done"))).await;
    let base = format!("http://{}/birds/", host.address).parse().unwrap();
    let settings = Settings { silence: Duration::from_secs(10), ..Settings::default() };
    Client::with(base, settings).state(run()).await.unwrap();
    assert_eq!(host.lines(), [format!("GET /birds/runs/{RUN}")]);
}
