//! What happens to a run that comes while another one is there, as the guests see it.

use rookery_tests::TestHost;

async fn host(sidecar: &str) -> TestHost {
    TestHost::builder().plugin("witness", &format!("[runs]\n{sidecar}\n")).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_2_runs_are_served_one_after_another_unless_the_plugin_says_otherwise() {
    let host = host("").await;
    let client = host.client();
    let mut first = client.prompt("witness/x", "hold").await;
    first.until("run 1, 1 inside, 1 at most").await;
    let mut second = client.prompt("witness/x", "look").await;
    let state = client.state(&second.run()).await;
    assert_eq!((&state["state"], &state["place"]), (&"queued".into(), &0.into()), "{state}");
    client.cancel(&first.run()).await;
    second.until("data: run 2, 1 inside, 1 at most\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_reject_a_run_that_comes_while_another_is_there() {
    let host = host("overlap = \"reject\"").await;
    let client = host.client();
    let mut first = client.prompt("witness/x", "hold").await;
    first.until("run 1").await;
    let refused = client.ask("witness/x", "look").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (409, &"busy".into()));
    assert_eq!(client.text("witness/y", "look").await, "run 1, 1 inside, 1 at most");
    client.cancel(&first.run()).await;
    first.rest().await;
    assert_eq!(client.text("witness/x", "look").await, "run 2, 1 inside, 1 at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_be_interrupted_by_the_newest_run() {
    let host = host("overlap = \"interrupt\"").await;
    let client = host.client();
    let mut first = client.prompt("witness/x", "hold").await;
    first.until("run 1").await;
    assert_eq!(
        client.text("witness/x", "look").await,
        "run 2, 1 inside, 1 at most",
        "the same instance, as the first one returned"
    );
    assert!(first.rest().await.contains(r#""code":"cancelled""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_have_runs_overlap_in_one_instance_and_only_so_many() {
    let host = host("overlap = \"concurrent\"\nconcurrency = 3").await;
    let client = host.client();
    let (first, second) =
        tokio::join!(client.text("witness/x", "join 2"), client.text("witness/x", "join 2"));
    let mut seen = [first, second];
    seen.sort();
    assert!(seen[0].starts_with("run 1, ") && seen[1].starts_with("run 2, "), "one instance: {seen:?}");
    assert!(seen.iter().all(|seen| seen.ends_with("2 at most")), "{seen:?}");

    let mut holding = Vec::new();
    for run in 3..=5 {
        let mut stream = client.prompt("witness/x", "hold").await;
        stream.until(&format!("run {run}, ")).await;
        holding.push(stream);
    }
    let mut next = client.prompt("witness/x", "look").await;
    assert_eq!(client.state(&next.run()).await["state"], "queued");
    client.cancel(&holding[1].run()).await;
    assert!(holding[1].rest().await.contains(r#""stop":"returned""#));
    next.until("data: run 6, 3 inside, 3 at most\n").await;
    for stream in [&holding[0], &holding[2]] {
        assert_eq!(client.state(&stream.run()).await["state"], "running", "the others do not notice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_return_costs_the_runs_beside_it_their_instance() {
    let host = host("overlap = \"concurrent\"\ngrace = \"100ms\"").await;
    let client = host.client();
    let mut stuck = client.prompt("witness/x", "stay").await;
    stuck.until("run 1").await;
    let mut other = client.prompt("witness/x", "hold").await;
    other.until("run 2, 2 inside").await;
    client.cancel(&stuck.run()).await;
    assert!(stuck.rest().await.contains(r#""stop":"dropped""#));
    let run = stuck.run();
    let end = other.rest().await;
    assert!(end.contains(r#""code":"instance-lost""#) && end.contains(&run), "{end}");
    assert_eq!(client.text("witness/x", "look").await, "run 1, 1 inside, 1 at most", "a new instance");
}
