//! What is long is not in its run's row, and what is short is nowhere else.

use rookery_core::LISTED_PROMPT;

use super::*;
use crate::retention::Sweeper;

fn count(folder: &Path, table: &str) -> i64 {
    let connection = rookery_sqlite::open(folder.join("runs.db")).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
}

fn given(text: &str, body: Option<&str>) -> Arc<Tape> {
    let (run, origin) = (run_at(at(1)), Origin::Schedule("nightly".into()));
    let prompt = Prompt { run, text: text.into(), body: body.map(Into::into), origin };
    Tape::given("chat/alice", prompt, Some(&run.to_string()), at(1))
}

#[test]
fn a_prompt_is_whole_wherever_it_is_asked_for_alone_and_cut_in_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let fits = "x".repeat(LISTED_PROMPT);
    let hostile = "\0é".repeat(LISTED_PROMPT);
    for (text, body, rows) in [
        ("", None, 0),
        ("", Some(""), 0),
        (fits.as_str(), Some(fits.as_str()), 0),
        (&format!("{fits}x"), None, 1),
        ("short", Some(&format!("{fits}x")), 1),
        (&hostile, Some(&hostile), 2),
    ] {
        let before = count(folder.path(), "events");
        let tape = given(text, body);
        tape.start(1);
        // As it is accepted and while it runs, and the same when all of it came at once.
        tape.settle(&runs);
        let check = || {
            let whole = state(&runs, tape.run).unwrap();
            assert_eq!((whole.prompt.as_str(), whole.prompt_cut), (text, false));
            let listed = wait(runs.list(Query { limit: 1, ..EVERYTHING })).unwrap().pop().unwrap();
            assert_eq!((listed.prompt.as_str(), listed.prompt_cut), RunState::listed(text));
            assert_eq!(listed.events, whole.events);
            let (_, prompt) = wait(runs.by_key(agent("chat/alice"), tape.run.to_string())).unwrap().unwrap();
            assert_eq!((prompt.text.as_str(), prompt.body.as_deref()), (text, body));
            assert_eq!(replay(&runs, tape.run), tape.events());
        };
        check();
        tape.text("hello");
        tape.settle(&runs);
        check();
        tape.end();
        tape.settle(&runs);
        check();
        assert_eq!(count(folder.path(), "events") - before, rows + 2);
    }
}

#[test]
fn a_short_run_that_is_over_when_it_is_written_is_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    for (outcome, spent) in every_outcome().into_iter().zip(every_spent().into_iter().cycle()) {
        let tape = Tape::new("chat/alice");
        tape.start(3);
        tape.text("hello");
        tape.end_with(outcome, at(3), spent);
        tape.settle(&runs);
        let state = state(&runs, tape.run).unwrap();
        assert_eq!((state.started, state.ended), (Some((at(2_000), Generation(3))), Some(at(3))));
        assert_eq!(state.spent, spent);
        for after in 0..3 {
            let rest = wait(runs.read(tape.run, after, usize::MAX)).unwrap();
            assert_eq!(rest, tape.events()[after as usize..]);
        }
    }
    assert_eq!(count(folder.path(), "events"), 0);
    // An answer that is short, and one that is not.
    for (words, rows) in [(64, 0), (6_400, 4)] {
        let tape = Tape::new("chat/alice");
        for n in 0..words {
            tape.text(&format!("this is the word number {n}, "));
        }
        tape.end_at(Outcome::Done, at(3));
        tape.settle(&runs);
        assert_eq!(replay(&runs, tape.run), tape.events());
        assert_eq!(count(folder.path(), "events"), rows);
    }
}

#[test]
fn a_page_of_long_prompts_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let long = "é".repeat(1 << 20);
    for _ in 0..10 {
        given(&long, Some(&long)).settle(&runs);
    }
    let page = wait(runs.list(EVERYTHING)).unwrap();
    assert_eq!(page.len(), 10);
    assert!(page.iter().all(|state| state.prompt_cut && state.prompt.len() == LISTED_PROMPT));
    // Nor is more read from the disk: what is long is not in the rows.
    let connection = rookery_sqlite::open(folder.path().join("runs.db")).unwrap();
    let longest = "SELECT max(octet_length(prompt) + coalesce(octet_length(body), 0)) FROM runs";
    let longest: isize = connection.query_row(longest, (), |row| row.get(0)).unwrap();
    assert_eq!(longest, LISTED_PROMPT as isize);
}

#[test]
fn long_prompts_of_removed_runs_are_erased_a_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let long = "x".repeat(1 << 20);
    for _ in 0..10 {
        let tape = given(&long, Some(&long));
        tape.end_at(Outcome::Done, at(2));
        tape.settle(&runs);
    }
    runs.close();
    let mut connection = rookery_sqlite::open(folder.path().join("runs.db")).unwrap();
    let mut sweeper = Sweeper::new(Duration::ZERO, 1000);
    let mut left = count(folder.path(), "events");
    assert_eq!(left, 20);
    while sweeper.step(&mut connection, SystemTime::now()).unwrap() {
        let now = count(folder.path(), "events");
        assert!(left - now <= 5, "of 4 MiB");
        left = now;
    }
    assert_eq!(["runs", "events", "removed"].map(|table| count(folder.path(), table)), [0, 0, 0]);
}

#[test]
fn after_a_restart_no_run_is_given_the_events_of_one_that_is_being_removed() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let old = Tape::new("chat/alice");
    for _ in 0..160 {
        old.text(&"x".repeat(64 * 1024));
    }
    old.end_at(Outcome::Done, at(1));
    old.settle(&runs);
    runs.close();
    let mut connection = rookery_sqlite::open(folder.path().join("runs.db")).unwrap();
    assert!(Sweeper::new(Duration::ZERO, 0).step(&mut connection, SystemTime::now()).unwrap());
    assert_eq!(count(folder.path(), "runs"), 0);
    assert!(count(folder.path(), "events") > 0, "some are left");
    drop(connection);
    let runs = open(folder.path());
    let new = Tape::new("chat/alice");
    new.text("mine");
    new.settle(&runs);
    assert_eq!(replay(&runs, new.run), new.events());
    runs.sweep_now();
    assert_eq!(replay(&runs, new.run), new.events());
}
