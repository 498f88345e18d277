use super::*;

#[test]
fn at_midnight_there_is_a_new_budget_and_an_open_call_stays_with_its_day() {
    let folder = tempfile::tempdir().unwrap();
    let wall = Wall::new();
    let ledger = Ledger::open(&settings(folder.path(), &wall)).unwrap();
    let budget = Budget { agent: tokens(100), plugin: tokens(150), ..Budget::default() };
    let meter = ledger.plugin(plugin("chat"), budget);
    let alice = name("alice");
    let mut late = meter.begin(&alice, &run(), "m", None, 90).unwrap();
    let refused = over(meter.begin(&alice, &run(), "m", None, 50));
    assert_eq!(refused.resets, Some(TODAY.next().begins()));

    wall.set(TODAY.next());
    let mut early = meter.begin(&alice, &run(), "m", None, 90).unwrap();
    assert_eq!(early.output(10), Ok(()));
    assert_eq!(late.output(11).unwrap_err().resets, Some(TODAY.next().begins()), "still the old budget");
    assert_eq!(early.output(0), Ok(()));
    drop((late, early));
    let rows = ledger.report(&query(By::Day)).unwrap();
    let days: Vec<_> = rows.iter().map(|row| (row.day.unwrap(), row.spent)).collect();
    assert_eq!(days, [(TODAY.next(), spent(1, 90, 10, 0)), (TODAY, spent(1, 90, 11, 0))]);
}

#[test]
fn a_clock_that_is_set_back_finds_what_was_spent_then() {
    let folder = tempfile::tempdir().unwrap();
    let wall = Wall::new();
    let ledger = Ledger::open(&settings(folder.path(), &wall)).unwrap();
    let meter = ledger.plugin(plugin("chat"), Budget { plugin: requests(1), ..Budget::default() });
    let call = |agent: &str| meter.begin(&name(agent), &run(), "m", None, 1);
    drop(call("alice").unwrap());
    wall.set(TODAY.next());
    drop(call("alice").unwrap());
    // Enough to forget what is idle.
    let other = ledger.plugin(plugin("other"), Budget::default());
    for number in 0..3000 {
        drop(other.begin(&name(&format!("a{number}")), &run(), "m", None, 1).unwrap());
        if number % 1000 == 0 {
            all(&ledger);
        }
    }
    wall.set(TODAY);
    assert_eq!(over(call("bob")).spent, 1);
}

#[test]
fn after_a_restart_the_day_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Budget { agent: tokens(100), plugin: money(1000), ..Budget::default() };
    for round in 0..3 {
        let ledger = open(folder.path());
        let meter = ledger.plugin(plugin("chat"), budget);
        let mut charge = meter.begin(&name("alice"), &run(), "m", Some(PRICE), 10).unwrap();
        charge.usage(20, 10);
        let open = over(meter.begin(&name("alice"), &run(), "m", Some(PRICE), 100));
        assert_eq!((open.scope, open.spent), (Scope::Agent, 30 * (round + 1)));
        let bob =
            over(meter.begin(&name("bob"), &run(), "m", Some(Price { output: Money(1), ..PRICE }), 1000));
        assert_eq!((bob.scope, bob.spent), (Scope::Agent, 0));
        // Dropped with the call still open, in this order: the last one that goes writes.
        drop(ledger);
        drop(meter);
        drop(charge);
    }
    let ledger = open(folder.path());
    let refused = ledger.plugin(plugin("chat"), Budget { agent: Limits::default(), ..budget });
    let refused = over(refused.begin(&name("new"), &run(), "m", Some(PRICE), 1000));
    assert_eq!((refused.kind, refused.spent), (Kind::Money, 120));
    assert_eq!(all(&ledger), spent(3, 60, 30, 120));
}

#[test]
fn old_days_are_removed_at_the_start_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let wall = Wall::new();
    let ledger = Ledger::open(&settings(folder.path(), &wall)).unwrap();
    for back in [0, 1, 399, 400, 401, 402, 5000] {
        wall.set(TODAY.before(back));
        let meter = ledger.plugin(plugin("chat"), Budget::default());
        for number in 0..(if back == 5000 { 2500 } else { 1 }) {
            drop(meter.begin(&name(&format!("a{number}")), &run(), "m", None, 1).unwrap());
        }
    }
    ledger.close();
    wall.set(TODAY);
    let ledger = Ledger::open(&settings(folder.path(), &wall)).unwrap();
    let everything = Query { from: Day(0), ..query(By::Day) };
    let mut days: Vec<_>;
    while {
        days = ledger.report(&everything).unwrap().iter().map(|row| row.day.unwrap()).collect();
        days.len() > 4
    } {
        std::thread::yield_now();
    }
    assert_eq!(days, [0, 1, 399, 400].map(|back| TODAY.before(back)));
}

#[test]
fn a_step_removes_so_many_rows_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = USAGE.open(folder.path(), Durability::Normal).unwrap();
    let fill = "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 2499) \
                INSERT INTO usage SELECT n, 'chat', 'alice', 'm', 1, 1, 1, 1 FROM n";
    opened.connection.execute_batch(fill).unwrap();
    let mut step = || {
        let more = crate::writer::sweep(&mut opened.connection, Day(2400), 300).unwrap();
        let first = "SELECT min(day), count(*) FROM usage";
        let kept = opened.connection.query_row(first, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        (more, kept)
    };
    assert_eq!(step(), (true, (1000, 1500)));
    assert_eq!(step(), (true, (2000, 500)));
    assert_eq!(step(), (false, (2100, 400)));
    assert_eq!(step(), (false, (2100, 400)));
}
