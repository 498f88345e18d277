//! Clients that leave and come back.

use futures_util::future::join_all;
use rookery_core::{Chunk, Code, Failure, Money, RunId, Spent};
use serde_json::json;

use super::support::{Host, POLICY, bare, post, soon};

const TEXT: &str = "accept: text/plain\r\n";
const STREAM: &str = "accept: text/event-stream\r\n";
const DOCUMENT: &str = "accept: application/json\r\n";

/// The events that a run of so many texts has after this one; `done` is the last.
fn expected(run: &str, texts: u64, after: u64) -> Vec<(u64, String)> {
    let all = (1..=texts).map(|number| (number, format!("<{number}>")));
    let done = (texts + 1, format!("{{\"run\":\"{run}\"}}"));
    all.chain([done]).filter(|(number, _)| *number > after).collect()
}

#[tokio::test]
async fn a_run_is_resumed_from_any_event_and_none_is_missing_or_comes_twice() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    let mut clients = Vec::new();
    // Some before the events, some in the middle of them, for each place to go on from.
    for half in 0..2 {
        for after in 0..=12 {
            let mut client = host.client().await;
            client.send(bare("GET", &format!("/runs/{run}?after={after}"), "")).await;
            // Its head says that it follows.
            client.has_head().await;
            clients.push((after, client));
        }
        for number in half * 5 + 1..=half * 5 + 5 {
            guest.text(&format!("<{number}>"));
        }
    }
    guest.done().await;
    for (index, (after, mut client)) in clients.into_iter().enumerate() {
        let seen = client.events().await;
        // Who claims to have seen what is not there yet gets what comes.
        let there = if index < 13 { 0 } else { 5 };
        assert_eq!(seen, expected(&run, 10, after.min(there)), "after {after}, of {there}");
    }
}

#[tokio::test]
async fn a_run_that_has_ended_is_replayed_from_any_event() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    for number in 1..=10 {
        guest.text(&format!("<{number}>"));
    }
    guest.done().await;
    host.reaches(&run, "done").await;
    for after in 0..=10 {
        assert_eq!(host.replay(&run, after).await, expected(&run, 10, after));
    }
    // It has seen what a crash took, and not the end.
    assert_eq!(host.replay(&run, 12).await, expected(&run, 10, 10));
}

#[tokio::test]
async fn a_long_run_is_replayed_whole_while_it_runs_and_afterwards() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    let text = "~".repeat(1024);
    for _ in 0..1000 {
        guest.text(&text);
        tokio::task::yield_now().await;
    }
    // Only the end of it is in memory now.
    let mut during = host.client().await;
    during.send(bare("GET", &format!("/runs/{run}?after=1"), "")).await;
    during.has_head().await;
    guest.done().await;
    let seen = during.events().await;
    assert_eq!(seen.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (2..=1001).collect::<Vec<_>>());
    host.reaches(&run, "done").await;
    assert_eq!(host.replay(&run, 1).await, seen);
}

#[tokio::test]
async fn without_an_archive_a_reader_that_comes_too_late_sees_a_broken_transfer() {
    let mut host = Host::start().await;
    let (run, guest) = host.begun("hello").await;
    let path = format!("/runs/{run}");
    let mut in_time = host.client_of(&bare("GET", &path, "")).await;
    in_time.has_head().await;
    guest.text("<1>");
    in_time.until("<1>").await;
    let mut late = host.client_of(&bare("GET", &path, "")).await;
    late.head().await;
    assert_eq!(late.rest().await, b"", "no last chunk");
    guest.done().await;
    in_time.until("event: done\nid: 2\n").await;
    assert_eq!(
        host.ask(&bare("GET", &path, "")).await.problem(),
        "unknown-run",
        "what has ended is forgotten"
    );
}

#[tokio::test]
async fn a_thousand_readers_of_one_run_each_see_all_of_it() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    let id = guest.0.prompt.run;
    let mut readers = Vec::new();
    for number in 1..=10 {
        for _ in 0..100 {
            readers.push(host.directory.follow(id, 0).await.unwrap().unwrap());
        }
        guest.text(&format!("<{number}>"));
        tokio::task::yield_now().await;
    }
    let reading = readers.into_iter().map(|mut reader| async move {
        let mut numbers = Vec::new();
        while let Some(event) = reader.next().await.unwrap() {
            numbers.push(event.id);
        }
        numbers
    });
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = host.client().await;
        client.send(bare("GET", &format!("/runs/{run}"), "")).await;
        clients.push(client);
    }
    let (numbers, ()) = soon(async { tokio::join!(join_all(reading), guest.done()) }).await;
    assert_eq!(numbers.len(), 1000);
    assert!(numbers.into_iter().all(|numbers| numbers == (1..=11).collect::<Vec<_>>()));
    for mut client in clients {
        assert_eq!(client.events().await, expected(&run, 10, 0));
    }
}

