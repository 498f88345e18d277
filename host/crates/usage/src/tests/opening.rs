use rusqlite::Connection;

use super::*;

fn refusal(folder: &Path) -> OpenError {
    Ledger::open(&settings(folder, &Wall::new())).err().unwrap()
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let error = refusal(folder.path());
    assert!(error.to_string().starts_with("another rookery uses the data folder"), "{error}");
    ledger.close();
    let again = open(folder.path());
    drop(ledger);
    assert!(matches!(refusal(folder.path()), OpenError::InUse(_)), "the old handle holds nothing");
    drop(again);
    open(folder.path());
}

#[test]
fn what_was_written_is_there_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let at_once = Settings { gather: Duration::ZERO, ..settings(folder.path(), &Wall::new()) };
    let ledger = Ledger::open(&at_once).unwrap();
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    let mut charge = meter.begin(&name("alice"), &run(), "m", Some(PRICE), 10).unwrap();
    charge.output(4).unwrap();
    let everything = spent(1, 10, 4, 18);
    // Nobody asks for it to be written.
    while whole(&report(folder.path(), &query(By::Agent)).unwrap()) != everything {
        std::thread::yield_now();
    }
    let copy = crash(folder.path());
    assert_eq!(all(&open(copy.path())), everything);
}

#[test]
fn a_file_that_is_not_ours_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.db");
    let garbage = "my notes\n".repeat(1000);
    std::fs::write(&path, &garbage).unwrap();
    let error = refusal(folder.path());
    assert!(
        matches!(error, OpenError::NotUsage(_)) && error.hint().contains("move the file away"),
        "{error}"
    );
    assert!(matches!(report(folder.path(), &query(By::Day)), Err(OpenError::NotUsage(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), garbage);

    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE usage (a)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(refusal(folder.path()), OpenError::NotUsage(_)));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close();
    let path = folder.path().join("usage.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Newer { found: 99, known: 1, .. }), "{error}");
    assert!(report(folder.path(), &query(By::Day)).is_err());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refusal(&file.join("data"));
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn the_database_is_set_up_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    for (durability, synchronous) in [(Durability::Normal, 1), (Durability::Full, 2)] {
        let opened = crate::open::open(folder.path(), durability).unwrap();
        let pragma = |name: &str| {
            opened.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(
            (pragma("synchronous"), pragma("auto_vacuum"), pragma("user_version")),
            (synchronous, 2, 1)
        );
        let mode = opened.connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        assert_eq!(mode.unwrap(), "wal");
    }
}

#[test]
fn every_question_finds_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let opened = crate::open::open(folder.path(), Durability::Normal).unwrap();
    let plan = |sql: &str| -> Vec<String> {
        let mut explain = opened.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        explain.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap()
    };
    let agent = plan(crate::report::OF_AGENT);
    assert!(agent.len() == 1 && agent[0].contains("(day=? AND plugin=? AND agent=?)"), "{agent:?}");
    let old = plan(crate::writer::REMOVE);
    assert!(old.iter().any(|step| step.contains("(day<?)")), "{old:?}");
    assert!(!old.iter().any(|step| step.contains("SCAN usage") || step.contains("TEMP B-TREE")), "{old:?}");
    let days = plan(&crate::report::statement(&query(By::Day)));
    assert!(days[0].contains("(day>? AND day<?)"), "{days:?}");
}
