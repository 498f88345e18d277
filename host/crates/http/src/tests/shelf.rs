//! An archive in memory, whose commits the test can hold back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use rookery_agents::archive::{Accepted, Archive, ArchiveError, Query, Source};
use rookery_core::{AgentId, Chunk, Event, Generation, Item, Prompt, RunId, RunState, Spent, Standing};
use tokio::sync::watch;

type Answer<T> = BoxFuture<'static, Result<T, ArchiveError>>;

/// Keeps the logs of runs, as long as the test lives.
pub(super) struct Shelf {
    runs: Arc<Mutex<BTreeMap<RunId, Kept>>>,
    held: watch::Sender<bool>,
}

struct Kept {
    accepted: Accepted,
    started: Option<(SystemTime, Generation)>,
    ended: Option<SystemTime>,
    events: Vec<Arc<Event>>,
    spent: Spent,
}

impl Shelf {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { runs: Arc::default(), held: watch::Sender::new(false) })
    }

    /// Commits nothing more until it is released.
    pub(super) fn hold(&self) {
        self.held.send_replace(true);
    }

    pub(super) fn release(&self) {
        self.held.send_replace(false);
    }
}

impl Archive for Shelf {
    fn wake(&self, source: Arc<dyn Source>) {
        let (runs, mut held) = (self.runs.clone(), self.held.subscribe());
        tokio::spawn(async move {
            held.wait_for(|held| !held).await.unwrap();
            let batch = source.take();
            let mut runs = runs.lock().unwrap();
            if let Some(accepted) = batch.accepted {
                let (started, ended, events, spent) = Default::default();
                let kept = Kept { accepted, started, ended, events, spent };
                runs.insert(source.run(), kept);
            }
            let kept = runs.get_mut(&source.run()).unwrap();
            kept.started = kept.started.or(batch.started);
            kept.ended = kept.ended.or(batch.ended);
            kept.events.extend(batch.events);
            if batch.ended.is_some() {
                kept.spent = batch.spent;
            }
            let last = kept.events.len() as u64;
            drop(runs);
            source.committed(last);
        });
    }

    fn read(&self, run: RunId, after: u64, bytes: usize) -> Answer<Vec<Event>> {
        let runs = self.runs.lock().unwrap();
        let (mut read, mut size) = (Vec::new(), 0);
        for event in runs[&run].events.iter().filter(|event| event.id > after) {
            read.push((**event).clone());
            size += if let Item::Chunk(chunk) = &event.item { Chunk::size(chunk) } else { 0 };
            if size >= bytes {
                break;
            }
        }
        ready(Ok(read)).boxed()
    }

    fn state(&self, run: RunId) -> Answer<Option<RunState>> {
        ready(Ok(self.runs.lock().unwrap().get(&run).map(Kept::state))).boxed()
    }

    fn by_key(&self, agent: AgentId, key: String) -> Answer<Option<(RunId, Prompt)>> {
        let runs = self.runs.lock().unwrap();
        let bears = |kept: &&Kept| kept.accepted.agent == agent && kept.accepted.key.as_ref() == Some(&key);
        let found = runs.values().find(bears).map(|kept| kept.accepted.prompt.clone());
        ready(Ok(found.map(|prompt| (prompt.run, prompt)))).boxed()
    }

    fn count(&self, agent: AgentId) -> Answer<u64> {
        let runs = self.runs.lock().unwrap();
        ready(Ok(runs.values().filter(|kept| kept.accepted.agent == agent).count() as u64)).boxed()
    }

    fn forget(&self, agent: AgentId) -> Answer<u64> {
        let mut runs = self.runs.lock().unwrap();
        let before = runs.len();
        runs.retain(|_, kept| kept.accepted.agent != agent);
        ready(Ok((before - runs.len()) as u64)).boxed()
    }

    fn list(&self, query: Query) -> Answer<Vec<RunState>> {
        let runs = self.runs.lock().unwrap();
        let states = runs.values().rev().map(Kept::state).filter(|state| query.matches(state)).map(|state| {
            let (prompt, prompt_cut) = RunState::listed(&state.prompt);
            RunState { prompt: prompt.into(), prompt_cut, ..state }
        });
        ready(Ok(states.take(query.limit).collect())).boxed()
    }
}

impl Kept {
    fn state(&self) -> RunState {
        let outcome = self.events.last().and_then(|event| match &event.item {
            Item::Outcome(outcome) => Some(outcome.clone()),
            Item::Chunk(_) => None,
        });
        let standing = match (outcome, self.started) {
            (Some(outcome), _) => Standing::Ended(outcome),
            (None, Some(_)) => Standing::Running,
            (None, None) => Standing::Queued(0),
        };
        RunState {
            run: self.accepted.prompt.run,
            agent: self.accepted.agent.clone(),
            origin: self.accepted.prompt.origin.clone(),
            prompt: self.accepted.prompt.text.clone(),
            prompt_cut: false,
            submitted: self.accepted.at,
            started: self.started,
            ended: self.ended,
            standing,
            events: self.events.len() as u64,
            spent: self.spent,
        }
    }
}
