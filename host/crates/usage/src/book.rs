//! Which agents and plugins spent how much on which day, as far as somebody asks.
//!
//! Promises: of one agent's or plugin's day there is one account at a time, and it begins with what the database has.
//! Bounded by: agents that have open calls or something unwritten, and [`IDLE`] others or as many again. An agent that is
//! not here is read, with one look at an index: some 20 µs, for which all who begin a call wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_core::{AgentId, PluginName, Spent};
use rusqlite::Connection;

use crate::account::Account;
use crate::counter::{Counter, LARGEST};
use crate::day::Day;
use crate::entry::Entry;
use crate::models::Models;
use crate::report;

/// Accounts by day.
pub(crate) struct Book {
    agents: HashMap<(Day, AgentId), Arc<AgentDay>>,
    plugins: HashMap<(Day, PluginName), Arc<PluginDay>>,
    reader: Connection,
    /// It is time to let go of what is idle when there are so many agents.
    full: usize,
    /// It was said that the database cannot be read.
    unread: bool,
}

/// What an agent spends on a day.
pub(crate) struct AgentDay {
    pub(crate) day: Day,
    pub(crate) account: Account,
    pub(crate) plugin: Arc<PluginDay>,
    agent: AgentId,
    entries: Mutex<Models<Entry>>,
}

/// What a plugin's agents spend on a day.
pub(crate) struct PluginDay {
    pub(crate) account: Account,
}

/// So many agents are remembered though they do nothing, at some 500 bytes each.
const IDLE: usize = 1024;

/// So many models are told apart for an agent on a day.
const MODELS: usize = 32;

impl Book {
    pub(crate) fn new(reader: Connection) -> Self {
        Self { agents: HashMap::new(), plugins: HashMap::new(), reader, full: IDLE, unread: false }
    }

    /// An agent's account of a day.
    ///
    /// Where the database cannot be read it begins at zero, as agents shall run without a disk too; that is logged, once.
    pub(crate) fn agent(&mut self, day: Day, agent: &AgentId) -> Arc<AgentDay> {
        let key = (day, agent.clone());
        if let Some(found) = self.agents.get(&key) {
            return found.clone();
        }
        self.tidy(day);
        let plugin = self.plugin(day, &agent.plugin);
        let read = report::of_agent(&self.reader, day, agent);
        let known = self.read_or_warn(read);
        let mut entries = Models::new(MODELS);
        for (model, _) in &known {
            entries.of(model, |model| Entry::new(day, agent.clone(), model.clone()));
        }
        let account = Account::of(known.into_iter().map(|(_, spent)| spent));
        let entries = Mutex::new(entries);
        let found = Arc::new(AgentDay { day, account, plugin, agent: agent.clone(), entries });
        self.agents.insert(key, found.clone());
        found
    }

    fn plugin(&mut self, day: Day, plugin: &PluginName) -> Arc<PluginDay> {
        let key = (day, plugin.clone());
        if let Some(found) = self.plugins.get(&key) {
            return found.clone();
        }
        let read = report::of_plugin(&self.reader, day, plugin);
        let account = Account::of([self.read_or_warn(read)]);
        let found = Arc::new(PluginDay { account });
        self.plugins.insert(key, found.clone());
        found
    }

    /// Lets go of what is idle and written, when there is much of it: the database has it. Plugins of today are few and dear
    /// to read, so they stay.
    fn tidy(&mut self, today: Day) {
        if self.agents.len() < self.full {
            return;
        }
        self.agents.retain(|_, agent| !is_idle(agent));
        self.plugins.retain(|(day, _), plugin| *day == today || Arc::get_mut(plugin).is_none());
        self.full = IDLE.max(self.agents.len() * 2);
    }

    fn read_or_warn<T: Default>(&mut self, read: rusqlite::Result<T>) -> T {
        match read {
            Ok(value) => {
                self.unread = false;
                value
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unread, true) {
                    tracing::error!(
                        %error,
                        "what was spent today cannot be read, so budgets begin anew; look at the disk"
                    );
                }
                T::default()
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.agents.len()
    }
}

/// Nobody holds it, and the writer none of its entries. There is no other way to it than the book, so nobody will meanwhile.
fn is_idle(agent: &mut Arc<AgentDay>) -> bool {
    let Some(agent) = Arc::get_mut(agent) else { return false };
    let entries = agent.entries.get_mut().unwrap_or_else(PoisonError::into_inner);
    entries.values_mut().all(|entry| Arc::get_mut(entry).is_some())
}

impl AgentDay {
    /// What the agent asks of this model is counted here.
    pub(crate) fn entry(&self, model: &str) -> Arc<Entry> {
        self.entries().of(model, |model| Entry::new(self.day, self.agent.clone(), model.clone()))
    }

    fn entries(&self) -> MutexGuard<'_, Models<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn of(spent: impl IntoIterator<Item = Spent>) -> Self {
        let mut whole = [0u64; 3];
        for spent in spent {
            let tokens = spent.input_tokens.saturating_add(spent.output_tokens);
            for (sum, more) in whole.iter_mut().zip([spent.requests, tokens, spent.money.0]) {
                *sum = sum.saturating_add(more).min(LARGEST);
            }
        }
        let [requests, tokens, micros] = whole.map(Counter::new);
        Self { requests, tokens, micros }
    }
}
