//! Instances that come and go under an agent that stays.

use rookery_tests::TestHost;

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_has_been_idle_is_dropped_and_the_next_run_meets_a_new_one() {
    let host = TestHost::builder().plugin("counter", "[lifecycle]\nsleep_after = \"50ms\"\n").start().await;
    for _ in 0..3 {
        assert_eq!(host.client().text("counter/alice", "count").await, "1");
        host.asleep().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_left_over_keeps_an_instance_awake() {
    let host = TestHost::builder().plugin("badly", "[lifecycle]\nsleep_after = \"1ms\"\n").start().await;
    let client = host.client();
    assert_eq!(client.text("badly/alice", "leave-work 300").await, "left");
    // Left to itself the instance would be gone by the time that the next connection is there.
    assert_eq!(client.text("badly/alice", "work-done").await, "true");
}
