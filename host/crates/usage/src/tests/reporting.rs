use super::*;

/// Two days, two plugins, three agents, two models.
fn filled(folder: &Path) -> Ledger {
    let wall = Wall::new();
    let ledger = Ledger::open(&settings(folder, &wall)).unwrap();
    let [chat, other] = ["chat", "other"].map(|name| ledger.plugin(plugin(name), Budget::default()));
    let call = |meter: &Meter, agent: &str, model: &str, price, input, output| {
        let mut charge = meter.begin(&name(agent), &run(), model, price, 0).unwrap();
        charge.usage(input, output);
    };
    wall.set(TODAY.before(1));
    call(&chat, "alice", "small", Some(PRICE), 10, 0);
    wall.set(TODAY);
    call(&chat, "alice", "small", Some(PRICE), 20, 5);
    call(&chat, "alice", "free", None, 1000, 100);
    call(&chat, "bob", "free", None, 7, 0);
    call(&other, "alice", "small", Some(PRICE), 100, 0);
    ledger
}

fn lines(rows: &[Row]) -> Vec<String> {
    let word = |row: &Row| {
        let agent = row.agent.as_ref().map(ToString::to_string);
        let plugin = row.plugin.as_ref().map(ToString::to_string);
        let day = row.day.map(|day| day.to_string());
        agent.or(plugin).or(day).or(row.model.clone()).unwrap()
    };
    let line = |row: &Row| {
        let Spent { requests, input_tokens, output_tokens, money } = row.spent;
        format!("{} {requests} {input_tokens} {output_tokens} {}", word(row), money.0)
    };
    rows.iter().map(line).collect()
}

#[test]
fn a_report_adds_up_by_day_plugin_agent_or_model_the_dearest_first() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path());
    for (by, expected) in [
        (By::Day, &["2026-11-24 4 1127 105 130", "2026-11-23 1 10 0 10"][..]),
        (By::Plugin, &["other 1 100 0 100", "chat 4 1037 105 40"]),
        (By::Agent, &["other/alice 1 100 0 100", "chat/alice 3 1030 105 40", "chat/bob 1 7 0 0"]),
        (By::Model, &["small 3 130 5 140", "free 2 1007 100 0"]),
    ] {
        assert_eq!(lines(&ledger.report(&query(by)).unwrap()), expected, "{by:?}");
        // The same, from outside, beside the host.
        assert_eq!(lines(&report(folder.path(), &query(by)).unwrap()), expected, "{by:?}");
    }
}

#[test]
fn a_report_is_of_whom_and_when_one_asks_and_no_longer_than_one_wants() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path());
    let ask = |query: Query| lines(&ledger.report(&query).unwrap());
    let chat = Query { of: Of::Plugin(plugin("chat")), ..query(By::Agent) };
    assert_eq!(ask(chat.clone()), ["chat/alice 3 1030 105 40", "chat/bob 1 7 0 0"]);
    assert_eq!(ask(Query { limit: 1, ..chat.clone() }), ["chat/alice 3 1030 105 40"]);
    assert_eq!(ask(Query { limit: 0, ..chat.clone() }), [""; 0]);
    assert_eq!(ask(Query { from: TODAY, ..chat.clone() }), ["chat/alice 2 1020 105 30", "chat/bob 1 7 0 0"]);
    assert_eq!(ask(Query { to: TODAY.before(1), ..chat }), ["chat/alice 1 10 0 10"]);
    let alice = Query { of: Of::Agent(agent("chat/alice")), ..query(By::Model) };
    assert_eq!(ask(alice), ["small 2 30 5 40", "free 1 1000 100 0"]);
    let nobody = Query { of: Of::Agent(agent("chat/nobody")), ..query(By::Model) };
    assert_eq!(ask(nobody), [""; 0]);
}

#[test]
fn without_a_file_there_is_nothing_to_report_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(report(folder.path(), &query(By::Day)).unwrap(), []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn names_that_are_none_are_said_to_be_damage() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path());
    all(&ledger);
    let other = rookery_sqlite::open(folder.path().join("usage.db")).unwrap();
    other.execute_batch("UPDATE usage SET agent = '../x' WHERE agent = 'bob'").unwrap();
    let error = ledger.report(&query(By::Agent)).unwrap_err();
    assert!(matches!(error, ReportError::Open(OpenError::NotOurs { .. })), "{error}");
    assert!(ledger.report(&query(By::Plugin)).is_ok());
}

#[test]
fn a_row_in_json_has_what_it_is_about_and_what_it_comes_to() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path());
    let first = |by| ledger.report(&query(by)).unwrap()[0].json();
    let sums = r#""requests":1,"input_tokens":100,"output_tokens":0,"money":"0.0001"}"#;
    assert_eq!(first(By::Agent), format!(r#"{{"plugin":"other","agent":"other/alice",{sums}"#));
    assert_eq!(first(By::Plugin), format!(r#"{{"plugin":"other",{sums}"#));
    assert!(first(By::Day).starts_with(r#"{"day":"2026-11-24","requests":4,"#));
    assert!(first(By::Model).starts_with(r#"{"model":"small","requests":3,"#));
}
