//! A folder that an earlier version wrote.

use rookery_core::{Code, Standing};
use rusqlite::{Connection, params};

use super::*;
use crate::encode;

/// A database of the first format, written by that format's own statements.
struct Former(Connection);

impl Former {
    fn make(folder: &Path) -> Self {
        Self(database(folder, &[include_str!("../formats/1.sql")]))
    }

    fn accept(&self, prompt: &Prompt, key: Option<&str>) -> i64 {
        let insert = "INSERT INTO runs (id, plugin, name, key, origin, origin_name, submitted, state, prompt, body) \
             VALUES (?, 'chat', 'alice', ?, 'client', '127.0.0.1:4000', 1000000, 'queued', ?, ?)";
        self.0
            .execute(insert, params![prompt.run.to_string(), key, prompt.text, prompt.body])
            .map(|_| self.0.last_insert_rowid())
            .unwrap()
    }

    fn start(&self, no: i64) {
        let start = "UPDATE runs SET state = 'running', started = 2000000, generation = 7 WHERE no = ?";
        self.0.execute(start, [no]).unwrap();
    }

    fn fail(&self, no: i64, events: i64) {
        let end = "UPDATE runs SET state = 'failed', ended = 3000000, events = ?, code = 'trapped', message = 'no' \
             WHERE no = ?";
        self.0.execute(end, [events, no]).unwrap();
    }

    fn events(&self, no: i64, events: &[Event]) {
        let mut block = Vec::new();
        events.iter().for_each(|event| encode::append(&mut block, &event.item));
        let (first, last) = (events[0].id as i64, events[events.len() - 1].id as i64);
        self.0.execute("INSERT INTO events VALUES (?, ?, ?, ?)", params![no, first, last, block]).unwrap();
    }
}

/// A database as the version left it that knew these formats.
fn database(folder: &Path, formats: &[&str]) -> Connection {
    let connection = rookery_sqlite::open(folder.join("runs.db")).unwrap();
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    formats.iter().for_each(|format| connection.execute_batch(format).unwrap());
    connection.pragma_update(None, "application_id", 0x526f_6f6b).unwrap();
    connection.pragma_update(None, "user_version", formats.len() as i64).unwrap();
    connection
}

fn prompt(text: String, body: Option<String>) -> Prompt {
    let run = run_at(at(1_000));
    Prompt { run, text, body, origin: Origin::Client(Some("127.0.0.1:4000".into())) }
}

/// Texts around the length from which they are not in the row, with characters of every width across it.
fn prompts() -> Vec<Prompt> {
    let lengths = [0, 1, 1_020, 1_021, 1_022, 1_023, 1_024, 1_025, 5_000];
    let mut prompts: Vec<_> = lengths
        .into_iter()
        .flat_map(|length| {
            ["", "é", "€", "🦀", "\0", "é🦀\0€"].map(|tail| "x".repeat(length) + &tail.repeat(400))
        })
        .map(|text| prompt(text.clone(), Some(format!("{{{text}}}"))))
        .collect();
    prompts.push(prompt("no body".into(), None));
    prompts
}

#[test]
fn the_runs_of_an_earlier_version_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let former = Former::make(folder.path());
    let failure = Failure::new(Code::Trapped, "no");
    let events = [
        Event { id: 1, item: Item::Chunk(Chunk::Text("hello".into())) },
        Event { id: 2, item: Item::Outcome(Outcome::Failed(failure.clone())) },
    ];
    let prompts = prompts();
    for (n, prompt) in prompts.iter().enumerate() {
        let no = former.accept(prompt, Some(&format!("key {n}")));
        former.start(no);
        former.events(no, &events[..1]);
        former.events(no, &events[1..]);
        former.fail(no, 2);
    }
    drop(former);

    let runs = open(folder.path());
    assert_eq!(runs.recovered(), 0);
    let listed = wait(runs.list(EVERYTHING)).unwrap();
    assert_eq!(listed.len(), prompts.len());
    for (n, (given, listed)) in prompts.iter().zip(listed.into_iter().rev()).enumerate() {
        let expected = RunState {
            run: given.run,
            agent: agent("chat/alice"),
            origin: given.origin.clone(),
            prompt: given.text.clone(),
            prompt_cut: false,
            submitted: at(1_000),
            started: Some((at(2_000), Generation(7))),
            ended: Some(at(3_000)),
            standing: Standing::Ended(Outcome::Failed(failure.clone())),
            events: 2,
            spent: Spent::default(),
        };
        assert_eq!(state(&runs, given.run).as_ref(), Some(&expected));
        let (head, prompt_cut) = RunState::listed(&given.text);
        assert_eq!(listed, RunState { prompt: head.into(), prompt_cut, ..expected }, "cut as if it were new");
        assert_eq!(replay(&runs, given.run), events);
        let found = wait(runs.by_key(agent("chat/alice"), format!("key {n}"))).unwrap();
        assert_eq!(found, Some((given.run, given.clone())));
    }
    assert_eq!(of_alice(&runs), list(&runs, EVERYTHING));
    // And go on: new runs are written beside them, and the old ones are removed as new ones are.
    let new = done_run(&runs, "chat/alice", at(4_000));
    assert_eq!(list(&runs, EVERYTHING)[0], new.run);
    runs.close();
    let runs = Runs::open(&Settings { keep: 1, ..settings(folder.path()) }).unwrap();
    runs.sweep_now();
    assert_eq!(list(&runs, EVERYTHING), [new.run]);
}

