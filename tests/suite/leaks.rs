//! The values that the host adds to requests do not come back out of a guest.

use rookery_models::{Key, Provider};
use rookery_tests::TestHost;
use rookery_tests::host::{PRACTICE, practice, practice_model};

const SECRET: &str = "sk-0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_masked_in_streams_wherever_it_is_cut_and_whoever_writes_it() {
    let provider = Provider { key: Key::new(SECRET), ..practice(practice_model().await) };
    let builder = TestHost::builder().model("practice", vec![provider]).admin(None);
    let host = builder.plugin("asker", PRACTICE).start().await;
    let client = host.client();
    for how in ["forward", "loop", "one-by-one", "some 1", "forget"] {
        // The practice model says it in pieces of at most twelve characters.
        let stream =
            client.prompt("asker/x", &format!("{how} /echo before {SECRET} after")).await.whole().await.body;
        let said: String = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert!(said.starts_with("before [secret] after"), "{how}: {stream}");
        assert!(!stream.contains(SECRET) && !stream.contains("0123456789ab"), "{how}: {stream}");
    }
    let text = client.text("asker/x", &format!("forget /echo {}", &SECRET[..12])).await;
    assert_eq!(text, SECRET[..12], "what only begins like it leaves in the end");

    // Once in each of five streams, and in what two of them tell of the whole answer.
    let metrics = host.admin().get("/metrics").await.body;
    let masked = "rookery_leaks_total{plugin=\"asker\",secret=\"a key of the model practice\"} 7\n";
    assert!(metrics.contains(masked), "each is counted: {metrics}");
    let asked = "rookery_model_requests_total{plugin=\"asker\",model=\"practice\"} 6\n";
    assert!(metrics.contains(asked), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_value_is_masked_in_failures_data_and_whole_texts() {
    let sidecar = "[http]\nallow = [\"https://api.example.com\"]\n\
                   [http.inject.\"https://api.example.com\"]\nauthorization = \"Bearer ${KEY}\"\n";
    let host = TestHost::builder().plugin("talker", sidecar).environment("KEY", SECRET).start().await;
    let client = host.client();
    assert_eq!(client.text("talker/x", &format!("say it is {SECRET}.")).await, "it is [secret].");
    let answer = client.ask("talker/x", SECRET).await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("[secret]") && !detail.contains(SECRET), "{detail}");
}
