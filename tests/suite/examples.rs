//! The examples do what README says of them.

use rookery_tests::TestHost;
use rookery_tests::host::{chat_sidecar, practice_model};

async fn chat() -> TestHost {
    TestHost::builder().plugin("chat", &chat_sidecar(practice_model().await)).start().await
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
async fn chat_makes_the_models_errors_honest_failures() {
    let host = chat().await;
    let client = host.client();
    for (prompt, status, code, says) in [
        ("/fail 429", 503, "unavailable", "429"),
        ("/fail 500", 503, "unavailable", "500"),
        ("/fail 400", 500, "failed", "400"),
        ("/tokens 9 /cut 3", 503, "unavailable", "broke off"),
        ("/tokens 9 /error 3", 503, "unavailable", "midway"),
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
    let model = practice_model().await;
    let sidecar = format!(
        "{}\n[http.inject.\"http://{model}/v1\"]\nauthorization = \"Bearer ${{KEY}}\"\n",
        chat_sidecar(model)
    );
    let host =
        TestHost::builder().plugin("chat", &sidecar).environment("KEY", "sk-secret-9876").start().await;
    assert_eq!(host.client().text("chat/alice", "/whoami").await, "authorization: Bearer ****9876");
}
