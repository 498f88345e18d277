//! [budget.run], [budget.agent] and [budget.plugin]: what a plugin may spend on models.

use rookery_tables::{COUNT, MONEY, Table, count, money};
use rookery_usage::{Budget, Limits};

use super::home;

pub(super) const KEYS: &[&str] = &["run", "agent", "plugin"];

/// In each of them.
const LIMITS: &[&str] = &["requests", "tokens", "money"];

pub(super) fn read(budget: &Table<'_>) -> Budget {
    let limits = |scope| {
        let Some(limits) = budget.table(scope) else { return Limits::default() };
        limits.only(LIMITS, home);
        Limits {
            requests: limits.read("requests", None, COUNT, |value| count(value).map(Some)),
            tokens: limits.read("tokens", None, COUNT, |value| count(value).map(Some)),
            money: limits.read("money", None, MONEY, |value| money(value).map(Some)),
        }
    };
    Budget { run: limits("run"), agent: limits("agent"), plugin: limits("plugin") }
}
