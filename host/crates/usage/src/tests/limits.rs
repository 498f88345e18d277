use super::*;

/// A budget of which only this scope has limits.
fn only(scope: Scope, limits: Limits) -> Budget {
    let mut budget = Budget::default();
    match scope {
        Scope::Run => budget.run = limits,
        Scope::Agent => budget.agent = limits,
        Scope::Plugin => budget.plugin = limits,
    }
    budget
}

const SCOPES: [Scope; 3] = [Scope::Run, Scope::Agent, Scope::Plugin];

#[test]
fn a_call_begins_only_with_room_for_its_estimate_and_one_token_more() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    for (at, scope) in SCOPES.into_iter().enumerate() {
        let meter = ledger.plugin(plugin(&format!("p{at}")), only(scope, tokens(100)));
        let (alice, run) = (name("alice"), run());
        let refused = over(meter.begin(&alice, &run, "m", None, 100));
        let resets = (scope != Scope::Run).then(|| TODAY.next().begins());
        let expected = Over { scope, kind: Kind::Tokens, limit: 100, spent: 0, asked: 100, resets };
        assert_eq!(refused, expected);
        let first = meter.begin(&alice, &run, "m", None, 60).unwrap();
        assert_eq!(over(meter.begin(&alice, &run, "m", None, 40)).spent, 60, "what is open is held");
        let second = meter.begin(&alice, &run, "m", None, 39).unwrap();
        drop((first, second));
        assert_eq!(over(meter.begin(&alice, &run, "m", None, 1)).spent, 99, "and stays when it has ended");
        assert_eq!(run.read(), spent(2, 99, 0, 0), "what is refused is not counted");
    }
    assert_eq!(all(&ledger), spent(6, 297, 0, 0));
}

#[test]
fn what_was_held_too_much_is_free_again_when_the_provider_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), only(Scope::Agent, tokens(100)));
    let mut first = meter.begin(&name("alice"), &run(), "m", None, 90).unwrap();
    over(meter.begin(&name("alice"), &run(), "m", None, 50));
    first.usage(20, 5);
    let second = meter.begin(&name("alice"), &run(), "m", None, 50).unwrap();
    drop((first, second));
    assert_eq!(all(&ledger), spent(2, 70, 5, 0));
}

#[test]
fn a_call_is_told_while_it_streams_that_it_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    for (at, scope) in SCOPES.into_iter().enumerate() {
        let meter = ledger.plugin(plugin(&format!("t{at}")), only(scope, tokens(100)));
        let mut charge = meter.begin(&name("alice"), &run(), "m", None, 50).unwrap();
        assert_eq!(charge.output(50), Ok(()), "exactly the limit is not over it");
        let over = charge.output(8).unwrap_err();
        assert_eq!((over.scope, over.kind, over.limit, over.spent), (scope, Kind::Tokens, 100, 108));
        assert!(charge.output(0).is_err(), "and stays so");
        charge.usage(40, 58);
        assert_eq!(charge.output(0), Ok(()), "until it is known better");

        let meter = ledger.plugin(plugin(&format!("m{at}")), only(scope, money(100)));
        let mut charge = meter.begin(&name("alice"), &run(), "m", Some(PRICE), 50).unwrap();
        assert_eq!(charge.output(25), Ok(()));
        let over = charge.output(1).unwrap_err();
        assert_eq!((over.scope, over.kind, over.limit, over.spent), (scope, Kind::Money, 100, 102));
    }
}

#[test]
fn a_call_is_told_too_when_others_have_spent_what_there_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), only(Scope::Plugin, tokens(100)));
    let mut alice = meter.begin(&name("alice"), &run(), "m", None, 10).unwrap();
    let mut bob = meter.begin(&name("bob"), &run(), "m", None, 10).unwrap();
    assert!(bob.output(81).is_err());
    assert_eq!(alice.output(0).unwrap_err().spent, 101);
}

#[test]
fn requests_are_counted_by_run_agent_and_plugin_each_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let budget = Budget { run: requests(2), agent: requests(3), plugin: requests(4) };
    let meter = ledger.plugin(plugin("chat"), budget);
    let call = |agent: &str, run: &Arc<RunSpend>| {
        meter.begin(&name(agent), run, "m", None, 0).map(drop).map_err(|refused| match refused {
            Refused::Over(over) => (over.scope, over.spent),
            Refused::Unpriced(error) => panic!("{error}"),
        })
    };
    let (one, two, three) = (run(), run(), run());
    assert_eq!(call("alice", &one), Ok(()));
    assert_eq!(call("alice", &one), Ok(()));
    assert_eq!(call("alice", &one), Err((Scope::Run, 2)));
    assert_eq!(call("alice", &two), Ok(()));
    assert_eq!(call("alice", &two), Err((Scope::Agent, 3)));
    assert_eq!(call("bob", &three), Ok(()));
    assert_eq!(call("bob", &three), Err((Scope::Plugin, 4)));
    // What was refused by a wider limit holds nothing in a narrower one.
    assert_eq!((one.read().requests, two.read().requests, three.read().requests), (2, 1, 1));
}

#[test]
fn another_plugin_has_a_budget_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let [chat, other] =
        ["chat", "other"].map(|name| ledger.plugin(plugin(name), only(Scope::Plugin, requests(1))));
    drop(chat.begin(&name("alice"), &run(), "m", None, 1).unwrap());
    over(chat.begin(&name("alice"), &run(), "m", None, 1));
    drop(other.begin(&name("alice"), &run(), "m", None, 1).unwrap());
}

#[test]
fn a_plugin_that_is_loaded_again_goes_on_with_what_it_spent_and_its_new_budget() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let old = ledger.plugin(plugin("chat"), Budget::default());
    let mut open = old.begin(&name("alice"), &run(), "m", None, 500).unwrap();
    let new = ledger.plugin(plugin("chat"), only(Scope::Agent, tokens(400)));
    assert_eq!(over(new.begin(&name("alice"), &run(), "m", None, 1)).spent, 500);
    assert_eq!(open.output(100), Ok(()), "an open call keeps the budget that it began with");
}

#[test]
fn a_limit_on_money_refuses_a_model_without_a_price_and_does_not_hinder_a_free_one() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), only(Scope::Plugin, money(10)));
    let refused = meter.begin(&name("alice"), &run(), "odd", None, 1).err().unwrap();
    assert_eq!(refused, Refused::Unpriced(Unpriced { scope: Scope::Plugin, model: "odd".into() }));
    let mut dear = meter.begin(&name("alice"), &run(), "dear", Some(PRICE), 9).unwrap();
    assert!(dear.output(1).is_err());
    assert_eq!(over(meter.begin(&name("alice"), &run(), "dear", Some(PRICE), 0)).kind, Kind::Money);
    let mut free = meter.begin(&name("alice"), &run(), "free", Some(Price::default()), 1 << 20).unwrap();
    assert_eq!(free.output(1 << 20), Ok(()));
}
