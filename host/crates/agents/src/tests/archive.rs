//! What an archive changes: what is shown when, and how much is held in memory.

use rookery_core::{Generation, RunState, Spent, StateName};

use super::*;
use crate::archive::Query;

fn text(text: &str) -> Item {
    Item::Chunk(Chunk::Text(text.into()))
}

fn strict(archive: &Arc<FakeArchive>) -> Host {
    Host::keeping(Fake::new(POLICY), LIMITS, Some(archiving(archive, true)))
}

fn items(events: &[Arc<Event>]) -> Vec<Item> {
    events.iter().map(|event| event.item.clone()).collect()
}

fn everything() -> Query {
    Query { agent: None, state: None, before: None, limit: 100 }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_is_shown_before_it_is_committed_and_the_outcome_only_after_the_whole_run_is() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let mut run = host.submit("alice", "say a, say b").unwrap();
    settle().await;
    assert_eq!(items(&now(&mut run.events)), [text("a"), text("b")]);
    assert!(run.events.ended().now_or_never().is_none());
    assert_eq!(host.directory.running(), 0, "it has its outcome");
    let state = host.directory.state(run.run).await.unwrap().unwrap();
    assert_eq!((state.standing, state.events, state.ended), (Standing::Running, 2, None));

    assert!(archive.take());
    settle().await;
    assert_eq!(now(&mut run.events), [], "taken is not committed");
    archive.commit();
    in_time(run.events.ended()).await.unwrap();
    assert_eq!(items(&now(&mut run.events)), [Item::Outcome(Outcome::Done)]);
    assert_eq!(host.standing(run.run).await, Standing::Ended(Outcome::Done));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_not_shown_for_the_commit_of_what_came_before_it() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let mut run = begun(&host, "alice", "take 1s, say off").await;
    assert!(archive.take());
    assert_eq!(next_text(&mut run.events).await, "off");
    settle().await;
    assert!(archive.write());
    settle().await;
    assert_eq!(now(&mut run.events), []);
    archive.release();
    assert_eq!(outcome(run).await, Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn a_strict_host_shows_nothing_that_is_not_committed() {
    let archive = FakeArchive::held();
    let host = strict(&archive);
    let mut run = host.submit("alice", "say a, take 1s, say b").unwrap();
    settle().await;
    assert_eq!(now(&mut run.events), []);
    archive.take();
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(now(&mut run.events), []);
    archive.write();
    assert_eq!(items(&now(&mut run.events)), [text("a")], "what was taken before `b` was written");
    assert_eq!(host.directory.state(run.run).await.unwrap().unwrap().events, 1);
    archive.commit();
    assert_eq!(items(&now(&mut run.events)), [text("b"), Item::Outcome(Outcome::Done)]);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_accepted_when_it_cannot_be_forgotten_any_more() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let run = begun(&host, "alice", "stuck").await;
    assert!(run.events.accepted().now_or_never().is_none());
    let (accepted, ()) = tokio::join!(in_time(run.events.accepted()), async { archive.commit() });
    assert_eq!((accepted, archive.runs()), ((), vec![run.run]));
    in_time(Host::with_policy(POLICY).submit("alice", "stuck").unwrap().events.accepted()).await;
}

#[tokio::test(start_paused = true)]
async fn the_archive_is_hurried_only_where_somebody_waits_for_it() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let run = begun(&host, "alice", "stuck").await;
    assert_eq!(archive.hurries(), 0, "nobody waits for what was accepted and written");
    let mut accepted = std::pin::pin!(run.events.accepted());
    assert!(accepted.as_mut().now_or_never().is_none());
    assert_eq!(archive.hurries(), 1);
    archive.commit();
    in_time(accepted).await;
    in_time(run.events.accepted()).await;
    assert_eq!(archive.hurries(), 1, "it is kept already");
    host.cancel(run.run).await;
    tokio::time::sleep(2 * GRACE).await;
    assert_eq!(archive.hurries(), 2, "readers wait for the outcome");
}

#[tokio::test(start_paused = true)]
async fn a_guest_ahead_of_its_archive_is_held_until_the_commit() {
    let archive = FakeArchive::held();
    let host = Host::archived(Policy { output: 16 << 20, ..POLICY }, &archive);
    let run = host.submit("alice", "pour 3000").unwrap();
    let written = async || host.directory.state(run.run).await.unwrap().unwrap().events;
    settle().await;
    let first = written().await;
    let bytes = first * Chunk::Text("x".repeat(1000)).size() as u64;
    assert!(((1 << 20)..(1 << 20) + 2000).contains(&bytes), "held at a megabyte, not at {bytes}");
    settle().await;
    assert_eq!(written().await, first, "it stays held");
    archive.commit();
    settle().await;
    assert_eq!(written().await, 2 * first, "and may go just as far again");
    archive.release();
    assert_eq!(rest(&mut host.follow(run.run, 0).await).await.len(), 3001);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_room_ends_when_the_run_is_cancelled_or_has_its_outcome() {
    let archive = FakeArchive::held();
    let policy = Policy { output: 16 << 20, ..POLICY };
    let (host, clock) = (Host::archived(policy, &archive), clock());
    let run = host.submit("alice", "pour 3000, count").unwrap();
    settle().await;
    assert_eq!(host.cancel(run.run).await, Cancelling::Told);
    settle().await;
    assert_eq!(host.directory.running(), 0, "the guest went on, and returned");

    let answered = host.submit("bob", "pour 1000, answer, pour 1000, open").unwrap();
    settle().await;
    assert_eq!(host.directory.running(), 1, "held before it could answer");
    archive.commit();
    settle().await;
    assert_eq!(host.directory.running(), 0);
    use crate::tests::guests::Event::Closed;
    host.guests.until(|state| state.events.contains(&Closed)).await;
    archive.commit();
    assert_eq!(outcome_of(&host, answered.run).await, Outcome::Done);
    assert_eq!(outcome_of(&host, run.run).await, Outcome::Cancelled(Stop::Returned));
    assert_eq!(clock(), seconds(0));
}

async fn outcome_of(host: &Host, run: RunId) -> Outcome {
    match host.standing(run).await {
        Standing::Ended(outcome) => outcome,
        other => panic!("{other:?} is no end"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_settled_run_is_forgotten_here_and_known_to_the_archive() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let mut run = host.submit("alice", "say a").unwrap();
    settle().await;
    assert_eq!(host.directory.unsettled_count(), 1, "ended, and not committed");
    archive.release();
    assert_eq!(host.directory.unsettled_count(), 0);
    assert_eq!(rest(&mut run.events).await.len(), 2, "who follows it already reads on");
    assert_eq!(rest(&mut host.follow(run.run, 0).await).await.len(), 2);
    let state = host.directory.state(run.run).await.unwrap().unwrap();
    assert_eq!((state.standing, state.events), (Standing::Ended(Outcome::Done), 2));
    assert_eq!(state.started.unwrap().1, Generation(1));
    assert_eq!(host.cancel(run.run).await, Cancelling::Over);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_spent_is_shown_while_it_runs_and_kept_with_its_end() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let spent = async |run| host.directory.state(run).await.unwrap().unwrap().spent;
    let run = begun(&host, "alice", "ask 1, take 2s, ask 3, take 2s, trap").await;
    let id = run.run;
    settle().await;
    assert_eq!(spent(id).await, guests::asked(1));
    assert_eq!(archive.spent(id), Spent::default(), "kept with the end");
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(spent(id).await, guests::asked(3), "in all, not besides");
    let listed = host.directory.runs(everything()).await.unwrap();
    assert_eq!(listed[0].spent, guests::asked(3));
    assert_eq!(code(&outcome(run).await), Some(Code::Trapped));
    settle().await;
    assert_eq!(host.directory.unsettled_count(), 0);
    assert_eq!((spent(id).await, archive.spent(id)), (guests::asked(3), guests::asked(3)));
}

#[tokio::test(start_paused = true)]
async fn what_a_run_spends_after_its_end_is_not_its_own() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let run = begun(&host, "alice", "ask 1, answer, take 1s, ask 2, say late").await;
    tokio::time::sleep(seconds(2)).await;
    let before = host.directory.state(run.run).await.unwrap().unwrap();
    assert_eq!((before.standing, before.spent), (Standing::Running, guests::asked(1)), "not committed yet");
    archive.commit();
    assert_eq!(archive.spent(run.run), guests::asked(1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_knows_is_none() {
    for host in [Host::with_policy(POLICY), Host::archived(POLICY, &FakeArchive::new())] {
        let nobody = RunId::new();
        assert!(host.directory.follow(nobody, 0).await.unwrap().is_none());
        assert_eq!(host.directory.state(nobody).await.unwrap(), None);
        assert_eq!(host.directory.cancel(nobody).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn runs_are_listed_newest_first_by_agent_and_state_and_in_pages() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let done = host.submit("alice", "count").unwrap();
    let failed = host.submit("alice", "fail").unwrap();
    settle().await;
    let running = begun(&host, "alice", "stuck").await;
    let [queued, cancelled] = ["count", "count"].map(|text| host.submit("alice", text).unwrap());
    host.cancel(cancelled.run).await;
    let other = begun(&host, "bob", "stuck").await;
    settle().await;
    let all = [&other, &cancelled, &queued, &running, &failed, &done].map(|run| run.run);
    let list = async |query| {
        let listed = host.directory.runs(query).await.unwrap();
        listed.into_iter().map(|state| state.run).collect::<Vec<_>>()
    };
    assert_eq!(list(everything()).await, all);
    let alice = Query { agent: Some(agent("alice")), ..everything() };
    assert_eq!(list(alice.clone()).await, all[1..]);
    let page = Query { before: Some(all[2]), limit: 2, ..alice.clone() };
    assert_eq!(list(page).await, all[3..5]);
    let by_state = [cancelled.run, queued.run, running.run, failed.run, done.run];
    let names =
        [StateName::Cancelled, StateName::Queued, StateName::Running, StateName::Failed, StateName::Done];
    for (name, run) in names.into_iter().zip(by_state) {
        assert_eq!(list(Query { state: Some(name), ..alice.clone() }).await, [run], "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_tells_of_live_runs_how_they_stand_now() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let running = host.submit("alice", "say on, stuck").unwrap();
    archive.commit();
    settle().await;
    let listed = host.directory.runs(everything()).await.unwrap();
    assert_eq!(listed[0].standing, Standing::Running, "the archive knows only that it was accepted");
    let queued = Query { state: Some(StateName::Queued), ..everything() };
    assert_eq!(host.directory.runs(queued).await.unwrap(), []);
    assert_eq!(listed[0].run, running.run);
}

#[tokio::test(start_paused = true)]
async fn a_list_has_the_beginnings_of_prompts_and_a_state_the_whole_one() {
    let long = |then: &str| format!("say {}, {then}", "é".repeat(10_000));
    for archive in [Some(FakeArchive::new()), None] {
        let host = match &archive {
            Some(archive) => Host::archived(POLICY, archive),
            None => Host::with_policy(POLICY),
        };
        if archive.is_some() {
            host.run("bob", &long("count")).await;
        }
        let _running = begun(&host, "alice", &long("stuck")).await;
        host.submit("alice", &long("count")).unwrap();
        host.submit("carol", "stuck").unwrap();
        settle().await;
        let listed = host.directory.runs(everything()).await.unwrap();
        assert_eq!(listed.len(), if archive.is_some() { 4 } else { 3 });
        for listed in listed {
            let whole = host.directory.state(listed.run).await.unwrap().unwrap();
            assert_eq!((listed.prompt.as_str(), listed.prompt_cut), RunState::listed(&whole.prompt));
            assert_eq!((listed.prompt_cut, whole.prompt_cut), (whole.prompt != "stuck", false));
            assert_eq!(listed.standing, whole.standing);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_it_is_listed_has_the_beginning_of_its_prompt() {
    let archive = FakeArchive::held();
    let host = Host::archived(POLICY, &archive);
    let run = host.submit("alice", &format!("say {}, take 1s", "é".repeat(10_000))).unwrap();
    settle().await;
    archive.commit();
    let mut listing = std::pin::pin!(host.directory.runs(everything()));
    archive.hold_lists();
    assert!(listing.as_mut().now_or_never().is_none());
    tokio::time::sleep(seconds(2)).await;
    archive.commit();
    assert_eq!(host.directory.unsettled_count(), 0);
    archive.release_lists();
    let listed = in_time(listing).await.unwrap();
    assert_eq!((listed[0].run, listed[0].prompt_cut, listed[0].events), (run.run, true, 2));
    assert_eq!(listed[0].standing, Standing::Ended(Outcome::Done));
}

#[tokio::test(start_paused = true)]
async fn without_an_archive_the_runs_that_are_listed_are_those_that_have_no_end() {
    let host = Host::with_policy(POLICY);
    host.run("alice", "count").await;
    let running = begun(&host, "alice", "stuck").await;
    let queued = host.submit("alice", "count").unwrap();
    let listed = host.directory.runs(everything()).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|state| (state.run, state.standing)).collect();
    assert_eq!(listed, [(queued.run, Standing::Queued(0)), (running.run, Standing::Running)]);
    let running_only = Query { state: Some(StateName::Running), ..everything() };
    assert_eq!(host.directory.runs(running_only).await.unwrap().len(), 1);
    let before = Query { before: Some(running.run), ..everything() };
    assert_eq!(host.directory.runs(before).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn runs_that_a_stalled_archive_has_not_written_count_against_the_hosts_limit() {
    let archive = FakeArchive::held();
    let limits = Limits { runs: 2, ..LIMITS };
    let host = Host::keeping(Fake::new(POLICY), limits, Some(archiving(&archive, false)));
    for name in ["alice", "bob"] {
        host.submit(name, "count").unwrap();
    }
    settle().await;
    assert_eq!((host.directory.running(), host.refusal("carol", "count")), (0, Code::Overloaded));
    archive.release();
    assert_eq!(host.run("carol", "count").await, Ended::done("1"));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_until_the_outcomes_are_written_but_not_for_ever() {
    let archive = FakeArchive::held();
    let (host, clock) = (Host::archived(POLICY, &archive), clock());
    let done = begun(&host, "alice", "take 10s").await;
    let interrupted = begun(&host, "bob", "stuck").await;
    let slow = async {
        tokio::time::sleep(seconds(32)).await;
        archive.release();
    };
    let (left, ()) = tokio::join!(host.directory.drain(seconds(30)), slow);
    assert_eq!((left, clock()), (1, seconds(32)));
    assert_eq!(outcome(done).await, Outcome::Done);
    assert_eq!(code(&outcome(interrupted).await), Some(Code::Interrupted));

    let host = Host::archived(POLICY, &FakeArchive::held());
    host.submit("alice", "count").unwrap();
    host.directory.drain(seconds(30)).await;
    assert_eq!(clock(), seconds(32 + 5), "a disk that stalls is not waited for");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_interrupted_by_a_restart_after_a_drain_that_could_end() {
    let archive = FakeArchive::new();
    let host = Host::archived(POLICY, &archive);
    let runs = ["take 5s, count", "take 5s, count"].map(|text| host.submit("alice", text).unwrap().run);
    assert_eq!(host.directory.drain(seconds(30)).await, 0);
    let host = Host::archived(POLICY, &archive.reopened());
    for (run, count) in runs.into_iter().zip(["1", "2"]) {
        assert_eq!(end(Submitted { run, events: host.follow(run, 0).await }).await, Ended::done(count));
    }
}
