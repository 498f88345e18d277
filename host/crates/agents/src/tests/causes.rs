//! What a run is told to have failed of when the host knows better: what it waited for fell silent, or a budget is spent.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_after_what_it_waited_for_fell_silent_has_stalled() {
    let host = Host::with_policy(POLICY);
    for text in ["stall, fail", "stall, trap", "stall, take 1s, fail"] {
        let ended = host.run("alice", text).await;
        assert_eq!(ended.code(), Code::Stalled, "{text}");
        let Outcome::Failed(failure) = ended.outcome else { unreachable!("it has a code") };
        assert!(failure.message.contains("the model was silent"), "{failure}");
        assert!(
            failure.message.contains("as it was asked to"),
            "what the plugin says of it is not lost: {failure}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_after_a_budget_refused_it_something_is_over_that_budget() {
    let host = Host::with_policy(POLICY);
    let ended = host.run("alice", "overspend, fail").await;
    assert_eq!(ended.code(), Code::OverBudget);
    assert_eq!(host.run("alice", "overspend, say less").await, Ended::done("less"));
    let Outcome::Failed(failure) = ended.outcome else { unreachable!("it has a code") };
    assert_eq!(failure.message, "the day's budget is spent; the plugin says: as it was asked to");
}

#[tokio::test(start_paused = true)]
async fn a_guest_may_help_itself_when_it_hears_of_the_silence() {
    let host = Host::with_policy(POLICY);
    assert_eq!(host.run("alice", "stall, say another").await, Ended::done("another"));
    assert_eq!(host.run("alice", "fail").await.code(), Code::Failed, "the next run has not stalled");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_after_a_silence_has_its_deadline_and_can_be_cancelled() {
    let host = Host::with_policy(Policy { deadline: seconds(10), ..POLICY });
    assert_eq!(host.run("alice", "stall, stuck").await.code(), Code::DeadlineExceeded);
    let run = begun(&host, "alice", "stall, open, fail").await;
    host.cancel(run.run).await;
    assert_eq!(outcome(run).await, Outcome::Cancelled(Stop::Returned));
}
