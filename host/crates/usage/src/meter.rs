//! A plugin's way to count what its calls of models come to, and to be told when it is too much.
//!
//! Promises: a call is counted as it begins and as it goes on, once each in its run, its agent's day, its plugin's day and
//! its entry of the table; whatever becomes of it, what is known of it stays counted. A call belongs to the day on which it
//! began, also past midnight.
//! Bounded by: what [`Meter`] says of its limits.
//! Costs: [`Charge::output`] takes no lock, but once in the writer's second, where an entry has to be written anew.

use std::sync::Arc;

use rookery_core::{AgentId, AgentName, PluginName};

use crate::Ledger;
use crate::account::{Account, Ask, Hold, RunSpend, Short};
use crate::book::AgentDay;
use crate::budget::{Budget, Limits, Over, Refused, Scope};
use crate::counter::{LARGEST, Tally};
use crate::day::Day;
use crate::entry::Entry;
use crate::price::Price;
use crate::totals::OfPlugin;

/// Counts the calls of one plugin against its budget. A handle; clones are the same. One for a plugin that is loaded again
/// goes on where the one before is.
///
/// **By how much a limit may be exceeded.** The number of requests: never. Tokens: by no more than what is in flight. No call
/// begins without room for its estimate beside all that open calls have counted, and every call is told with its next
/// [`Charge::output`] that a limit is passed, and ends. So it is at most
///
/// > (calls open when the limit is passed) × (the most tokens of one `output`), plus what their providers count above what
/// > was estimated.
///
/// Money: what those tokens cost, and a millionth of rounding for each of the calls.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    ledger: Ledger,
    plugin: PluginName,
    budget: Budget,
    totals: Arc<OfPlugin>,
}

/// A call of a model that is under way. Dropping it ends the call; what is counted by then stays.
pub struct Charge {
    meter: Meter,
    run: Arc<RunSpend>,
    agent: Arc<AgentDay>,
    entry: Arc<Entry>,
    total: Arc<Tally>,
    price: Option<Price>,
    counted: Counted,
}

/// What one call has counted, everywhere the same.
#[derive(Clone, Copy)]
struct Counted {
    input: u64,
    output: u64,
    micros: u64,
}

impl Meter {
    pub(crate) fn new(ledger: Ledger, plugin: PluginName, budget: Budget, totals: Arc<OfPlugin>) -> Self {
        Self(Arc::new(Inner { ledger, plugin, budget, totals }))
    }

    /// The budget that it keeps.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Begins a call of a model, with an estimate of the tokens that go in: counts the request, and the estimate until
    /// something better is known. A call that gets no further than here is settled with [`Charge::usage`] of 0 and 0, and
    /// stays a request.
    ///
    /// Looks into the database where the agent has not called for a while, which blocks for some 20 µs.
    ///
    /// # Errors
    ///
    /// When a limit leaves no room for the estimate and one token more, or money is limited and there is no price. Nothing
    /// is counted then. While it is being found out, the call holds its place in the limits that were looked at before, so
    /// another one at their edge may be refused with it.
    pub fn begin(
        &self,
        agent: &AgentName,
        run: &Arc<RunSpend>,
        model: &str,
        price: Option<Price>,
        input: u64,
    ) -> Result<Charge, Refused> {
        let Inner { ledger, plugin, budget, totals } = &*self.0;
        budget.check(model, price)?;
        let agent = ledger.agent(&AgentId { plugin: plugin.clone(), name: agent.clone() });
        let counted = Counted::new(input, 0, price);
        let ask = Ask::new(counted.input, price);
        let mut holds = Vec::with_capacity(3);
        for (scope, limits, account) in scopes(budget, run, &agent) {
            holds.push(account.hold(limits, ask).map_err(|short| short.of(scope, agent.day))?);
        }
        holds.into_iter().for_each(Hold::keep);
        let (entry, total) = (agent.entry(model), totals.of(model));
        run.input.add(counted.input);
        entry.tally.requests.add(1);
        entry.tally.input.add(counted.input);
        entry.tally.micros.add(counted.micros);
        entry.mark(ledger.queue());
        total.requests.add(1);
        Ok(Charge { meter: self.clone(), run: run.clone(), agent, entry, total, price, counted })
    }
}

impl Charge {
    /// So many more tokens have come out, as is estimated; 0 only asks. To be called with every few chunks: what comes with
    /// the one that passes a limit is spent.
    ///
    /// # Errors
    ///
    /// When a limit is passed, be it by another call. The tokens are counted all the same, for they were made; the call is
    /// to be ended.
    pub fn output(&mut self, tokens: u64) -> Result<(), Over> {
        self.count(self.counted.input, self.counted.output.saturating_add(tokens));
        self.over().map_or(Ok(()), Err)
    }

    /// What the provider says of the whole call so far, in place of what was counted before. What comes out after that is
    /// estimated again, until the next time. A number above 2^53 is taken for that.
    pub fn usage(&mut self, input: u64, output: u64) {
        self.count(input, output);
    }

    fn count(&mut self, input: u64, output: u64) {
        let (old, new) = (self.counted, Counted::new(input, output, self.price));
        for account in [&self.run.account, &self.agent.account, &self.agent.plugin.account] {
            account.tokens.shift(old.tokens(), new.tokens());
            account.micros.shift(old.micros, new.micros);
        }
        for (counter, old, new) in [
            (&self.run.input, old.input, new.input),
            (&self.run.output, old.output, new.output),
            (&self.entry.tally.input, old.input, new.input),
            (&self.entry.tally.output, old.output, new.output),
            (&self.entry.tally.micros, old.micros, new.micros),
        ] {
            counter.shift(old, new);
        }
        self.counted = new;
        self.entry.mark(self.meter.0.ledger.queue());
    }

    fn over(&self) -> Option<Over> {
        let costs = self.price.is_some_and(|price| !price.is_free());
        scopes(&self.meter.0.budget, &self.run, &self.agent).into_iter().find_map(
            |(scope, limits, account)| {
                account.over(limits, costs).map(|short| short.of(scope, self.agent.day))
            },
        )
    }
}

/// Totals never go back, so they are not told of estimates.
impl Drop for Charge {
    fn drop(&mut self) {
        self.total.input.add(self.counted.input);
        self.total.output.add(self.counted.output);
        self.total.micros.add(self.counted.micros);
    }
}

/// Everything that limits a call, the narrowest first.
fn scopes<'a>(
    budget: &'a Budget,
    run: &'a RunSpend,
    agent: &'a AgentDay,
) -> [(Scope, &'a Limits, &'a Account); 3] {
    [
        (Scope::Run, &budget.run, &run.account),
        (Scope::Agent, &budget.agent, &agent.account),
        (Scope::Plugin, &budget.plugin, &agent.plugin.account),
    ]
}

impl Counted {
    fn new(input: u64, output: u64, price: Option<Price>) -> Self {
        let (input, output) = (input.min(LARGEST), output.min(LARGEST));
        let micros = price.map_or(0, |price| price.of(input, output).0.min(LARGEST));
        Self { input, output, micros }
    }

    fn tokens(&self) -> u64 {
        self.input + self.output
    }
}

impl Short {
    fn of(self, scope: Scope, day: Day) -> Over {
        let Self { kind, limit, spent, asked } = self;
        let resets = (scope != Scope::Run).then(|| day.next().begins());
        Over { scope, kind, limit, spent, asked, resets }
    }
}
