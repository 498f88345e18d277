//! 64 calls at once on several threads, against each kind of limit.

use super::*;

const TASKS: u64 = 64;
/// What comes out with one batch.
const BATCH: u64 = 16;
const INPUT: u64 = 50;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap()
}

/// Every task calls until it is refused, and lets each call stream until it is told to end, at most a hundred batches.
/// What the provider says then is as much above the estimate as `above` says, for input and output.
fn flood(meter: &Meter, shared: Option<Arc<RunSpend>>, agents: u64, above: u64) -> u64 {
    let tasks = (0..TASKS).map(|task| {
        let (meter, run) = (meter.clone(), shared.clone().unwrap_or_default());
        async move {
            let agent = name(&format!("a{}", task % agents));
            let mut begun = 0;
            loop {
                match meter.begin(&agent, &run, "m", Some(PRICE), INPUT) {
                    Ok(mut charge) => {
                        begun += 1;
                        let mut batches = 0;
                        while batches < 100 && charge.output(BATCH).is_ok() {
                            batches += 1;
                            tokio::task::yield_now().await;
                        }
                        let made = (batches + u64::from(batches < 100)) * BATCH;
                        charge.usage(INPUT + above, made + above);
                    }
                    Err(Refused::Over(_)) => return begun,
                    Err(Refused::Unpriced(error)) => panic!("{error}"),
                }
            }
        }
    });
    let tasks: Vec<_> = tasks.collect();
    runtime().block_on(async {
        let mut sum = 0;
        for task in tasks.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
            sum += task.await.unwrap();
        }
        sum
    })
}

/// Who is limited, by what budget, over one run for all tasks or one each, and over how many agents.
fn cases(limits: Limits) -> [(Budget, Option<Arc<RunSpend>>, u64); 3] {
    let none = Budget::default();
    [
        (Budget { run: limits, ..none }, Some(run()), 64),
        (Budget { agent: limits, ..none }, None, 1),
        (Budget { plugin: limits, ..none }, None, 64),
    ]
}

#[test]
fn requests_are_never_exceeded_and_all_of_them_can_be_made() {
    for (budget, run, agents) in cases(requests(1000)) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        let begun = flood(&ledger.plugin(plugin("chat"), budget), run, agents, 0);
        assert_eq!((begun, all(&ledger).requests), (1000, 1000));
    }
}

#[test]
fn tokens_are_exceeded_by_a_batch_of_each_open_call_at_most() {
    for (budget, run, agents) in cases(tokens(100_000)) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        flood(&ledger.plugin(plugin("chat"), budget), run, agents, 0);
        let all = all(&ledger);
        let tokens = all.input_tokens + all.output_tokens;
        // Below that there would have been room for another call.
        let range = 100_000 - INPUT..=100_000 + TASKS * BATCH;
        assert!(range.contains(&tokens), "{tokens} {range:?}");
    }
}

#[test]
fn what_providers_count_above_the_estimate_comes_on_top_once_for_each_open_call() {
    const ABOVE: u64 = 40;
    for (budget, run, agents) in cases(tokens(100_000)) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        flood(&ledger.plugin(plugin("chat"), budget), run, agents, ABOVE);
        let all = all(&ledger);
        let tokens = all.input_tokens + all.output_tokens;
        let range = 100_000 - INPUT..=100_000 + TASKS * (BATCH + 2 * ABOVE);
        assert!(range.contains(&tokens), "{tokens} {range:?}");
    }
}

#[test]
fn money_is_exceeded_by_what_a_batch_of_each_open_call_costs_at_most() {
    for (budget, run, agents) in cases(money(100_000)) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        flood(&ledger.plugin(plugin("chat"), budget), run, agents, 0);
        let micros = all(&ledger).money.0;
        let range = 100_000 - INPUT..=100_000 + TASKS * BATCH * 2;
        assert!(range.contains(&micros), "{micros} {range:?}");
    }
}

#[test]
fn nothing_is_lost_or_counted_twice_where_many_count_while_it_is_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let wall = Wall::new();
    let at_once = Settings { gather: Duration::ZERO, ..settings(folder.path(), &wall) };
    let ledger = Ledger::open(&at_once).unwrap();
    let (meter, shared) = (ledger.plugin(plugin("chat"), Budget::default()), run());
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (meter, run, ledger) = (meter.clone(), shared.clone(), ledger.clone());
                tokio::spawn(async move {
                    for round in 0..50 {
                        let agent = name(&format!("a{}", (task + round) % 8));
                        let mut charge = meter.begin(&agent, &run, "m", Some(PRICE), 10).unwrap();
                        for _ in 0..10 {
                            charge.output(3).unwrap();
                            tokio::task::yield_now().await;
                        }
                        charge.usage(8, 20 + round % 20);
                        if task == 0 && round % 10 == 0 {
                            ledger.report(&query(By::Agent)).unwrap();
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let output = TASKS * (0..50).map(|round| 20 + round % 20).sum::<u64>();
    let exact = spent(TASKS * 50, TASKS * 50 * 8, output, TASKS * 50 * 8 + 2 * output);
    assert_eq!((shared.read(), all(&ledger), ledger.totals()[0].spent), (exact, exact, exact));
}
