//! What a guest may take, and what is said when it takes more.

use futures_util::future::join_all;
use rookery_tests::TestHost;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_outgrows_its_memory_is_told_apart_from_one_that_traps() {
    let host = TestHost::builder().plugin("badly", "[limits]\nmemory = \"4MiB\"\n").start().await;
    let answer = host.client().ask("badly/x", "grow").await;
    assert_eq!(answer.json()["code"], "memory-exceeded");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("4MiB") && detail.contains("`memory`"), "{detail}");
    assert_eq!(host.client().text("badly/x", "count").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_fit_from_the_start_is_said_so() {
    let host = TestHost::builder().plugin("badly", "[limits]\nmemory = \"64KiB\"\n").start().await;
    assert_eq!(host.client().code("badly/x", "count").await, "memory-exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_run_that_spins_one_that_waits_and_one_that_blocks() {
    let host = TestHost::builder().plugin("badly", "[runs]\ndeadline = \"1s\"\n").start().await;
    let client = host.client();
    let ended = ["spin", "never", "block"].map(|deed| {
        let client = client.clone();
        async move {
            let agent = format!("badly/{deed}");
            assert_eq!(client.code(&agent, deed).await, "deadline-exceeded", "{deed}");
            assert_eq!(client.text(&agent, "count").await, "1", "{deed}: a new instance");
        }
    });
    join_all(ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion_traps_and_harms_nobody() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    let answer = client.ask("badly/x", "recurse").await;
    assert_eq!(answer.json()["code"], "trapped");
    assert_eq!(client.text("badly/x", "count").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_past_the_output_limit_is_an_honest_failure() {
    let host = TestHost::builder().plugin("badly", "[limits]\noutput = \"64KiB\"\n").start().await;
    let client = host.client();
    assert_eq!(client.code("badly/x", "ignore-refusals 1000000").await, "output-too-large");
    assert_eq!(client.code("badly/x", "huge 100000").await, "output-too-large");
    assert_eq!(client.text("badly/x", "count").await, "3", "the instance is as good as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_huge_chunk_within_the_limit_arrives_whole() {
    let host = TestHost::serving(&["badly"]).await;
    let text = host.client().text("badly/x", "huge 10000000").await;
    assert_eq!(text.len(), 10_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cannot_forge_events_of_the_host() {
    let host = TestHost::serving(&["badly"]).await;
    let stream = host.client().prompt("badly/x", "forge").await.whole().await.body;
    let ends = stream.lines().filter(|line| line.starts_with("event: ")).collect::<Vec<_>>();
    assert_eq!(ends, ["event: done"]);
    let ids = stream.lines().filter(|line| line.starts_with("id: ")).collect::<Vec<_>>();
    assert_eq!(ids, ["id: 1", "id: 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_agent_makes_room_for_a_new_one() {
    let host =
        TestHost::builder().plugin("counter", "").config(|config| config.limits.live = 2).start().await;
    let client = host.client();
    assert_eq!(client.text("counter/old", "count").await, "1");
    assert_eq!(client.text("counter/new", "count").await, "1");
    assert_eq!(client.text("counter/third", "count").await, "1");
    assert_eq!(client.text("counter/new", "count").await, "2", "kept its instance");
    assert_eq!(client.text("counter/old", "count").await, "1", "had to go");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_full_of_runs_says_so() {
    let host = TestHost::builder().plugin("badly", "").config(|config| config.limits.runs = 1).start().await;
    let client = host.client();
    let _running = client.prompt("badly/x", "never").await;
    let refused = client.ask("badly/y", "count").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["code"], "overloaded");
    assert!(refused.headers.contains_key("retry-after"));
}
