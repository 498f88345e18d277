use rookery_core::{Code, Standing};

use super::*;

#[test]
fn after_a_crash_every_run_has_exactly_one_outcome_and_finished_ones_replay() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let (queued, running, silent) = (Tape::new("chat/a"), Tape::new("chat/b"), Tape::new("chat/c"));
    running.start(1);
    running.text("so far");
    silent.start(1);
    for tape in [&queued, &running, &silent] {
        tape.settle(&runs);
    }
    let done = done_run(&runs, "chat/d", at(5));
    let before = state(&runs, done.run);

    let crashed = crash(folder.path());
    let runs = open(crashed.path());
    assert_eq!(runs.recovered(), 3);
    for tape in [&queued, &running, &silent] {
        let events = replay(&runs, tape.run);
        let (end, chunks) = events.split_last().unwrap();
        assert_eq!(chunks, tape.events());
        // One that ran may have shown events that were lost; the outcome bears the number of none of them.
        let lost = if tape.run == queued.run { 1 } else { 16 * 1024 };
        assert_eq!(end.id, chunks.len() as u64 + lost);
        let Item::Outcome(outcome @ Outcome::Failed(failure)) = &end.item else { panic!("{end:?}") };
        assert_eq!(failure.code, Code::Interrupted);
        assert_eq!(failure.message, "the host stopped before the run ended; submit it again");
        let state = state(&runs, tape.run).unwrap();
        assert_eq!((state.events, &state.standing), (end.id, &Standing::Ended(outcome.clone())));
        assert!(state.ended.is_some() && state.spent.is_nothing());
    }
    assert_eq!(replay(&runs, done.run), done.events());
    assert_eq!(state(&runs, done.run), before);

    let crashed_again = crash(crashed.path());
    let again = open(crashed_again.path());
    assert_eq!(again.recovered(), 0, "nothing is ended twice");
    assert_eq!(replay(&again, running.run).len(), 2);
}

#[test]
fn a_key_is_remembered_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let tape = Tape::with("chat/alice", Some("key"), at(1));
    tape.settle(&runs);
    let crashed = crash(folder.path());
    let runs = open(crashed.path());
    let found = wait(runs.by_key(agent("chat/alice"), "key".into())).unwrap().unwrap();
    assert_eq!(found.0, tape.run);
}

#[test]
fn a_log_that_was_torn_at_any_place_opens_with_what_was_committed_before() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let tape = Tape::new("chat/alice");
    for n in 0..20 {
        tape.text(&format!("event {n}"));
        tape.settle(&runs);
    }
    let log = std::fs::metadata(folder.path().join("runs.db-wal")).unwrap().len();
    let mut seen = 0;
    for cut in (0..20).map(|n| log * n / 20).chain([log]) {
        let torn = crash(folder.path());
        let file = std::fs::File::options().write(true).open(torn.path().join("runs.db-wal")).unwrap();
        file.set_len(cut).unwrap();
        let runs = open(torn.path());
        let mut events = replay(&runs, tape.run);
        assert!(matches!(events.pop().map(|end| end.item), None | Some(Item::Outcome(_))));
        assert_eq!(events, tape.events()[..events.len()]);
        assert!(events.len() >= seen);
        seen = events.len();
    }
    assert_eq!(seen, 20);
}

#[test]
fn a_damaged_block_is_an_error_for_its_reader_alone() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    // One has its events in its row, the other beside it.
    let broken = done_run(&runs, "chat/a", at(5));
    let longer = Tape::new("chat/b");
    longer.text("hello");
    longer.settle(&runs);
    longer.end();
    longer.settle(&runs);
    let fine = done_run(&runs, "chat/c", at(5));
    runs.close();
    let path = folder.path().join("runs.db");
    let break_it = "UPDATE runs SET items = x'05000000ff', state = '?' WHERE name = 'a'; \
         UPDATE events SET items = x'05000000ff'; UPDATE runs SET state = '?' WHERE name = 'b'";
    rookery_sqlite::open(path).unwrap().execute_batch(break_it).unwrap();
    let runs = open(folder.path());
    for broken in [broken, longer] {
        assert!(wait(runs.read(broken.run, 0, 1_000)).unwrap_err().0.contains("damaged"));
        assert!(wait(runs.state(broken.run)).unwrap_err().0.contains("damaged"));
    }
    assert_eq!(replay(&runs, fine.run), fine.events());
}