#[tokio::test]
async fn who_has_seen_the_end_is_told_to_stop_asking() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    guest.text("<1>");
    let path = format!("/runs/{run}");
    for method in ["GET", "HEAD"] {
        let during = host.client_of(&bare(method, &path, "last-event-id: 2\r\n")).await.head().await;
        assert_eq!(during.status(), 200, "it has not ended");
    }
    guest.done().await;
    host.reaches(&run, "done").await;
    for method in ["GET", "HEAD"] {
        for accept in ["", TEXT] {
            let response = host.ask(&bare(method, &path, &format!("last-event-id: 2\r\n{accept}"))).await;
            assert_eq!((response.status(), response.header("run-id")), (204, Some(&*run)), "{method}");
        }
    }
}

#[tokio::test]
async fn an_event_source_that_comes_back_goes_on_with_its_run() {
    let mut host = Host::keeping(POLICY).await;
    let target = "/agents/chat/alice?prompt=hello";
    let mut client = host.client_of(&bare("GET", target, STREAM)).await;
    let guest = host.run().await;
    let run = guest.0.prompt.run.to_string();
    // So early that it has seen no event, it knows what to go on with.
    client.until(&format!("id: {run}/0\n\n")).await;
    drop(client);
    let again = |last: &str| bare("GET", target, &format!("last-event-id: {last}\r\n"));
    let mut second = host.client_of(&again(&format!("{run}/0"))).await;
    guest.text("<1>");
    second.until(&format!("id: {run}/1\ndata: <1>\n\n")).await;
    drop(second);
    guest.text("<2>");
    let mut third = host.client_of(&again(&format!("{run}/1"))).await;
    third.until(&format!("id: {run}/1\n\n")).await;
    third.until(&format!("id: {run}/2\ndata: <2>\n\n")).await;
    assert_eq!(host.directory.running(), 1, "nothing was started");
    guest.done().await;
    third.until(&format!("event: done\nid: {run}/3\n")).await;
    host.reaches(&run, "done").await;
    let mut late = host.client_of(&again(&format!("{run}/1"))).await;
    assert_eq!(late.events().await, expected(&run, 2, 1));
    assert_eq!(host.ask(&again(&format!("{run}/3"))).await.status(), 204, "it has seen the end");
}

#[tokio::test]
async fn an_event_source_without_a_run_to_go_on_with_is_told_to_stop_asking() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    let unknown = RunId::new();
    for last in ["3", "", "nonsense", &format!("{run}/x"), &format!("{unknown}/1")] {
        let last = format!("last-event-id: {last}\r\n");
        let response = host.ask(&bare("GET", "/agents/chat/alice?prompt=hello", &last)).await;
        assert_eq!(response.status(), 204, "{last}");
    }
    let of_another = format!("last-event-id: {run}/0\r\n");
    let response = host.ask(&bare("GET", "/agents/chat/bob?prompt=hello", &of_another)).await;
    assert_eq!(response.status(), 204, "the run is alice's");
    assert_eq!(host.directory.running(), 1, "nothing was started");
    guest.done().await;
}

#[tokio::test]
async fn the_last_event_can_be_told_in_both_forms_and_the_header_is_newer() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    for number in 1..=3 {
        guest.text(&format!("<{number}>"));
    }
    guest.done().await;
    for (query, header, after) in [
        ("", "", 0),
        ("?after=1", "", 1),
        ("", "last-event-id: 2\r\n", 2),
        ("", &*format!("last-event-id: {run}/2\r\n"), 2),
        (&*format!("?after={run}/1"), "", 1),
        ("?after=1", "last-event-id: 3\r\n", 3),
    ] {
        let mut client = host.client_of(&bare("GET", &format!("/runs/{run}{query}"), header)).await;
        assert_eq!(client.events().await, expected(&run, 3, after), "{query} {header}");
    }
    let other = RunId::new();
    for (query, header) in [
        ("?after=x", ""),
        ("?after=", ""),
        ("?after=-1", ""),
        ("?after=1", "last-event-id: x\r\n"),
        ("", &*format!("last-event-id: {other}/2\r\n")),
    ] {
        let response = host.ask(&bare("GET", &format!("/runs/{run}{query}"), header)).await;
        assert_eq!(
            (response.status(), response.problem().as_str()),
            (400, "bad-event-id"),
            "{query} {header}"
        );
    }
}

#[tokio::test]
async fn a_text_is_followed_from_any_event_and_breaks_off_where_its_run_failed() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    guest.text("a");
    guest.write(Chunk::Reasoning("hm".into()));
    guest.text("b");
    let path = format!("/runs/{run}");
    let mut during = host.client_of(&bare("GET", &format!("{path}?after=1"), TEXT)).await;
    during.until("1\r\nb\r\n").await;
    guest.text("c");
    during.until("1\r\nc\r\n").await;
    guest.end(Err(Failure::new(Code::Failed, "the model has no more to say"))).await;
    assert_eq!(during.rest().await, b"", "no last chunk");
    host.reaches(&run, "failed").await;
    let mut after = host.client_of(&bare("GET", &path, TEXT)).await;
    assert_eq!(after.head().await.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(after.rest().await, b"1\r\na\r\n2\r\nbc\r\n", "no last chunk");
    let nothing_left = host.ask(&bare("GET", &format!("{path}?after=4"), TEXT)).await;
    assert_eq!((nothing_left.status(), nothing_left.problem().as_str()), (500, "failed"));
}

