//! What may be spent on models: refused before a call, ended in its midst, counted in any case.

use rookery_tests::TestHost;
use rookery_tests::host::PRACTICE;
use rookery_usage::{By, Of, Query, Row};
use serde_json::json;

async fn asker(budget: &str) -> TestHost {
    let builder = TestHost::builder().practising().await.price("practice", 1, 2);
    builder.plugin("asker", &format!("{PRACTICE}{budget}")).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_budget_leaves_no_room_for_is_refused_before_it_begins() {
    let host = asker("[budget.agent]\nrequests = 1\n").await;
    let client = host.client();
    assert_eq!(client.text("asker/x", "forward hello").await.lines().next(), Some("You said: hello"));
    for how in ["forward", "forget", "loop"] {
        let answer = client.ask("asker/x", &format!("{how} hello")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (429, &json!("over-budget")), "{how}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("this agent"), "{how}: {}", answer.body);
    }
    assert_eq!(client.text("asker/y", "forget hello").await, "You said: hello", "another agent has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_where_its_runs_budget_does() {
    let host = asker("[budget.run]\ntokens = 40\n").await;
    let client = host.client();
    for how in ["forward", "forget", "loop", "one-by-one"] {
        let stream =
            client.prompt("asker/x", &format!("{how} /tokens 2000 /delay 1")).await.whole().await.body;
        assert!(stream.contains("data: t1\n") && !stream.contains("t2000"), "{how}: {stream}");
        assert!(
            stream.contains("event: usage") && stream.contains("\"code\":\"over-budget\""),
            "{how}: {stream}"
        );
    }
    assert_eq!(client.text("asker/x", "forget hello").await, "You said: hello", "the next run has its own");
    let helped = client.text("asker/x", "help /tokens 2000 /delay 1").await;
    assert!(helped.contains("instead of Error::OverBudget"), "the guest is told: {helped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_counted_by_the_price_of_the_model() {
    // A token out costs two millionths, one in a single one: a hundred words are more than this.
    let host = asker("[budget.plugin]\nmoney = \"0.000150\"\n").await;
    let client = host.client();
    assert_eq!(client.code("asker/x", "forget /tokens 500 /delay 1").await, "over-budget");
    assert_eq!(client.code("asker/y", "forget hello").await, "over-budget", "the plugin's day is spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_whose_money_is_limited_is_refused_a_model_without_a_price() {
    let sidecar = format!("{PRACTICE}[budget.run]\nmoney = 1\n");
    let host = TestHost::builder().practising().await.plugin("asker", &sidecar).start().await;
    let [refused] = host.refused() else { panic!("{:?}", host.refused()) };
    assert!(refused.error.contains("`practice` has no price"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_runs_at_once_exceed_a_budget_by_what_was_under_way_and_no_more() {
    let host =
        asker("[budget.plugin]\ntokens = 2000\n[runs]\noverlap = \"concurrent\"\nconcurrency = 64\n").await;
    let client = host.client();
    let runs = (0..64).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .prompt(&format!("asker/a{}", number % 8), "forget /tokens 400 /delay 1")
                .await
                .whole()
                .await
                .body
        })
    });
    let (mut over, mut words) = (0, 0);
    for run in runs.collect::<Vec<_>>() {
        let stream = run.await.unwrap();
        over += usize::from(stream.contains("\"code\":\"over-budget\""));
        words += stream.matches("\ndata: t").count() + stream.matches("\ndata:  t").count();
    }
    assert!(over > 32, "{over} of 64 were stopped or refused");
    // Each word is counted as a token or two; a batch of a call that was open may come on top.
    assert!(words <= 2000 + 64 * 400 / 8, "{words} words");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_is_reported_by_agent_and_model_also_beside_a_host_that_runs() {
    let data = tempfile::tempdir().unwrap();
    let builder = TestHost::builder().practising().await.price("practice", 1, 2).data(data.path());
    let host = builder.plugin("asker", PRACTICE).start().await;
    let client = host.client();
    for how in ["forget", "loop"] {
        let stream = client.prompt("asker/x", &format!("{how} /tokens 5")).await;
        let run = stream.run();
        stream.whole().await;
        let usage = client.state(&run).await["usage"].clone();
        assert_eq!((&usage["requests"], &usage["output_tokens"]), (&json!(1), &json!(5)), "{how}: {usage}");
    }
    client.ask("asker/x", "forget /fail 500").await;
    client.text("asker/y", "embed one two").await;
    host.drain(std::time::Duration::from_secs(5)).await;

    let today = rookery_usage::Day::of(std::time::SystemTime::now());
    let query = Query { of: Of::All, from: today.before(1), to: today, by: By::Agent, limit: 10 };
    let rows = rookery_usage::report(data.path(), &query).unwrap();
    let row = |name: &str| -> &Row {
        rows.iter()
            .find(|row| row.agent.as_ref().is_some_and(|agent| agent.name.as_str() == name))
            .expect(name)
    };
    let spent = &row("x").spent;
    assert_eq!((spent.requests, spent.input_tokens, spent.output_tokens), (3, 4, 10), "{spent:?}");
    assert_eq!(spent.money.0, 4 + 20);
    assert_eq!(row("y").spent.requests, 1);
}
