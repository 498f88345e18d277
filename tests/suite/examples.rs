//! The examples do what README says of them.

use std::time::Duration;

use rookery_core::{AgentId, Durability};
use rookery_models::{Key, Provider};
use rookery_storage::{Databases, Order, Range};
use rookery_tests::TestHost;
use rookery_tests::host::{PRACTICE, practice, practice_model};
use tempfile::TempDir;

async fn chat() -> TestHost {
    TestHost::builder().practising().await.plugin("chat", PRACTICE).start().await
}

/// A host that can be started again on the same data.
async fn keeping(plugin: &str, sidecar: &str, data: &TempDir) -> TestHost {
    TestHost::builder().practising().await.plugin(plugin, sidecar).data(data.path()).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_answers_word_by_word() {
    let host = TestHost::serving(&["echo"]).await;
    let stream = host.client().prompt("echo/alice", "one two  three").await.whole().await.body;
    assert!(
        stream.contains("id: 1\ndata: one \n\nid: 2\ndata: two \n\nid: 3\ndata:  \n\nid: 4\ndata: three\n\n"),
        "{stream}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn counter_refuses_what_it_does_not_know() {
    let host = TestHost::serving(&["counter"]).await;
    let answer = host.client().ask("counter/alice", "what is love").await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["code"], "rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_kept_in_order_and_are_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let host = keeping("notes", "", &data).await;
    let client = host.client();
    assert_eq!(client.text("notes/alice", "list").await, "");
    assert_eq!(client.text("notes/alice", "add buy milk").await, "1. buy milk");
    for number in 2..=11 {
        client.text("notes/alice", &format!("add note {number}")).await;
    }
    assert_eq!(client.text("notes/alice", "delete 3").await, "3 is deleted");
    assert_eq!(client.text("notes/alice", "delete 3").await, "there is no 3");
    assert_eq!(client.code("notes/alice", "what is love").await, "rejected");
    host.drain(Duration::from_secs(5)).await;

    let host = keeping("notes", "", &data).await;
    let client = host.client();
    let list = client.text("notes/alice", "list").await;
    assert!(list.starts_with("1. buy milk\n2. note 2\n4. note 4\n"), "{list}");
    assert!(list.ends_with("9. note 9\n10. note 10\n11. note 11\n"), "{list}");
    assert_eq!(client.text("notes/alice", "add tea").await, "12. tea");
    assert_eq!(client.text("notes/bob", "list").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_lists_more_than_a_page_without_leaving_one_out() {
    let host = TestHost::serving(&["notes"]).await;
    let client = host.client();
    for number in 1..=201 {
        client.text("notes/alice", &format!("add {number}")).await;
    }
    let all: String = (1..=201).map(|number| format!("{number}. {number}\n")).collect();
    assert_eq!(client.text("notes/alice", "list").await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_adds_up_what_each_has_paid_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let host = keeping("ledger", "", &data).await;
    let client = host.client();
    assert_eq!(client.text("ledger/trip", "report").await, "");
    assert_eq!(client.text("ledger/trip", "alice 10 lunch").await, "alice paid 10 for lunch\n");
    client.text("ledger/trip", "bob 7 taxi\nalice 2 coffee\nalice 3 lunch").await;
    host.drain(Duration::from_secs(5)).await;

    let host = keeping("ledger", "", &data).await;
    let report = host.client().text("ledger/trip", "report").await;
    assert_eq!(report, "alice paid 15 for coffee,lunch\nbob paid 7 for taxi\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_refuses_a_line_and_keeps_those_before_it() {
    let host = TestHost::serving(&["ledger"]).await;
    let client = host.client();
    let answer = client.ask("ledger/trip", "alice 10 lunch\nbob 0 nothing\nbob 7 taxi").await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["detail"], "CHECK constraint failed: an amount is 1 to 1,000,000");
    assert_eq!(client.text("ledger/trip", "report").await, "alice paid 10 for lunch\n");
    for refused in ["what is love", "alice", "alice 1"] {
        assert_eq!(client.code("ledger/trip", refused).await, "rejected", "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_takes_a_name_for_a_name_whatever_it_says() {
    let host = TestHost::serving(&["ledger"]).await;
    let line = "x',1,'');DELETE/**/FROM/**/paid;-- 1 tea";
    let report = "x',1,'');DELETE/**/FROM/**/paid;-- paid 1 for tea\n";
    assert_eq!(host.client().text("ledger/trip", line).await, report);
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_wakes_with_what_it_knew_when_it_went_to_sleep_and_when_the_host_stopped() {
    let data = tempfile::tempdir().unwrap();
    for (seen, sleeps) in [(1, "1h"), (2, "10ms"), (3, "10ms")] {
        let sidecar = format!("[lifecycle]\nsleep_after = \"{sleeps}\"\n");
        let host = keeping("hits", &sidecar, &data).await;
        let client = host.client();
        assert_eq!(client.text("hits/site", "/about").await, (2 * seen - 1).to_string());
        if sleeps != "1h" {
            host.asleep().await;
        }
        assert_eq!(client.text("hits/site", "/about").await, (2 * seen).to_string());
        host.drain(Duration::from_secs(5)).await;
    }
    let host = keeping("hits", "", &data).await;
    let client = host.client();
    assert_eq!(client.text("hits/site", "/").await, "1");
    assert_eq!(client.text("hits/site", "top").await, "6 /about\n1 /\n");
    assert_eq!(client.code("hits/site", "what is love").await, "rejected");
    assert_eq!(client.code("hits/site", &format!("/{}", "a".repeat(256))).await, "rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_loses_fewer_than_a_hundred_views_where_nobody_tells_it_to_sleep() {
    let data = tempfile::tempdir().unwrap();
    let host = keeping("hits", "", &data).await;
    for seen in 1..=130 {
        assert_eq!(host.client().text("hits/site", "/about").await, seen.to_string());
    }
    // Its file is as a host finds it that was started after this one was killed.
    let copies = tempfile::tempdir().unwrap();
    let databases = Databases::open(data.path().join("agents"), Durability::Normal).unwrap();
    let site = AgentId { plugin: "hits".parse().unwrap(), name: "site".parse().unwrap() };
    let copy = copies.path().join("site.db");
    databases.export(&site, &copy).unwrap();
    Databases::open(copies.path().join("agents"), Durability::Normal).unwrap().import(&site, &copy).unwrap();

    let host = keeping("hits", "", &copies).await;
    assert_eq!(host.client().text("hits/site", "top").await, "100 /about\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_passes_on_every_delta_as_a_chunk_of_its_own() {
    let host = chat().await;
    let stream = host.client().prompt("chat/alice", "/tokens 3").await.whole().await.body;
    assert!(stream.starts_with("id: 1\ndata: t1\n\nid: 2\ndata:  t2\n\nid: 3\ndata:  t3\n\n"), "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_remembers_what_was_said_to_this_agent_and_no_other() {
    let host = chat().await;
    let client = host.client();
    assert_eq!(client.text("chat/alice", "hello").await, "You said: hello");
    assert_eq!(client.text("chat/alice", "/history").await, "This conversation has 3 messages.");
    assert_eq!(client.text("chat/bob", "/history").await, "This conversation has 1 message.");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_remembers_what_was_said_before_it_slept_and_before_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let sidecar = format!("{PRACTICE}[lifecycle]\nsleep_after = \"10ms\"\n");
    for start in 0..2 {
        let host = keeping("chat", &sidecar, &data).await;
        let client = host.client();
        for turn in 1..=2 {
            let messages = 2 * (2 * start + turn) - 1;
            let said =
                format!("This conversation has {messages} message{}.", if messages == 1 { "" } else { "s" });
            assert_eq!(client.text("chat/alice", "/history").await, said);
            host.asleep().await;
        }
        host.drain(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_remembers_so_many_turns_and_keeps_no_more() {
    let data = tempfile::tempdir().unwrap();
    let host = keeping("chat", PRACTICE, &data).await;
    for turn in 0..25 {
        let messages = 2 * turn.min(20) + 1;
        let said = host.client().text("chat/alice", "/history").await;
        assert!(said.starts_with(&format!("This conversation has {messages} message")), "{turn}: {said}");
    }
    host.drain(Duration::from_secs(5)).await;

    let databases = Databases::open(data.path().join("agents"), Durability::Normal).unwrap();
    let alice = AgentId { plugin: "chat".parse().unwrap(), name: "alice".parse().unwrap() };
    let all = Range { prefix: String::new(), after: None, order: Order::Ascending, limit: 1000 };
    assert_eq!(databases.agent(&alice, 1 << 30).list(&all).unwrap().entries.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_makes_the_models_errors_honest_failures() {
    let host = chat().await;
    let client = host.client();
    for (prompt, status, code, says) in [
        ("/fail 429", 503, "unavailable", "429"),
        ("/fail 500", 503, "unavailable", "500"),
        ("/fail 400", 500, "failed", "400"),
        ("/tokens 9 /cut 3", 503, "unavailable", "broke off"),
        ("/tokens 9 /error 3", 503, "unavailable", "broke off"),
    ] {
        let answer = client.ask("chat/alice", prompt).await;
        assert_eq!(answer.status, status, "{prompt}: {}", answer.body);
        assert_eq!(answer.json()["code"], code, "{prompt}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{prompt}: {}", answer.body);
    }
    assert_eq!(client.text("chat/alice", "/history").await, "This conversation has 1 message.");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_never_sees_the_key_that_the_host_adds() {
    let provider = Provider { key: Key::new("sk-secret-9876"), ..practice(practice_model().await) };
    let host = TestHost::builder().model("practice", vec![provider]).plugin("chat", PRACTICE).start().await;
    assert_eq!(host.client().text("chat/alice", "/whoami").await, "authorization: Bearer ****9876");
}

#[tokio::test(flavor = "multi_thread")]
async fn reminder_wakes_by_itself_and_says_what_it_was_to_remind_of() {
    let data = tempfile::tempdir().unwrap();
    let host = keeping("reminder", "", &data).await;
    let client = host.client();
    assert_eq!(client.text("reminder/alice", "600 drink tea").await, "");
    assert_eq!(client.text("reminder/alice", "list").await, "drink tea\n");
    assert_eq!(client.text("reminder/alice", "0 stand up").await, "");
    let ring = loop {
        let runs = client.get("/runs?agent=reminder/alice&state=done").await.json()["runs"].clone();
        let rings = |run: &&serde_json::Value| run["origin"]["schedule"] == "stand up";
        if let Some(ring) = runs.as_array().unwrap().iter().find(rings) {
            break ring["run"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    let headers = [("accept", "text/plain")];
    let said =
        client.send(http::Method::GET, &format!("/runs/{ring}"), &headers, "").await.whole().await.body;
    assert_eq!(said, "it is time: stand up");
    assert_eq!(client.text("reminder/alice", "cancel drink tea").await, "");
    assert_eq!(client.text("reminder/alice", "list").await, "");
    assert_eq!(client.code("reminder/alice", "drink tea").await, "rejected");
}
