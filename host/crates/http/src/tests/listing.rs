//! Runs by the page.

use rookery_agents::guest::Policy;
use serde_json::json;

use super::support::{Host, POLICY, bare, post};

/// The runs on a page, and where the next one is.
async fn page(host: &Host, target: &str) -> (Vec<String>, Option<String>) {
    let page = host.ask(&bare("GET", target, "")).await;
    assert_eq!((page.status(), page.header("content-type")), (200, Some("application/json")), "{page:?}");
    let page = page.json();
    let runs = page["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned());
    (runs.collect(), page["next"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_a_page_at_a_time() {
    let mut host = Host::keeping(POLICY).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        let (run, guest) = host.begun("hello").await;
        guest.done().await;
        host.reaches(&run, "done").await;
        all.insert(0, run);
    }
    assert_eq!(page(&host, "/runs").await, (all.clone(), None));
    for (limit, pages) in [(1, 6), (2, 3), (4, 2), (5, 2), (6, 1)] {
        let (mut seen, mut next, mut count) = (Vec::new(), Some(format!("/runs?limit={limit}")), 0);
        while let Some(target) = next {
            let (mut runs, following) = page(&host, &target).await;
            assert!(runs.len() <= limit);
            seen.append(&mut runs);
            (next, count) = (following, count + 1);
        }
        assert_eq!((&seen, count), (&all, pages), "by {limit}");
    }
}

#[tokio::test]
async fn runs_are_listed_by_agent_and_by_state() {
    let mut host = Host::keeping(POLICY).await;
    let (done, guest) = host.begun("hello").await;
    guest.done().await;
    host.reaches(&done, "done").await;
    let (running, guest) = host.begun("hello").await;
    host.reaches(&running, "running").await;
    let queued = host.ask(&post("prefer: respond-async\r\n", "waits")).await;
    let queued = queued.header("run-id").unwrap().to_owned();
    let other = host.ask(&post("prefer: respond-async\r\n", "hello").replace("alice", "bob")).await;
    let other = other.header("run-id").unwrap().to_owned();
    let bobs = host.run().await;
    host.reaches(&other, "running").await;
    for (target, expected) in [
        ("/runs?agent=chat/alice", vec![&queued, &running, &done]),
        ("/runs?agent=chat%2Fbob", vec![&other]),
        ("/runs?agent=chat/nobody", vec![]),
        ("/runs?state=running", vec![&other, &running]),
        ("/runs?state=running&agent=chat/alice", vec![&running]),
        ("/runs?state=queued", vec![&queued]),
        ("/runs?state=done", vec![&done]),
        ("/runs?state=failed", vec![]),
        (&*format!("/runs?before={queued}"), vec![&running, &done]),
    ] {
        let (runs, next) = page(&host, target).await;
        assert_eq!((runs.iter().collect::<Vec<_>>(), next), (expected, None), "{target}");
    }
    bobs.done().await;
    guest.done().await;
    host.run().await.done().await;
}

#[tokio::test]
async fn a_page_says_of_each_run_what_its_state_says() {
    let mut host = Host::keeping(Policy { queue: 2, ..POLICY }).await;
    let (run, guest) = host.begun("hello").await;
    host.reaches(&run, "running").await;
    let listed = host.ask(&bare("GET", "/runs", "")).await.json();
    assert_eq!(listed["runs"][0], host.state(&run).await);
    guest.done().await;
}

#[tokio::test]
async fn a_long_prompt_is_cut_on_a_page_and_whole_in_its_state() {
    let mut host = Host::keeping(POLICY).await;
    let long = "long ".repeat(1_000);
    let (run, guest) = host.begun(&long).await;
    host.reaches(&run, "running").await;
    let check = async || {
        let page = host.ask(&bare("GET", "/runs", "")).await.json();
        let (listed, whole) = (&page["runs"][0], host.state(&run).await);
        assert_eq!((&listed["prompt"], &listed["prompt_truncated"]), (&json!(long[..1024]), &json!(true)));
        assert_eq!((&whole["prompt"], &whole["prompt_truncated"]), (&json!(long), &json!(null)));
    };
    check().await;
    guest.done().await;
    host.reaches(&run, "done").await;
    check().await;
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused() {
    let host = Host::keeping(POLICY).await;
    for query in ["limit=0", "limit=501", "state=asleep", "before=1", "agent=alice", "page=2"] {
        let response = host.ask(&bare("GET", &format!("/runs?{query}"), "")).await;
        assert_eq!((response.status(), response.problem().as_str()), (400, "bad-query"), "{query}");
        let name = query.split('=').next().unwrap();
        assert!(response.json()["detail"].as_str().unwrap().contains(&format!("`{name}`")), "{response:?}");
    }
}