#[tokio::test]
async fn a_state_is_told_at_once_and_says_what_is_known() {
    let mut host = Host::keeping(POLICY).await;
    let (first, guest) = host.begun("runs").await;
    let queued = host.ask(&post("prefer: respond-async\r\n", "waits")).await;
    let second = queued.header("run-id").unwrap().to_owned();

    let waiting = host.state(&second).await;
    assert_eq!(
        (&waiting["state"], &waiting["place"]),
        (&"queued".into(), &0.into()),
        "it is the next: {waiting}"
    );
    assert_eq!(waiting, queued.json(), "what a client is told in the beginning is the same");
    for unknown in ["started", "ended", "generation", "problem", "usage"] {
        assert!(waiting.get(unknown).is_none(), "{waiting}");
    }
    guest.text("hi");
    let running = host.reaches(&first, "running").await;
    assert_eq!((&running["agent"], &running["prompt"]), (&"chat/alice".into(), &"runs".into()));
    assert!(running["origin"]["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{running}");
    assert_eq!((&running["events"], &running["generation"]), (&1.into(), &1.into()));
    assert!(running["started"].as_str() >= running["submitted"].as_str(), "{running}");
    assert!(running.get("place").is_none() && running.get("ended").is_none(), "{running}");
    assert!(running.get("usage").is_none(), "no model was asked: {running}");
    guest.spent(Spent { requests: 1, input_tokens: 31, ..Spent::default() });
    let asked = json!({ "requests": 1, "input_tokens": 31, "output_tokens": 0 });
    assert_eq!(host.state(&first).await["usage"], asked);
    guest.spent(Spent { requests: 2, input_tokens: 31, output_tokens: 12, money: Money(123) });

    guest.done().await;
    let done = host.reaches(&first, "done").await;
    assert_eq!(done["events"], 2);
    let usage = json!({ "requests": 2, "input_tokens": 31, "output_tokens": 12, "money": "0.000123" });
    assert_eq!(done["usage"], usage);
    let listed = host.ask(&bare("GET", "/runs", "")).await.json();
    assert_eq!((&listed["runs"][1]["run"], &listed["runs"][1]["usage"]), (&done["run"], &usage));
    assert!(listed["runs"][0].get("usage").is_none(), "{listed}");
    assert!(done["ended"].as_str() >= done["started"].as_str() && done.get("problem").is_none(), "{done}");
    host.run().await.end(Err(Failure::new(Code::Rejected, "no"))).await;
    let failed = host.reaches(&second, "failed").await;
    assert_eq!((&failed["problem"]["code"], &failed["problem"]["status"]), (&"rejected".into(), &422.into()));
    assert_eq!(failed["problem"]["run"], second);

    let response = host.ask(&bare("GET", &format!("/runs/{first}"), DOCUMENT)).await;
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("run-id"), Some(&*first));
}

#[tokio::test]
async fn a_run_that_nobody_knows_is_a_problem_of_its_own() {
    let host = Host::keeping(POLICY).await;
    let unknown = format!("/runs/{}", RunId::new());
    for target in [&*unknown, "/runs/1", "/runs/", "/runs/%ff"] {
        for method in ["GET", "DELETE"] {
            let response = host.ask(&bare(method, target, "")).await;
            assert_eq!((response.status(), response.problem().as_str()), (404, "unknown-run"), "{target}");
        }
    }
}

#[tokio::test]
async fn head_says_what_get_would_and_follows_nothing() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    let mut client = host.client().await;
    for (accept, content_type) in
        [("", "text/event-stream"), (TEXT, "text/plain; charset=utf-8"), (DOCUMENT, "application/json")]
    {
        client.send(bare("HEAD", &format!("/runs/{run}"), accept)).await;
        let head = client.head().await;
        assert_eq!((head.status(), head.header("content-type")), (200, Some(content_type)));
        assert_eq!(
            (head.header("run-id"), head.header("content-length").is_some()),
            (Some(&*run), accept == DOCUMENT)
        );
    }
    client.send(bare("HEAD", "/runs", "")).await;
    assert_eq!(client.head().await.status(), 200);
    client.send(bare("HEAD", &format!("/runs/{}", RunId::new()), "")).await;
    assert_eq!(client.head().await.status(), 404);
    guest.done().await;
}

#[tokio::test]
async fn a_run_takes_no_other_method() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    let response = host.ask(&bare("POST", &format!("/runs/{run}"), "")).await;
    assert_eq!(response.problem(), "method-not-allowed");
    assert_eq!(response.header("allow"), Some("GET, HEAD, DELETE, OPTIONS"));
    assert_eq!(host.ask(&bare("DELETE", "/runs", "")).await.header("allow"), Some("GET, HEAD, OPTIONS"));
    guest.done().await;
}
