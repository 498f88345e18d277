//! Submitting a run only once.

use tokio::task::JoinSet;

use super::*;

impl Host {
    async fn once(&self, name: &str, key: &str, text: &str) -> Result<(Submitted, bool), Failure> {
        let asked = Asked { key: Some(key.into()), ..asked(text) };
        self.directory.submit_once(&agent(name), asked).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_the_same_run_while_it_runs_when_it_has_ended_and_after_a_restart() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let (first, known) = host.once("alice", "k", "say a, take 5s, count").await.unwrap();
    assert!(!known);
    let again = async |host: &Host| {
        let (again, known) = host.once("alice", "k", "say a, take 5s, count").await.unwrap();
        assert!((again.run, known) == (first.run, true));
        again
    };
    let live = again(&host).await;
    tokio::time::sleep(seconds(6)).await;
    let ended = again(&host).await;
    archive.release();
    for run in [live, ended, again(&host).await] {
        assert_eq!(end(run).await, Ended::done("a1"), "from its first event");
    }
    let host = Host::archived(POLICY, &archive.reopened());
    assert_eq!(end(again(&host).await).await, Ended::done("a1"));
    assert!(host.guests.launches().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_with_another_prompt_is_refused_and_another_agents_key_is_its_own() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let (first, _) = host.once("alice", "k", "count").await.unwrap();
    assert!(!host.once("carol", "k", "say other").await.unwrap().1, "while the first one runs");
    for _ in 0..2 {
        let failure = host.once("alice", "k", "say other").await.unwrap_err();
        assert_eq!(failure.code, Code::KeyReused);
        assert!(failure.message.contains(&first.run.to_string()), "{failure}");
        settle().await;
    }
    let body = Asked { key: Some("k".into()), body: Some("{}".into()), ..asked("count") };
    let failure = host.directory.submit_once(&agent("alice"), body).await.unwrap_err();
    assert_eq!(failure.code, Code::KeyReused, "the body is part of what was asked");
    let (other, known) = host.once("bob", "k", "say other").await.unwrap();
    assert!(!known && other.run != first.run);
    assert!(!host.once("alice", "k2", "say other").await.unwrap().1);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_submissions_with_one_key_start_one_run() {
    let archive = FakeArchive::new();
    let host = Arc::new(Host::archived(POLICY, &archive));
    let mut submitting = JoinSet::new();
    for _ in 0..100 {
        let host = host.clone();
        submitting.spawn(async move {
            let (run, known) = host.once("alice", "k", "count").await.unwrap();
            let id = run.run;
            assert_eq!(end(run).await, Ended::done("1"));
            (id, known)
        });
    }
    let runs = submitting.join_all().await;
    assert_eq!(runs.iter().filter(|(_, known)| !known).count(), 1);
    assert!(runs.iter().all(|(run, _)| *run == runs[0].0));
    assert_eq!(archive.runs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_looked_up_for_long_stalls_nobody_with_another() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    archive.stick(Some("slow"));
    let mut slow = std::pin::pin!(host.once("alice", "slow", "count"));
    assert!(slow.as_mut().now_or_never().is_none());
    let mut second = std::pin::pin!(host.once("alice", "slow", "count"));
    let mut gone = Box::pin(host.once("alice", "slow", "count"));
    settle().await;
    assert!(slow.as_mut().now_or_never().is_none(), "it is being looked up");
    assert!(second.as_mut().now_or_never().is_none(), "one after another");
    assert!(gone.as_mut().now_or_never().is_none());
    for (name, key) in [("bob", "k"), ("alice", "k")] {
        assert!(!in_time(host.once(name, key, "count")).await.unwrap().1);
    }
    // Whoever goes away while waiting is not waited for.
    drop(gone);
    archive.stick(None);
    let (slow, second) = (in_time(slow).await.unwrap(), in_time(second).await.unwrap());
    assert_eq!((slow.1, second.1, slow.0.run), (false, true, second.0.run));
    assert_eq!(host.directory.keys_in_use(), 0, "keys are forgotten when nobody needs them");
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_its_key_is_looked_up_leaves_the_key_to_the_next() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    archive.stick(Some("k"));
    let mut gone = Box::pin(host.once("alice", "k", "count"));
    assert!(gone.as_mut().now_or_never().is_none());
    let mut next = std::pin::pin!(host.once("alice", "k", "count"));
    assert!(next.as_mut().now_or_never().is_none());
    drop(gone);
    archive.stick(None);
    assert!(!in_time(next).await.unwrap().1);
    assert_eq!(host.directory.keys_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_run_leaves_its_key_free_and_without_a_key_every_run_is_a_new_one() {
    let host = Host::archived(Policy { overlap: Overlap::Reject, ..POLICY }, &FakeArchive::new());
    let running = begun(&host, "alice", "take 1s").await;
    assert_eq!(host.once("alice", "k", "count").await.unwrap_err().code, Code::Busy);
    assert_eq!(outcome(running).await, Outcome::Done);
    let (run, known) = host.once("alice", "k", "count").await.unwrap();
    assert_eq!((known, end(run).await), (false, Ended::done("2")));
    for count in ["3", "4"] {
        let (run, known) = host.directory.submit_once(&agent("alice"), asked("count")).await.unwrap();
        assert_eq!((known, end(run).await), (false, Ended::done(count)));
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_archive_a_key_holds_until_the_end() {
    let host = Host::with_policy(POLICY);
    let (first, _) = host.once("alice", "k", "take 1s, count").await.unwrap();
    let (second, known) = host.once("alice", "k", "take 1s, count").await.unwrap();
    assert!(known && second.run == first.run);
    assert_eq!(end(first).await, Ended::done("1"));
    assert!(!host.once("alice", "k", "take 1s, count").await.unwrap().1);
}
