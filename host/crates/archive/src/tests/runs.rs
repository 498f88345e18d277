use rookery_agents::archive::Batch;
use rookery_core::{Standing, StateName};

use super::*;

#[test]
fn a_run_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let all_spent = every_spent();
    for (outcome, spent) in every_outcome().into_iter().zip(all_spent.into_iter().cycle()) {
        let tape = Tape::new("chat/alice");
        tape.settle(&runs);
        assert_eq!(state(&runs, tape.run).unwrap().standing, Standing::Queued(0));
        assert_eq!(tape.committed(), [0], "only the acceptance");
        tape.start(7);
        tape.text("a");
        tape.text("b");
        tape.settle(&runs);
        let running = state(&runs, tape.run).unwrap();
        assert_eq!((running.standing, running.events, running.ended), (Standing::Running, 2, None));
        assert_eq!(running.spent, Spent::default());
        tape.end_with(outcome.clone(), at(3), spent);
        tape.settle(&runs);

        let prompt = Tape::prompt(&tape);
        let expected = RunState {
            run: tape.run,
            agent: agent("chat/alice"),
            origin: prompt.origin,
            prompt: prompt.text,
            prompt_cut: false,
            submitted: at(1_000),
            started: Some((at(2_000), Generation(7))),
            ended: Some(at(3)),
            standing: Standing::Ended(outcome),
            events: 3,
            spent,
        };
        assert_eq!(state(&runs, tape.run), Some(expected));
        assert_eq!(replay(&runs, tape.run), tape.events());
        assert_eq!(tape.committed(), [0, 2, 3]);
    }
}

impl Tape {
    fn prompt(tape: &Tape) -> Prompt {
        Prompt {
            run: tape.run,
            text: format!("what is {}?", tape.run),
            body: Some("{\"prompt\":\"…\"}".into()),
            origin: Origin::Client(Some("127.0.0.1:4000".into())),
        }
    }
}

#[test]
fn every_kind_of_event_reads_back_from_anywhere_in_any_portion() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let tape = Tape::new("chat/alice");
    let chunks = every_item().into_iter().filter(|item| matches!(item, Item::Chunk(_)));
    for (n, item) in chunks.enumerate() {
        tape.write(item);
        if n % 5 == 0 {
            tape.settle(&runs);
        }
    }
    tape.end();
    tape.settle(&runs);
    let events = tape.events();
    for after in 0..=events.len() {
        let rest = wait(runs.read(tape.run, after as u64, usize::MAX)).unwrap();
        assert_eq!(rest, events[after..], "after {after}");
        for bytes in [0, 1, 1_000, 300_000] {
            let page = wait(runs.read(tape.run, after as u64, bytes)).unwrap();
            let size = |events: &[Event]| events.iter().map(rows::size).sum::<usize>();
            assert_eq!(page, events[after..after + page.len()]);
            assert!(after + page.len() == events.len() || size(&page) >= bytes, "a full page");
            assert!(page.is_empty() || size(&page[..page.len() - 1]) < bytes.max(1), "no event too many");
            assert_eq!(page.is_empty(), after == events.len(), "every page goes on");
        }
    }
    for nowhere in [events.len() as u64 + 1, u64::MAX - 1, u64::MAX, i64::MAX as u64] {
        assert_eq!(wait(runs.read(tape.run, nowhere, 1_000)).unwrap(), []);
    }
    assert_eq!(replay(&runs, RunId::new()), [], "a run that is unknown");
    assert_eq!(state(&runs, RunId::new()), None);
}

#[test]
fn many_runs_are_committed_together_each_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let gathering = Settings { gather: Duration::from_millis(2), ..settings(folder.path()) };
    let runs = Runs::open(&gathering).unwrap();
    let tapes: Vec<_> = (0..100).map(|n| Tape::new(&format!("chat/user-{n}"))).collect();
    for n in 0..50 {
        for tape in &tapes {
            tape.text(&format!("event {n}"));
            tape.wake(&runs);
        }
    }
    for tape in &tapes {
        tape.end();
        tape.wake(&runs);
    }
    runs.close();
    for tape in &tapes {
        let committed = tape.committed();
        assert!(committed.is_sorted(), "{committed:?}");
        assert_eq!(committed.last(), Some(&51), "closing writes what is queued");
        assert!(committed.len() < 51, "grouped");
    }
    let runs = open(folder.path());
    for tape in &tapes {
        assert_eq!(replay(&runs, tape.run), tape.events());
    }
}

