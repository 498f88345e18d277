//! What is counted, as whoever watches the host reads it, over real sockets.

use super::admin::{Face, TOKEN};
use super::support::{Client, Host, bare};
use crate::{Family, Measure, Metrics, Sample};

/// Numbers that do not move.
pub(super) struct Fixed;

/// A guest would like to count for another one.
const FORGER: &str = "x\"} 1\nasked_total{plugin=\"notes\",model=\"\\";

impl Metrics for Fixed {
    fn families(&self) -> Vec<Family> {
        let asked = |plugin: &str, model: &str, value| Sample {
            labels: vec![("plugin", plugin.into()), ("model", model.into())],
            value,
        };
        let asked =
            vec![asked("notes", "fast", 3.0), asked("chat", FORGER, 9.0), asked("chat", "fast", 0.25)];
        let live = vec![Sample { labels: Vec::new(), value: 2.0 }];
        vec![
            Family { name: "live", help: "Live now.", measure: Measure::Gauge, samples: live },
            Family { name: "asked_total", help: "Asked.", measure: Measure::Counter, samples: asked },
        ]
    }
}

const TEXT: &str = r#"# HELP live Live now.
# TYPE live gauge
live 2
# HELP asked_total Asked.
# TYPE asked_total counter
asked_total{plugin="chat",model="fast"} 0.25
asked_total{plugin="chat",model="x\"} 1\nasked_total{plugin=\"notes\",model=\"\\"} 9
asked_total{plugin="notes",model="fast"} 3
# HELP rookery_metrics_left_out Samples that had no room in this text.
# TYPE rookery_metrics_left_out gauge
rookery_metrics_left_out 0
"#;

#[tokio::test]
async fn what_is_counted_is_one_text_that_prometheus_reads() {
    let face = Face::with(None).await;
    let response = face.ask("GET /metrics", "", "").await;
    assert_eq!((response.status(), response.body.as_str()), (200, TEXT));
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("access-control-allow-origin"), None, "no page shall see it");
    let scraped = face.ask("GET /metrics?x=1", "accept: application/openmetrics-text\r\n", "").await;
    assert_eq!(scraped.body, TEXT, "a scraper that would rather have another format takes this one");
}

#[tokio::test]
async fn a_head_has_the_length_and_no_text() {
    let face = Face::with(None).await;
    let mut client = Client::of(face.address).await;
    client.send("HEAD /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status(), head.header("content-length")), (200, Some(&*TEXT.len().to_string())));
    assert_eq!(head.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn it_is_shown_to_those_only_whom_the_guard_lets_in() {
    let face = Face::with(Some(TOKEN)).await;
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    let without = face.ask("GET /metrics", "", "").await;
    assert_eq!((without.status(), without.code().as_str()), (401, "unauthorized"));
    let page = face.ask("GET /metrics", &format!("{right}origin: https://evil.example\r\n"), "").await;
    assert_eq!((page.status(), page.code().as_str()), (403, "cross-origin"));
    assert_eq!(face.ask("GET /metrics", &right, "").await.body, TEXT);

    let open = Face::with(None).await;
    let mut rebound = Client::of(open.address).await;
    rebound.send(bare("GET", "/metrics", "")).await;
    let refused = rebound.response().await;
    assert_eq!((refused.status(), refused.code().as_str()), (421, "misdirected"));
}

#[tokio::test]
async fn clients_of_agents_do_not_find_it() {
    let host = Host::start().await;
    let nothing = host.ask(&bare("GET", "/metrics", "")).await;
    assert_eq!((nothing.status(), nothing.problem().as_str()), (404, "not-found"));
    assert!(!nothing.body.contains("metrics`"), "nor are they told of it: {nothing:?}");
}
