//! What a limit is held against: a run's, an agent's day, a plugin's day.

use rookery_core::{Money, Spent};

use crate::budget::{Kind, Limits};
use crate::counter::Counter;
use crate::price::Price;

/// How much is spent, with what open calls hold.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) requests: Counter,
    pub(crate) tokens: Counter,
    pub(crate) micros: Counter,
}

/// What one run asked of models so far. Made by whoever begins a run, and read at any time.
#[derive(Debug, Default)]
pub struct RunSpend {
    pub(crate) account: Account,
    pub(crate) input: Counter,
    pub(crate) output: Counter,
}

/// What a call needs to begin.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    tokens: u64,
    /// None where the model costs nothing: then no limit on money is its affair.
    micros: Option<u64>,
}

/// A limit that leaves no room.
pub(crate) struct Short {
    pub(crate) kind: Kind,
    pub(crate) limit: u64,
    pub(crate) spent: u64,
    pub(crate) asked: u64,
}

/// A call's place in an account, given back unless it is [kept](Hold::keep).
pub(crate) struct Hold<'a> {
    account: &'a Account,
    requests: u64,
    tokens: u64,
    micros: u64,
}

impl RunSpend {
    /// What it comes to until now, with estimates for calls of which nothing better is known yet.
    pub fn read(&self) -> Spent {
        Spent {
            requests: self.account.requests.get(),
            input_tokens: self.input.get(),
            output_tokens: self.output.get(),
            money: Money(self.account.micros.get()),
        }
    }
}

impl Ask {
    pub(crate) fn new(input: u64, price: Option<Price>) -> Self {
        let micros = price.filter(|price| !price.is_free()).map(|price| price.of(input, 0).0);
        Self { tokens: input, micros }
    }
}

impl Account {
    /// Takes a place for a call that has room for what goes in and for at least something that comes out.
    pub(crate) fn hold(&self, limits: &Limits, ask: Ask) -> Result<Hold<'_>, Short> {
        let mut hold = Hold { account: self, requests: 0, tokens: 0, micros: 0 };
        let short = |kind, limit: Option<u64>, asked, spent| {
            // Only what is limited is refused.
            Short { kind, limit: limit.unwrap_or(u64::MAX), spent, asked }
        };
        let limit = limits.requests;
        self.requests.take(1, 0, limit).map_err(|spent| short(Kind::Requests, limit, 1, spent))?;
        hold.requests = 1;
        let (asked, limit) = (ask.tokens, limits.tokens);
        self.tokens.take(asked, 1, limit).map_err(|spent| short(Kind::Tokens, limit, asked, spent))?;
        hold.tokens = asked;
        if let Some(asked) = ask.micros {
            let limit = limits.money.map(|money| money.0);
            self.micros.take(asked, 1, limit).map_err(|spent| short(Kind::Money, limit, asked, spent))?;
            hold.micros = asked;
        }
        Ok(hold)
    }

    /// Which limit is passed, if one is. `costs` says whether a limit on money matters.
    pub(crate) fn over(&self, limits: &Limits, costs: bool) -> Option<Short> {
        let passed = |kind, limit: Option<u64>, counter: &Counter| {
            let (limit, spent) = (limit?, counter.get());
            (spent > limit).then_some(Short { kind, limit, spent, asked: 0 })
        };
        let money = limits.money.filter(|_| costs).map(|money| money.0);
        passed(Kind::Tokens, limits.tokens, &self.tokens).or_else(|| passed(Kind::Money, money, &self.micros))
    }
}

impl Hold<'_> {
    /// The call begins; what was taken is counted from now on by whoever settles it.
    pub(crate) fn keep(mut self) {
        (self.requests, self.tokens, self.micros) = (0, 0, 0);
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.account.requests.sub(self.requests);
        self.account.tokens.sub(self.tokens);
        self.account.micros.sub(self.micros);
    }
}
