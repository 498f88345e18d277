//! Calls, corrections, restarts and changes of the day from a seed, against sums that are simply added up.

use std::collections::BTreeMap;

use super::*;

/// What should be known of a call.
struct Open {
    charge: Charge,
    key: (Day, &'static str),
    run: usize,
    input: u64,
    output: u64,
}

#[derive(Default)]
struct Reference {
    /// By day and agent: requests and tokens.
    agents: BTreeMap<(Day, &'static str), (u64, u64)>,
    runs: BTreeMap<usize, (u64, u64)>,
}

const BUDGET: Budget = Budget {
    run: Limits { requests: Some(9), tokens: Some(900), money: None },
    agent: Limits { requests: Some(25), tokens: Some(2500), money: None },
    plugin: Limits { requests: Some(60), tokens: Some(6000), money: None },
};

const AGENTS: [&str; 4] = ["alice", "bob", "carol", "dave"];

impl Reference {
    /// What there is in each scope: requests and tokens.
    fn scopes(&self, (day, agent): (Day, &'static str), run: usize) -> [(Scope, Limits, (u64, u64)); 3] {
        let plugin = self.agents.iter().filter(|((of, _), _)| *of == day);
        let plugin = plugin.fold((0, 0), |sum, (_, more)| (sum.0 + more.0, sum.1 + more.1));
        [
            (Scope::Run, BUDGET.run, self.runs.get(&run).copied().unwrap_or_default()),
            (Scope::Agent, BUDGET.agent, self.agents.get(&(day, agent)).copied().unwrap_or_default()),
            (Scope::Plugin, BUDGET.plugin, plugin),
        ]
    }

    fn refuses(&self, key: (Day, &'static str), run: usize, input: u64) -> Option<(Scope, Kind, u64)> {
        self.scopes(key, run).into_iter().find_map(|(scope, limits, (requests, tokens))| {
            if requests >= limits.requests.unwrap() {
                Some((scope, Kind::Requests, requests))
            } else if tokens + input >= limits.tokens.unwrap() {
                Some((scope, Kind::Tokens, tokens))
            } else {
                None
            }
        })
    }

    fn over(&self, key: (Day, &'static str), run: usize) -> Option<(Scope, Kind, u64)> {
        let scopes = self.scopes(key, run).into_iter();
        scopes
            .filter(|(_, limits, (_, tokens))| *tokens > limits.tokens.unwrap())
            .map(|(scope, _, (_, tokens))| (scope, Kind::Tokens, tokens))
            .next()
    }

    fn add(&mut self, key: (Day, &'static str), run: usize, requests: u64, tokens: i64) {
        for sum in [self.agents.entry(key).or_default(), self.runs.entry(run).or_default()] {
            sum.0 += requests;
            sum.1 = sum.1.checked_add_signed(tokens).unwrap();
        }
    }
}

fn told(over: Over) -> (Scope, Kind, u64) {
    (over.scope, over.kind, over.spent)
}

#[test]
fn whatever_happens_is_counted_and_refused_as_simple_sums_would() {
    let mut refused = [0, 0];
    for seed in 0..25 {
        let mut dice = Dice(seed);
        let folder = tempfile::tempdir().unwrap();
        let wall = Wall::new();
        let (mut day, mut open) = (TODAY, Vec::<Open>::new());
        let mut reference = Reference::default();
        let mut runs: Vec<Arc<RunSpend>> = vec![run(); 1];
        let mut ledger = Ledger::open(&settings(folder.path(), &wall)).unwrap();
        let mut meter = ledger.plugin(plugin("chat"), BUDGET);
        for _ in 0..400 {
            match dice.below(20) {
                0..7 => {
                    if dice.below(4) == 0 {
                        runs.push(run());
                    }
                    let run = dice.below(runs.len() as u64) as usize;
                    let (key, input) = ((day, AGENTS[dice.below(4) as usize]), dice.below(200));
                    let expected = reference.refuses(key, run, input);
                    match meter.begin(&name(key.1), &runs[run], "m", None, input) {
                        Ok(charge) => {
                            assert_eq!(expected, None, "{seed}");
                            reference.add(key, run, 1, input.cast_signed());
                            open.push(Open { charge, key, run, input, output: 0 });
                        }
                        Err(Refused::Over(over)) => {
                            assert_eq!(Some(told(over)), expected, "{seed}");
                            refused[0] += 1;
                        }
                        Err(Refused::Unpriced(error)) => panic!("{error}"),
                    }
                }
                7..13 if !open.is_empty() => {
                    let at = dice.below(open.len() as u64) as usize;
                    let (call, tokens) = (&mut open[at], dice.below(60));
                    let answer = call.charge.output(tokens).map_err(told);
                    call.output += tokens;
                    reference.add(call.key, call.run, 0, tokens.cast_signed());
                    assert_eq!(answer.err(), reference.over(call.key, call.run), "{seed}");
                    refused[1] += u64::from(answer.is_err());
                }
                13 if !open.is_empty() => {
                    let at = dice.below(open.len() as u64) as usize;
                    let (call, input, output) = (&mut open[at], dice.below(150), dice.below(150));
                    call.charge.usage(input, output);
                    let before = (call.input + call.output).cast_signed();
                    reference.add(call.key, call.run, 0, (input + output).cast_signed() - before);
                    (call.input, call.output) = (input, output);
                }
                14..17 if !open.is_empty() => {
                    open.swap_remove(dice.below(open.len() as u64) as usize);
                }
                17 if dice.below(6) == 0 => {
                    day = if dice.below(3) == 0 { day.before(1) } else { day.next() };
                    wall.set(day);
                }
                18 if dice.below(8) == 0 => {
                    open.clear();
                    if dice.below(2) == 0 {
                        ledger.close();
                    }
                    drop((ledger, meter));
                    ledger = Ledger::open(&settings(folder.path(), &wall)).unwrap();
                    meter = ledger.plugin(plugin("chat"), BUDGET);
                }
                19 => check(&ledger, &reference, &runs, seed),
                _ => {}
            }
        }
        check(&ledger, &reference, &runs, seed);
    }
    assert!(refused.iter().all(|times| *times > 200), "{refused:?}");
}

fn check(ledger: &Ledger, reference: &Reference, runs: &[Arc<RunSpend>], seed: u64) {
    for (run, spend) in runs.iter().enumerate() {
        let spend = spend.read();
        let sum = (spend.requests, spend.input_tokens + spend.output_tokens);
        assert_eq!(sum, reference.runs.get(&run).copied().unwrap_or_default(), "{seed}");
    }
    for agent in AGENTS {
        let of = Of::Agent(super::agent(&format!("chat/{agent}")));
        let query = Query { of, from: Day(0), to: Day(u32::MAX), by: By::Day, limit: 1000 };
        let rows = ledger.report(&query).unwrap();
        let found: BTreeMap<_, _> = rows
            .into_iter()
            .map(|row| {
                let spent = row.spent;
                ((row.day.unwrap(), agent), (spent.requests, spent.input_tokens + spent.output_tokens))
            })
            .collect();
        let expected = reference.agents.iter().filter(|((_, of), _)| *of == agent);
        assert_eq!(found, expected.map(|(key, sum)| (*key, *sum)).collect(), "{seed}");
    }
}
