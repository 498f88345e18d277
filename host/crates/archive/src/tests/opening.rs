use rookery_core::StateName;
use rusqlite::Connection;

use super::*;
use crate::OpenError;

fn refusal(folder: &Path) -> OpenError {
    Runs::open(&settings(folder)).err().unwrap()
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let runs = open(folder.path());
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().starts_with("another rookery uses the data folder"), "{error}");
    runs.close();
    let again = open(folder.path());
    drop(runs);
    assert!(matches!(refusal(folder.path()), OpenError::InUse(_)), "the old handle holds nothing");
    drop(again);
    open(folder.path());
}

#[test]
fn a_file_that_holds_no_runs_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    std::fs::write(&path, "my notes\n".repeat(1000)).unwrap();
    let error = refusal(folder.path());
    let expected = format!("{} holds no runs: it is not a database of rookery", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.hint(), "move the file away; a new one is made then");
}

#[test]
fn the_database_is_set_up_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let opened = crate::open::open(folder.path(), crate::Durability::Normal).unwrap();
    for (pragma, value) in [
        ("application_id", 0x526f_6f6b),
        ("user_version", 4),
        ("page_size", 8192),
        ("wal_autocheckpoint", 2048),
        ("journal_size_limit", 64 << 20),
        ("cache_size", -16 * 1024),
    ] {
        let found = opened.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        assert_eq!(found.unwrap(), value, "{pragma}");
    }
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    explain.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_question_finds_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let opened = crate::open::open(folder.path(), crate::Durability::Normal).unwrap();
    for (conditions, index) in [
        ("id = x'00'", "sqlite_autoindex_runs_1 (id=?)"),
        ("plugin = 'a' AND name = 'b' AND key = 'c'", "runs_by_key"),
        ("id < x'00' AND ended < 1 ORDER BY id LIMIT 9", "sqlite_autoindex_runs_1 (id<?)"),
    ] {
        let plan = plan(&opened.connection, &format!("SELECT no FROM runs WHERE {conditions}"));
        assert!(plan.len() == 1 && plan[0].contains(index), "{conditions}: {plan:?}");
    }
}

#[test]
fn a_list_of_an_agent_looks_at_its_own_runs_and_at_the_few_that_are_not_entered() {
    let folder = tempfile::tempdir().unwrap();
    let opened = crate::open::open(folder.path(), crate::Durability::Normal).unwrap();
    for (state, before, conditions) in [
        (None, None, "of_plugin=? AND of_name=?"),
        (Some(StateName::Failed), Some(RunId::new()), "of_plugin=? AND of_name=? AND run<?"),
    ] {
        let query = Query { agent: Some(super::agent("chat/alice")), state, before, limit: 9 };
        let plan = plan(&opened.connection, &crate::reader::listing(&query));
        let step = |step: &str| plan.iter().position(|found| found == step);
        let entered = step(&format!("SEARCH of_agent USING PRIMARY KEY ({conditions})"));
        let new = step("SEARCH runs USING INTEGER PRIMARY KEY (rowid>?)");
        // Those that are entered come sorted, and as many as are wanted; only the others are sorted.
        let sort = step("USE TEMP B-TREE FOR ORDER BY");
        assert!(step("MERGE (UNION ALL)") == Some(0) && entered.is_some(), "{plan:?}");
        assert!(entered < new && new < sort && sort.is_some(), "{plan:?}");
        assert_eq!(plan.iter().filter(|step| step.starts_with("USE TEMP")).count(), 1, "{plan:?}");
    }
}

#[test]
fn a_list_looks_at_no_runs_of_other_agents_and_for_rare_ones_not_at_the_many() {
    let folder = tempfile::tempdir().unwrap();
    let opened = crate::open::open(folder.path(), crate::Durability::Normal).unwrap();
    let agent = || Some(super::agent("chat/alice"));
    let before = || Some(RunId::new());
    use StateName::{Done, Failed, Queued};
    for (agent, state, before, index) in [
        (None, None, None, "SCAN runs USING INDEX sqlite_autoindex_runs_1"),
        (None, None, before(), "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (id<?)"),
        (None, Some(Done), before(), "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (id<?)"),
        (None, Some(Failed), None, "SEARCH runs USING INDEX runs_failed (state=?)"),
        (None, Some(Failed), before(), "SEARCH runs USING INDEX runs_failed (state=? AND id<?)"),
        (agent(), Some(Queued), before(), "SEARCH runs USING INDEX runs_live (plugin=? AND name=? AND id<?)"),
        // All that are live, which are bounded, and sorted.
        (None, Some(Queued), None, "SCAN runs USING INDEX runs_live"),
        (None, Some(Queued), before(), "SCAN runs USING INDEX runs_live"),
    ] {
        let query = Query { agent, state, before, limit: 9 };
        let plan = plan(&opened.connection, &crate::reader::listing(&query));
        assert_eq!(plan[0], index, "{query:?}: {plan:?}");
        let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert_eq!(sorts, query.agent.is_none() && state == Some(Queued), "{query:?}: {plan:?}");
    }
}