#[test]
fn runs_that_an_earlier_version_left_without_an_end_are_given_one() {
    let folder = tempfile::tempdir().unwrap();
    let former = Former::make(folder.path());
    let [queued, running, long] =
        [prompt("queued".into(), None), prompt("running".into(), None), prompt("long".repeat(1_000), None)];
    former.accept(&queued, None);
    let no = former.accept(&running, None);
    former.start(no);
    former.events(no, &[Event { id: 1, item: Item::Chunk(Chunk::Text("so far".into())) }]);
    former.accept(&long, None);
    drop(former);

    let runs = open(folder.path());
    assert_eq!(runs.recovered(), 3);
    for (prompt, last) in [(queued, 1), (running, 1 + 16 * 1024), (long, 1)] {
        let state = state(&runs, prompt.run).unwrap();
        assert_eq!((&state.prompt, state.events), (&prompt.text, last));
        let Standing::Ended(Outcome::Failed(failure)) = state.standing else { panic!("{state:?}") };
        assert_eq!(failure.code, Code::Interrupted);
        assert_eq!(replay(&runs, prompt.run).last().unwrap().id, last);
    }
}

#[test]
fn events_of_a_run_that_an_earlier_version_was_removing_are_no_new_runs() {
    let folder = tempfile::tempdir().unwrap();
    let former = Former::make(folder.path());
    let no = former.accept(&prompt("old".into(), None), None);
    former.events(no, &[Event { id: 1, item: Item::Chunk(Chunk::Text("old".into())) }]);
    former.0.execute_batch("INSERT INTO removed SELECT no FROM runs; DELETE FROM runs").unwrap();
    drop(former);
    let runs = open(folder.path());
    let new = done_run(&runs, "chat/alice", at(5));
    assert_eq!(replay(&runs, new.run), new.events());
    runs.sweep_now();
    assert_eq!(replay(&runs, new.run), new.events());
}

#[test]
fn a_migration_that_fails_leaves_the_folder_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let former = Former::make(folder.path());
    former.accept(&prompt("fine".into(), None), None);
    former.0.execute("UPDATE runs SET id = 'no id'", ()).unwrap();
    drop(former);
    assert!(Runs::open(&settings(folder.path())).is_err());
    let connection = rookery_sqlite::open(folder.path().join("runs.db")).unwrap();
    let found: (i64, String) = connection
        .query_row("SELECT user_version, id FROM pragma_user_version, runs", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(found, (1, "no id".into()));
}

fn of_alice(runs: &Runs) -> Vec<RunId> {
    list(runs, Query { agent: Some(agent("chat/alice")), ..EVERYTHING })
}

/// A database of the second format, written by that format's own statements.
struct Second(Connection);

/// Where a run is that the second format knew.
enum Far {
    Queued,
    Running,
    /// Its events are in its row.
    Done,
    /// Its events are in rows of their own.
    Failed,
}

impl Second {
    fn make(folder: &Path) -> Self {
        Self(database(folder, &[include_str!("../formats/1.sql"), include_str!("../formats/2.sql")]))
    }

