//! The promises of the design, each by name, proved from inside the guest where that is possible.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rookery_tests::host::PRACTICE;
use rookery_tests::{Client, TestHost};

#[tokio::test]
async fn promise_1_one_thousand_concurrent_first_requests_meet_one_instance() {
    let host = TestHost::serving(&["counter"]).await;
    let client = Client::http2(host.address());
    let asked = (0..1_000).map(|_| client.text("counter/alice", "count"));
    let answers: BTreeSet<u32> = join_all(asked).await.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(answers, (1..=1_000).collect());
}

#[tokio::test]
async fn promise_1_every_name_has_an_instance_of_its_own() {
    let host = TestHost::serving(&["counter"]).await;
    let client = host.client();
    assert_eq!(client.text("counter/alice", "count").await, "1");
    assert_eq!(client.text("counter/alice", "who").await, "counter/alice, run 2");
    assert_eq!(client.text("counter/bob", "who").await, "counter/bob, run 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_runs_of_one_agent_are_served_one_after_another_in_their_order() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    let mut first = client.prompt("badly/x", "nap 100").await;
    // Each was accepted before the next was sent: its head has been answered.
    let mut second = client.prompt("badly/x", "count").await;
    let mut third = client.prompt("badly/x", "count").await;
    assert!(third.rest().await.contains("data: 3"));
    assert!(second.rest().await.contains("data: 2"));
    assert!(first.rest().await.contains("event: done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_after_a_trap_everything_happens_in_a_new_instance() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    assert_eq!(client.text("badly/x", "count").await, "1");
    assert_eq!(client.text("badly/x", "count").await, "2");
    let mut trapped = client.prompt("badly/x", "trap").await;
    let mut queued = client.prompt("badly/x", "count").await;
    assert!(trapped.rest().await.contains(r#""code":"trapped""#));
    assert!(queued.rest().await.contains("data: 1\n"), "a new instance");
    assert_eq!(client.text("badly/x", "count").await, "2", "which stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_a_trap_in_work_left_over_takes_the_instance_and_no_run() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    let mut left = client.prompt("badly/x", "leave-a-trap").await;
    assert!(left.rest().await.contains("event: done"));
    // The trap comes by itself, a moment later; the run that meets it, if one does, says so.
    loop {
        let answer = client.ask("badly/x", "count").await;
        if answer.status == 200 && answer.json()["text"] == "1" {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_3_every_stream_ends_with_exactly_one_outcome() {
    let host = TestHost::builder().plugin("badly", "[runs]\ndeadline = \"300ms\"\n").start().await;
    let client = host.client();
    let deeds =
        ["count", "spin", "trap", "trap-midway", "never", "block", "fail", "reject", "away", "grow", "leak"];
    let streams = deeds.map(|deed| {
        let client = client.clone();
        async move {
            let mut stream = client.prompt(&format!("badly/{deed}"), deed).await;
            (deed, stream.rest().await.to_owned())
        }
    });
    for (deed, stream) in join_all(streams).await {
        let ends = stream.matches("event: done\n").count() + stream.matches("event: error\n").count();
        assert_eq!(ends, 1, "{deed}: {stream}");
        let last = stream.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("event: done\n") || last.starts_with("event: error\n"), "{deed}: {stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_4_a_client_that_leaves_does_not_stop_the_run() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    drop(client.prompt("badly/x", "nap 100").await);
    // Had leaving stopped the run, it would have taken the instance with it, and this would be its first.
    assert_eq!(client.text("badly/x", "count").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_5_a_chunk_arrives_although_nothing_follows_it() {
    let host = TestHost::builder().practising().await.plugin("chat", PRACTICE).start().await;
    // The model stalls after three tokens for ever: whatever arrives was not held back for more.
    let mut stream = host.client().prompt("chat/alice", "/tokens 9 /stall 3").await;
    stream.until("data: t1").await;
    stream.until("data:  t3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_5_a_slow_client_neither_slows_the_guest_nor_loses_a_chunk() {
    let host = TestHost::serving(&["badly"]).await;
    let client = host.client();
    // Nobody reads this one yet; its chunks are far more than the sockets' buffers hold.
    let mut unread = client.prompt("badly/x", "flood 200000").await;
    assert_eq!(client.text("badly/x", "count").await, "2", "the flood has been written to its end");
    let stream = unread.rest().await;
    assert!(stream.contains("data: 199999\n"));
    assert!(stream.ends_with("\n\n"));
    assert_eq!(stream.matches("id: ").count(), 200_001, "every chunk and the outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_full_mailbox_is_refused_at_once_and_says_when_to_come_back() {
    let host = TestHost::builder().plugin("badly", "[runs]\nqueue = 2\n").start().await;
    let client = host.client();
    let _running = client.prompt("badly/x", "never").await;
    let mut waiting = Vec::new();
    let refused = loop {
        let stream = client.prompt("badly/x", "count").await;
        if stream.status != 200 {
            break stream;
        }
        waiting.push(stream);
        assert!(
            waiting.len() <= 3,
            "one that runs, two that wait, and one that was on its way between the two"
        );
    };
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.whole().await.json()["code"], "mailbox-full");
    assert_eq!(client.text("badly/y", "count").await, "1", "another agent has its own mailbox");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_8_a_guest_names_no_file_no_environment_and_no_socket() {
    let host = TestHost::serving(&["talker"]).await;
    let client = host.client();
    assert_eq!(client.text("talker/x", "env").await, "[] []");
    assert!(client.text("talker/x", "file /etc/hostname").await.starts_with("Err("));
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = format!("connect {}", open.local_addr().unwrap());
    assert!(client.text("talker/x", &connect).await.starts_with("Err("));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_9_guests_that_spin_leave_a_thread_to_the_others() {
    let host = TestHost::serving(&["badly", "counter"]).await;
    let client = host.client();
    let mut spinning = Vec::new();
    for n in 0..8 {
        spinning.push(client.prompt(&format!("badly/spinner-{n}"), "spin").await);
    }
    // Eight guests that never give up a thread by themselves, on two threads: these would wait for ever.
    for n in 1..=50 {
        assert_eq!(client.text("counter/alice", "count").await, n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_9_a_flood_and_a_trap_elsewhere_are_not_felt() {
    let host = TestHost::serving(&["badly", "counter"]).await;
    let client = host.client();
    let _flood = client.prompt("badly/flood", "flood 100000").await;
    assert_eq!(client.text("counter/alice", "count").await, "1");
    assert_eq!(client.code("badly/x", "trap-midway").await, "trapped");
    assert_eq!(client.text("counter/alice", "count").await, "2");
}
