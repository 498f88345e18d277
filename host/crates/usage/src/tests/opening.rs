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
fn a_file_that_holds_no_usage_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.db");
    std::fs::write(&path, "my notes\n".repeat(1000)).unwrap();
    let reported = report(folder.path(), &query(By::Day)).err().unwrap();
    for error in [refusal(folder.path()), reported] {
        let expected = format!("{} holds no usage: it is not a database of rookery", path.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint(), "move the file away; a new one is made then, and budgets begin anew");
    }
}

#[test]
fn the_database_is_set_up_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let opened = USAGE.open(folder.path(), Durability::Normal).unwrap();
    for (pragma, value) in
        [("application_id", 0x526f_7573), ("user_version", 1), ("journal_size_limit", 16 << 20)]
    {
        let found = opened.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        assert_eq!(found.unwrap(), value, "{pragma}");
    }
}

#[test]
fn every_question_finds_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let opened = USAGE.open(folder.path(), Durability::Normal).unwrap();
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