    fn put(&self, no: i64, prompt: &Prompt, far: &Far) {
        let (head, cut) = RunState::listed(&prompt.text);
        if cut {
            self.items(no, (-1, -1), prompt.text.as_bytes());
        }
        let short = prompt.body.as_deref().filter(|body| body.len() <= 1024);
        if let (Some(body), None) = (prompt.body.as_deref(), short) {
            self.items(no, (0, 0), body.as_bytes());
        }
        let mut block = Vec::new();
        ended(far).iter().for_each(|event| encode::append(&mut block, &event.item));
        let started = !matches!(far, Far::Queued);
        let (state, events, code, message, items) = match far {
            Far::Queued => ("queued", None, None, None, None),
            Far::Running => ("running", None, None, None, None),
            Far::Done => ("done", Some(2), None, None, Some(&block)),
            Far::Failed => ("failed", Some(2), Some("trapped"), Some("no"), None),
        };
        if let Far::Failed = far {
            self.items(no, (1, 2), &block);
        }
        let insert = "INSERT INTO runs (no, id, plugin, name, key, origin, origin_name, submitted, state, started, \
             generation, ended, events, code, message, stop, prompt, cut, body, items) \
             VALUES (?, ?, 'chat', 'alice', ?, 'client', '127.0.0.1:4000', 1000000, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?)";
        let values = params![
            no,
            prompt.run.to_bytes(),
            format!("key {no}"),
            state,
            started.then_some(2_000_000),
            started.then_some(7),
            events.map(|_| 3_000_000),
            events,
            code,
            message,
            head,
            cut,
            short,
            items,
        ];
        self.0.execute(insert, values).unwrap();
    }

    fn items(&self, no: i64, (first, last): (i64, i64), items: &[u8]) {
        self.0.execute("INSERT INTO events VALUES (?, ?, ?, ?)", params![no, first, last, items]).unwrap();
    }
}

/// What a run wrote that is over.
fn ended(far: &Far) -> Vec<Event> {
    let outcome = match far {
        Far::Queued | Far::Running => return Vec::new(),
        Far::Done => Outcome::Done,
        Far::Failed => Outcome::Failed(Failure::new(Code::Trapped, "no")),
    };
    let chunk = Item::Chunk(Chunk::Text("hello".into()));
    vec![Event { id: 1, item: chunk }, Event { id: 2, item: Item::Outcome(outcome) }]
}

#[test]
fn the_runs_of_the_version_before_are_found_again_and_have_spent_nothing_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let second = Second::make(folder.path());
    let prompts = prompts();
    let far = |n: usize| if n.is_multiple_of(2) { Far::Done } else { Far::Failed };
    for (n, prompt) in prompts.iter().enumerate() {
        second.put(n as i64 + 1, prompt, &far(n));
    }
    let left = [prompt("queued".into(), None), prompt("running".into(), None)];
    let next = prompts.len() as i64 + 1;
    second.put(next, &left[0], &Far::Queued);
    second.put(next + 1, &left[1], &Far::Running);
    drop(second);

    let runs = open(folder.path());
    assert_eq!(runs.recovered(), left.len());
    for prompt in &left {
        let state = state(&runs, prompt.run).unwrap();
        assert!(matches!(state.standing, Standing::Ended(Outcome::Failed(_))) && state.spent.is_nothing());
    }
    let listed = wait(runs.list(EVERYTHING)).unwrap();
    assert_eq!(listed.len(), prompts.len() + left.len());
    for (n, (given, listed)) in prompts.iter().zip(listed.into_iter().rev()).enumerate() {
        let events = ended(&far(n));
        let Item::Outcome(outcome) = events[1].item.clone() else { panic!("{events:?}") };
        let expected = RunState {
            run: given.run,
            agent: agent("chat/alice"),
            origin: given.origin.clone(),
            prompt: given.text.clone(),
            prompt_cut: false,
            submitted: at(1_000),
            started: Some((at(2_000), Generation(7))),
            ended: Some(at(3_000)),
            standing: Standing::Ended(outcome),
            events: 2,
            spent: Spent::default(),
        };
        assert_eq!(state(&runs, given.run).as_ref(), Some(&expected));
        let (head, prompt_cut) = RunState::listed(&given.text);
        assert_eq!(listed, RunState { prompt: head.into(), prompt_cut, ..expected });
        assert_eq!(replay(&runs, given.run), events);
        let found = wait(runs.by_key(agent("chat/alice"), format!("key {}", n + 1))).unwrap();
        assert_eq!(found, Some((given.run, given.clone())));
    }
    assert_eq!(of_alice(&runs), list(&runs, EVERYTHING));
    // And go on beside them: a new run has what it spent.
    let new = Tape::with("chat/alice", None, at(4_000));
    let spent = every_spent()[1];
    new.end_with(Outcome::Done, at(4_000), spent);
    new.settle(&runs);
    assert_eq!(state(&runs, new.run).unwrap().spent, spent);
    runs.close();
    let runs = open(folder.path());
    assert_eq!((runs.recovered(), state(&runs, new.run).unwrap().spent), (0, spent), "migrated once");
}
