//! Deadlines that a client asks for.

use super::*;

async fn too_late(host: &Host, deadline: Option<Duration>) -> String {
    let asked = Asked { deadline, ..asked("stuck") };
    match end(host.directory.submit(&agent("alice"), asked).unwrap()).await.outcome {
        Outcome::Failed(failure) if failure.code == Code::DeadlineExceeded => failure.message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_can_make_the_deadline_shorter_and_not_longer_and_is_told_which_it_was() {
    let (host, clock) = (Host::with_policy(Policy { deadline: seconds(60), ..POLICY }), clock());
    let message = too_late(&host, Some(seconds(10))).await;
    assert_eq!(clock(), seconds(10));
    assert!(message.contains("10s") && message.contains("Run-Deadline"), "{message}");
    for longer in [None, Some(seconds(61)), Some(seconds(60)), Some(Duration::MAX)] {
        let before = clock();
        let message = too_late(&host, longer).await;
        assert_eq!(clock() - before, seconds(60));
        assert!(message.contains("1m") && message.contains("sidecar"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_counts_from_the_runs_turn() {
    let (host, clock) = (Host::with_policy(POLICY), clock());
    let _before = begun(&host, "alice", "take 60s").await;
    let asked = Asked { deadline: Some(seconds(10)), ..asked("take 9s, count") };
    let run = host.directory.submit(&agent("alice"), asked).unwrap();
    assert_eq!(end(run).await, Ended::done("2"));
    assert_eq!(clock(), seconds(69));
}
