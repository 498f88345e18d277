//! The runs whose logs are not settled, by id and by key.
//!
//! Promise: a run is found by its key for as long as by its id, however many there are.

use std::collections::HashMap;
use std::sync::Arc;

use rookery_core::{AgentId, RunId};

use crate::log::Log;

/// Runs that have no outcome, or whose outcome is not committed.
#[derive(Default)]
pub(crate) struct Unsettled {
    runs: HashMap<RunId, Arc<Log>>,
    keys: HashMap<(AgentId, String), RunId>,
}

impl Unsettled {
    pub(crate) fn insert(&mut self, log: Arc<Log>) {
        if let Some(key) = &log.accepted.key {
            self.keys.insert((log.accepted.agent.clone(), key.clone()), log.run());
        }
        self.runs.insert(log.run(), log);
    }

    pub(crate) fn remove(&mut self, run: &RunId) -> Option<Arc<Log>> {
        let log = self.runs.remove(run)?;
        if let Some(key) = &log.accepted.key {
            let name = (log.accepted.agent.clone(), key.clone());
            // Another one has it where a run was submitted with a key that nobody looked for.
            if self.keys.get(&name) == Some(run) {
                self.keys.remove(&name);
            }
        }
        Some(log)
    }

    pub(crate) fn get(&self, run: &RunId) -> Option<&Arc<Log>> {
        self.runs.get(run)
    }

    /// The run of this agent that bears this key.
    pub(crate) fn with_key(&self, agent: &AgentId, key: &str) -> Option<&Arc<Log>> {
        self.keys.get(&(agent.clone(), key.to_owned())).and_then(|run| self.runs.get(run))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<Log>> {
        self.runs.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rookery_core::{Origin, Prompt};

    use super::*;
    use crate::archive::Accepted;
    use crate::budget::Budget;
    use crate::log::Keeping;

    fn agent(name: &str) -> AgentId {
        AgentId { plugin: "p".parse().unwrap(), name: name.parse().unwrap() }
    }

    fn log(name: &str, key: Option<&str>) -> Arc<Log> {
        let prompt =
            Prompt { run: RunId::new(), text: String::new(), body: None, origin: Origin::Client(None) };
        let accepted =
            Accepted { agent: agent(name), prompt, at: SystemTime::now(), key: key.map(Into::into) };
        let keeping = Keeping { output: 0, unread: Arc::new(Budget::new(0)), archive: None, strict: false };
        Log::open(accepted, keeping, Arc::new(crate::mailbox::Mailbox::new(1)), |_| {})
    }

    #[test]
    fn a_run_is_found_by_its_key_until_it_is_settled_and_then_its_key_is_forgotten() {
        let mut unsettled = Unsettled::default();
        let (alice, bob) = (log("alice", Some("k")), log("bob", Some("k")));
        for log in [&alice, &bob, &log("alice", None)] {
            unsettled.insert(log.clone());
        }
        let found =
            |unsettled: &Unsettled, name, key| unsettled.with_key(&agent(name), key).map(|log| log.run());
        assert_eq!(found(&unsettled, "alice", "k"), Some(alice.run()));
        assert_eq!(found(&unsettled, "bob", "k"), Some(bob.run()));
        assert_eq!(found(&unsettled, "alice", "other"), None);
        unsettled.remove(&alice.run());
        assert_eq!((found(&unsettled, "alice", "k"), unsettled.keys.len()), (None, 1));
        assert_eq!(found(&unsettled, "bob", "k"), Some(bob.run()));
    }

    #[test]
    fn a_key_that_another_run_has_taken_over_stays_with_it() {
        let mut unsettled = Unsettled::default();
        let [first, second] = [0, 1].map(|_| log("alice", Some("k")));
        unsettled.insert(first.clone());
        unsettled.insert(second.clone());
        unsettled.remove(&first.run());
        assert_eq!(unsettled.with_key(&agent("alice"), "k").map(|log| log.run()), Some(second.run()));
    }
}
