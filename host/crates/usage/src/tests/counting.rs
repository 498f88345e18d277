use super::*;

#[test]
fn a_call_is_counted_in_its_run_its_entry_and_the_totals() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    let run = run();
    let mut charge = meter.begin(&name("alice"), &run, "small", Some(PRICE), 100).unwrap();
    assert_eq!(run.read(), spent(1, 100, 0, 100), "as soon as it begins");
    charge.output(7).unwrap();
    charge.output(3).unwrap();
    assert_eq!(run.read(), spent(1, 100, 10, 120), "and while it goes on");
    assert_eq!(all(&ledger), spent(1, 100, 10, 120));
    assert_eq!(ledger.totals()[0].spent, spent(1, 0, 0, 0), "totals know of tokens when the call has ended");
    drop(charge);
    assert_eq!(run.read(), spent(1, 100, 10, 120));
    assert_eq!(all(&ledger), spent(1, 100, 10, 120));
    let total = ledger.totals().remove(0);
    assert_eq!((total.plugin, &*total.model, total.spent), (plugin("chat"), "small", spent(1, 100, 10, 120)));
}

#[test]
fn what_the_provider_says_replaces_the_estimate_be_it_more_or_less() {
    for (input, output) in [(500, 900), (30, 4), (0, 0), (100, 10), (500, 0), (0, 900)] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        let meter = ledger.plugin(plugin("chat"), Budget::default());
        let run = run();
        let mut charge = meter.begin(&name("alice"), &run, "small", Some(PRICE), 100).unwrap();
        charge.output(10).unwrap();
        assert_eq!(all(&ledger), spent(1, 100, 10, 120), "the estimate is written already");
        charge.usage(input, output);
        drop(charge);
        let exact = spent(1, input, output, input + 2 * output);
        assert_eq!((run.read(), all(&ledger), ledger.totals()[0].spent), (exact, exact, exact));
    }
}

#[test]
fn usage_may_come_several_times_and_is_estimated_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    let run = run();
    let mut charge = meter.begin(&name("alice"), &run, "small", None, 100).unwrap();
    charge.usage(80, 1);
    charge.output(20).unwrap();
    assert_eq!(run.read(), spent(1, 80, 21, 0));
    charge.usage(80, 15);
    charge.usage(80, 15);
    assert_eq!(run.read(), spent(1, 80, 15, 0), "not added up");
    charge.output(5).unwrap();
    drop(charge);
    assert_eq!(run.read(), spent(1, 80, 20, 0));
    assert_eq!(all(&ledger), spent(1, 80, 20, 0));
}

#[test]
fn money_is_rounded_up_once_a_call_however_small_its_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    let cheap = Price { input: Money(1), output: Money(150_000) };
    let run = run();
    let mut charge = meter.begin(&name("alice"), &run, "small", Some(cheap), 1).unwrap();
    assert_eq!(run.read().money, Money(1), "a millionth of a millionth is not nothing");
    for _ in 0..1000 {
        charge.output(1).unwrap();
    }
    assert_eq!(run.read().money, Money(151), "150 and the part of one that the input costs");
}

#[test]
fn numbers_end_at_the_largest_one_and_the_database_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let dear = Price { input: Money(u64::MAX), output: Money(u64::MAX) };
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    let run = run();
    for agent in ["a", "b", "c"] {
        for _ in 0..3 {
            let mut charge = meter.begin(&name(agent), &run, "m", Some(dear), u64::MAX).unwrap();
            charge.output(u64::MAX).unwrap();
            charge.output(u64::MAX).unwrap();
            charge.usage(u64::MAX, u64::MAX);
        }
    }
    let most = crate::counter::LARGEST;
    assert_eq!(run.read(), spent(9, most, most, most));
    for by in [By::Day, By::Plugin, By::Model] {
        assert_eq!(ledger.report(&query(by)).unwrap()[0].spent, spent(9, most, most, most), "{by:?}");
    }
    assert_eq!(ledger.report(&query(By::Agent)).unwrap().len(), 3);
    ledger.close();
    let again = open(folder.path());
    let budget = Budget { agent: tokens(most), ..Budget::default() };
    let refused =
        again.plugin(plugin("chat"), budget).begin(&name("a"), &RunSpend::default().into(), "m", None, 1);
    assert_eq!(over(refused).spent, most);
}

#[test]
fn guests_may_invent_models_and_only_so_many_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    for number in 0..200 {
        let model = format!("{number}{}", "x".repeat(1000));
        drop(meter.begin(&name("alice"), &run(), &model, None, 1).unwrap());
    }
    let models = |ledger: &Ledger| {
        let rows = ledger.report(&query(By::Model)).unwrap();
        assert!(rows.iter().all(|row| row.model.as_ref().unwrap().len() <= 128));
        (rows.len(), whole(&rows).requests, rows[0].clone())
    };
    let (count, sum, first) = models(&ledger);
    assert_eq!((count, sum), (33, 200));
    assert_eq!((first.model.as_deref(), first.spent.requests), (Some("(others)"), 168));
    assert_eq!(ledger.totals().len(), 65);
    ledger.close();
    // Another host, the same day: the database's models count too.
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget::default());
    drop(meter.begin(&name("alice"), &run(), "new", None, 1).unwrap());
    assert_eq!((models(&ledger).0, models(&ledger).1), (33, 201));
}

#[test]
fn agents_that_are_idle_are_forgotten_and_read_again_with_all_that_they_spent() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget { agent: requests(2), ..Budget::default() });
    let open = meter.begin(&name("open"), &run(), "m", None, 1).unwrap();
    drop(meter.begin(&name("first"), &run(), "m", None, 1).unwrap());
    for number in 0..5000 {
        drop(meter.begin(&name(&format!("a{number}")), &run(), "m", None, 1).unwrap());
        if number % 500 == 0 {
            assert_eq!(all(&ledger).requests, number + 3);
        }
    }
    let known = ledger.0.book.lock().unwrap().known();
    assert!(known < 2500, "{known}");
    // Both have one left: one stayed in memory for its open call, the other was read.
    drop(open);
    for agent in ["open", "first"] {
        drop(meter.begin(&name(agent), &run(), "m", None, 1).unwrap());
        assert_eq!(over(meter.begin(&name(agent), &run(), "m", None, 1)).spent, 2);
    }
    assert_eq!(all(&ledger).requests, 5004);
}

#[test]
fn refused_calls_of_ever_new_agents_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let meter = ledger.plugin(plugin("chat"), Budget { plugin: requests(0), ..Budget::default() });
    for number in 0..5000 {
        assert_eq!(
            over(meter.begin(&name(&format!("a{number}")), &run(), "m", None, 1)).scope,
            Scope::Plugin
        );
    }
    assert!(ledger.0.book.lock().unwrap().known() <= 1025);
    assert_eq!(all(&ledger), Spent::default());
}
