//! Leaving is not cancelling, and cancelling is a word of its own.

use std::time::Duration;

use rookery_agents::Refusal;
use rookery_agents::guest::Policy;
use rookery_core::Chunk;

use super::support::{Client, Host, POLICY, Response, bare, post, soon};

async fn delete(host: &Host, run: &str) -> Response {
    let response = host.ask(&bare("DELETE", &format!("/runs/{run}"), "accept: image/png\r\n")).await;
    assert_eq!(response.header("location"), Some(&*format!("/runs/{run}")));
    assert_eq!(response.json()["run"], run);
    response
}

/// The `error` event that ends a stream.
async fn error(client: &mut Client) -> serde_json::Value {
    let (_, data) = client.events().await.pop().unwrap();
    serde_json::from_str(&data).unwrap()
}

#[tokio::test]
async fn a_client_that_leaves_has_not_cancelled_and_can_come_back() {
    let mut host = Host::keeping(POLICY).await;
    let mut client = host.client_of(&post("", "hello")).await;
    let guest = host.run().await;
    let run = guest.0.prompt.run.to_string();
    client.head().await;
    drop(client);
    guest.text("on");
    let mut back = host.client_of(&bare("GET", &format!("/runs/{run}"), "")).await;
    back.until("data: on\n\n").await;
    assert!(!guest.0.ended.is_cancelled());
    guest.done().await;
    assert_eq!(host.reaches(&run, "done").await["events"], 2);
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_waits_never_starts() {
    let mut host = Host::keeping(POLICY).await;
    let (_, guest) = host.begun("runs").await;
    let mut waiting = host.client_of(&post("", "waits")).await;
    let run = waiting.has_head().await.header("run-id").unwrap().to_owned();
    let response = delete(&host, &run).await;
    assert_eq!(response.status(), 200, "it is over already");
    let state = response.json();
    assert_eq!((&state["state"], &state["problem"]["stop"]), (&"cancelled".into(), &"before-start".into()));
    let error = error(&mut waiting).await;
    assert_eq!((&error["code"], &error["stop"]), (&"cancelled".into(), &"before-start".into()));
    assert_eq!(delete(&host, &run).await.json(), state, "twice is no error");
    guest.done().await;
    let (_, next) = host.begun("the next one that starts").await;
    assert_eq!(next.0.prompt.text, "the next one that starts");
    next.done().await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_runs_hears_of_it_and_returns() {
    let mut host = Host::keeping(POLICY).await;
    let mut client = host.client_of(&post("", "hello")).await;
    let guest = host.run().await;
    let run = guest.0.prompt.run.to_string();
    guest.text("on");
    client.until("data: on\n\n").await;
    for _ in 0..2 {
        let response = delete(&host, &run).await;
        assert_eq!((response.status(), &response.json()["state"]), (202, &"running".into()));
    }
    soon(guest.0.ended.cancelled()).await;
    assert_eq!(guest.0.reply.write(Chunk::Text("late".into())), Err(Refusal::Cancelled));
    guest.0.answer.send(Ok(())).unwrap();
    client.until("event: error\nid: 2\ndata: ").await;
    let error: serde_json::Value = serde_json::from_str(&client.until("\n\n").await).unwrap();
    assert_eq!((&error["code"], &error["stop"]), (&"cancelled".into(), &"returned".into()));
    let state = host.reaches(&run, "cancelled").await;
    assert_eq!((&state["problem"], &state["generation"]), (&error, &1.into()));
    let (next, guest) = host.begun("hello").await;
    assert_eq!(host.state(&next).await["generation"], 1, "the instance lives on");
    guest.done().await;
    assert_eq!(delete(&host, &run).await.status(), 200);
}

#[tokio::test]
async fn a_run_that_does_not_return_when_it_is_cancelled_loses_its_instance() {
    let mut host = Host::keeping(Policy { grace: Duration::from_millis(1), ..POLICY }).await;
    let (run, stuck) = host.begun("hello").await;
    assert_eq!(delete(&host, &run).await.status(), 202);
    let state = host.reaches(&run, "cancelled").await;
    assert_eq!(state["problem"]["stop"], "dropped");
    let (next, guest) = host.begun("hello").await;
    assert_eq!(host.state(&next).await["generation"], 2);
    guest.done().await;
    drop(stuck);
}

#[tokio::test]
async fn a_run_that_has_ended_cannot_be_cancelled_any_more_and_that_is_no_error() {
    let mut host = Host::keeping(POLICY).await;
    let (run, guest) = host.begun("hello").await;
    guest.done().await;
    let response = delete(&host, &run).await;
    assert_eq!((response.status(), &response.json()["state"]), (200, &"done".into()));
}

#[tokio::test]
async fn without_an_archive_too_a_run_can_be_cancelled() {
    let mut host = Host::start().await;
    let (_, guest) = host.begun("runs").await;
    let queued = host.ask(&post("prefer: respond-async\r\n", "waits")).await;
    let run = queued.header("run-id").unwrap();
    assert_eq!(delete(&host, run).await.status(), 200);
    let again = host.ask(&bare("DELETE", &format!("/runs/{run}"), "")).await;
    assert_eq!(again.problem(), "unknown-run", "what has ended is forgotten");
    guest.done().await;
}

#[tokio::test]
async fn a_plugin_that_wants_it_so_has_its_runs_cancelled_when_their_readers_leave() {
    let mut host = Host::keeping(Policy { cancel_on_detach: true, ..POLICY }).await;
    let mut client = host.client_of(&post("", "hello")).await;
    let guest = host.run().await;
    client.head().await;
    drop(client);
    soon(guest.0.ended.cancelled()).await;
    guest.0.answer.send(Ok(())).unwrap();
    let (run, guest) = host.begun("in the background").await;
    assert_eq!(host.state(&run).await["state"], "running");
    assert!(!guest.0.ended.is_cancelled(), "who asks not to wait is not missed");
    guest.done().await;
    host.reaches(&run, "done").await;
}