#[test]
fn dropping_the_last_handle_writes_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let tape = Tape::new("chat/alice");
    tape.end();
    tape.wake(&runs);
    drop(runs);
    assert_eq!(tape.committed(), [1]);
    assert_eq!(replay(&open(folder.path()), tape.run), tape.events());
}

#[test]
fn a_source_may_hold_the_last_handle() {
    struct Holder(Mutex<Option<Runs>>, Arc<Tape>);
    impl Source for Holder {
        fn run(&self) -> RunId {
            self.1.run
        }
        fn take(&self) -> Batch {
            drop(self.0.lock().unwrap().take());
            self.1.take()
        }
        fn committed(&self, up_to: u64) {
            Source::committed(&*self.1, up_to);
        }
        fn lost(&self, error: &ArchiveError) {
            Source::lost(&*self.1, error);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let tape = Tape::new("chat/alice");
    tape.end();
    let holder = Arc::new(Holder(Mutex::default(), tape.clone()));
    let queue = runs.0.queue.clone();
    *holder.0.lock().unwrap() = Some(runs);
    queue.enter(holder);
    queue.close();
    assert_eq!(tape.committed(), [1]);
    assert_eq!(replay(&open(folder.path()), tape.run), tape.events());
}

#[test]
fn runs_are_listed_newest_first_in_pages_and_by_agent_and_state() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let mut tapes = Vec::new();
    for n in 0..60 {
        let tape = Tape::new(["chat/alice", "chat/bob", "notes/alice"][n % 3]);
        match n % 4 {
            0 => {}
            1 => tape.start(1),
            2 => tape.end(),
            _ => tape.end_at(Outcome::Cancelled(Stop::BeforeStart), at(9)),
        }
        tape.settle(&runs);
        tapes.push((
            tape,
            [StateName::Queued, StateName::Running, StateName::Done, StateName::Cancelled][n % 4],
        ));
    }
    let expected = |agent: Option<&AgentId>, state: Option<StateName>| -> Vec<RunId> {
        let matching = tapes.iter().rev().filter(|(tape, named)| {
            agent.is_none_or(|agent| tape.agent == *agent) && state.is_none_or(|state| state == *named)
        });
        matching.map(|(tape, _)| tape.run).collect()
    };
    let agents = [None, Some("chat/alice"), Some("chat/bob"), Some("notes/alice"), Some("notes/bob")];
    for agent in agents.map(|name| name.map(super::agent)) {
        for state in [None].into_iter().chain(StateName::ALL.map(Some)) {
            let mut paged = Vec::new();
            loop {
                let query = Query { agent: agent.clone(), state, before: paged.last().copied(), limit: 7 };
                let page = list(&runs, query);
                assert!(page.len() <= 7);
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, expected(agent.as_ref(), state), "{agent:?} {state:?}");
        }
    }
    assert_eq!(list(&runs, Query { limit: 0, ..EVERYTHING }), []);
}

#[test]
fn a_key_names_one_run_of_one_agent() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    for origin in [
        Origin::Client(None),
        Origin::Client(Some("é\0".into())),
        Origin::Agent(agent("chat/bob")),
        Origin::Schedule("every morning".into()),
    ] {
        let tape = Tape::with("chat/alice", Some(&format!("key of {origin:?}")), at(1));
        let accepted = tape.state.lock().unwrap().waiting.accepted.as_mut().map(|accepted| {
            accepted.prompt.origin = origin.clone();
            accepted.prompt.body = None;
            accepted.prompt.clone()
        });
        tape.settle(&runs);
        let by_key = |agent: &str, key: &str| wait(runs.by_key(super::agent(agent), key.into())).unwrap();
        let key = format!("key of {origin:?}");
        assert_eq!(by_key("chat/alice", &key), accepted.map(|prompt| (tape.run, prompt)));
        assert_eq!(by_key("chat/bob", &key), None);
        assert_eq!(by_key("chat/alice", "another"), None);
    }
}

#[test]
fn the_first_source_after_a_silence_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let long = Settings { gather: Duration::from_secs(3600), ..settings(folder.path()) };
    let runs = Runs::open(&long).unwrap();
    let first = Tape::new("chat/alice");
    first.settle(&runs);
    let second = Tape::new("chat/alice");
    let before = tokio::time::Instant::now();
    second.settle(&runs);
    assert!(before.elapsed() < Duration::from_secs(10), "an hour counts as the longest that there is");
}
