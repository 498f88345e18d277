//! An archive in memory. It commits by itself, or when it is told to; it can fail, be read late, and be opened again as
//! after a crash. And it checks what the logs promise it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rookery_core::{
    AgentId, Code, Event, Failure, Generation, Item, Outcome, Prompt, RunId, RunState, Spent, Standing,
};
use tokio::sync::watch;
use tokio::task::unconstrained;

use crate::archive::{Accepted, Archive, ArchiveError, Batch, Query, Source};
use crate::state::size;

pub(super) struct FakeArchive {
    this: Weak<Self>,
    inner: Mutex<Inner>,
    /// What is read becomes ready only while this holds.
    readable: watch::Sender<bool>,
    /// This key is not looked up while it is here.
    stuck: watch::Sender<Option<String>>,
    /// What is listed becomes ready only while this holds.
    listed: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    woken: VecDeque<Arc<dyn Source>>,
    /// Taken, and not committed yet.
    taken: VecDeque<(Arc<dyn Source>, Batch)>,
    runs: BTreeMap<RunId, Written>,
    commits: bool,
    fails: bool,
    broken: bool,
    reads: usize,
    hurries: usize,
}

#[derive(Clone)]
struct Written {
    accepted: Accepted,
    started: Option<(SystemTime, Generation)>,
    events: Vec<Event>,
    ended: Option<SystemTime>,
    spent: Spent,
    /// Where the next batch has to begin, committed or not.
    next: u64,
}

impl FakeArchive {
    /// One that commits by itself as soon as it is woken.
    pub(super) fn new() -> Arc<Self> {
        Self::with(Inner { commits: true, ..Inner::default() })
    }

    /// One that commits when it is told to.
    pub(super) fn held() -> Arc<Self> {
        Self::with(Inner::default())
    }

    /// One that loses every log at once.
    pub(super) fn broken() -> Arc<Self> {
        Self::with(Inner { broken: true, ..Inner::default() })
    }

    fn with(inner: Inner) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            inner: Mutex::new(inner),
            readable: watch::Sender::new(true),
            stuck: watch::Sender::new(None),
            listed: watch::Sender::new(true),
        })
    }

    /// What a host finds that is started again: what was committed, with an end for every run that had none.
    pub(super) fn reopened(&self) -> Arc<Self> {
        let mut runs = self.inner().runs.clone();
        for written in runs.values_mut() {
            if written.outcome().is_none() {
                let interrupted = Failure::new(Code::Interrupted, "the host stopped");
                let id = written.events.len() as u64 + 1;
                written.events.push(Event { id, item: Item::Outcome(Outcome::Failed(interrupted)) });
                written.ended = Some(SystemTime::now());
            }
        }
        Self::with(Inner { runs, commits: true, ..Inner::default() })
    }

    /// Commits nothing more until it is told to.
    pub(super) fn hold(&self) {
        self.inner().commits = false;
    }

    /// Forgets a run.
    pub(super) fn remove(&self, run: RunId) {
        self.inner().runs.remove(&run);
    }

    /// Commits what there is, and by itself from now on.
    pub(super) fn release(&self) {
        self.inner().commits = true;
        self.commit();
    }

    /// From now on nothing can be written.
    pub(super) fn fail(&self) {
        self.inner().fails = true;
    }

    /// From now on it can again.
    pub(super) fn recover(&self) {
        self.inner().fails = false;
    }

    /// Answers no list until it is told to; what it says is of now.
    pub(super) fn hold_lists(&self) {
        self.listed.send_replace(false);
    }

    pub(super) fn release_lists(&self) {
        self.listed.send_replace(true);
    }

    pub(super) fn set_readable(&self, readable: bool) {
        self.readable.send_replace(readable);
    }

    /// Takes what there is and commits it.
    pub(super) fn commit(&self) {
        while self.take() | self.write() {}
    }

    /// Takes what one log has. False where none has anything.
    pub(super) fn take(&self) -> bool {
        let Some(source) = self.inner().woken.pop_front() else { return false };
        let batch = source.take();
        self.inner().taken.push_back((source, batch));
        true
    }

    /// Commits what was taken first. False where nothing was.
    pub(super) fn write(&self) -> bool {
        let mut inner = self.inner();
        let Some((source, batch)) = inner.taken.pop_front() else { return false };
        if inner.fails {
            drop(inner);
            source.lost(&ArchiveError("the disk is full".into()));
            return true;
        }
        let up_to = inner.write(source.run(), batch);
        // Committed, and the log will hear of it later: it can be asked in between.
        drop(inner);
        source.committed(up_to);
        true
    }

    /// From now on this key is not looked up, until another is named or none.
    pub(super) fn stick(&self, key: Option<&str>) {
        self.stuck.send_replace(key.map(Into::into));
    }

    /// How often somebody waited for it.
    pub(super) fn hurries(&self) -> usize {
        self.inner().hurries
    }

    /// How often it was read from.
    pub(super) fn reads(&self) -> usize {
        self.inner().reads
    }

    /// What is committed of a run.
    pub(super) fn events(&self, run: RunId) -> Vec<Event> {
        self.inner().runs.get(&run).map(|written| written.events.clone()).unwrap_or_default()
    }

    /// What is committed of what a run spent.
    pub(super) fn spent(&self, run: RunId) -> Spent {
        self.inner().runs.get(&run).map(|written| written.spent).unwrap_or_default()
    }

    pub(super) fn runs(&self) -> Vec<RunId> {
        self.inner().runs.keys().copied().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Inner {
    fn write(&mut self, run: RunId, batch: Batch) -> u64 {
        if let Some(accepted) = batch.accepted {
            let (started, events, ended, spent) = Default::default();
            let written = Written { accepted, started, events, ended, spent, next: 1 };
            assert!(self.runs.insert(run, written).is_none(), "accepted once");
        }
        if batch.started.is_none() && batch.events.is_empty() {
            return self.runs.get(&run).map_or(0, |written| written.events.len() as u64);
        }
        let written = self.runs.get_mut(&run).expect("the acceptance comes first");
        if batch.started.is_some() {
            assert!(written.started.is_none(), "started once");
            written.started = batch.started;
        }
        for event in batch.events {
            assert_eq!((event.id, written.outcome()), (written.next, None), "in order, and no end before");
            written.next += 1;
            written.events.push((*event).clone());
        }
        if batch.ended.is_some() {
            assert!(written.ended.is_none() && written.outcome().is_some(), "it comes with the outcome");
            written.ended = batch.ended;
            written.spent = batch.spent;
        } else {
            assert!(batch.spent.is_nothing(), "it comes with the outcome");
        }
        written.events.len() as u64
    }
}

impl Written {
    fn outcome(&self) -> Option<&Outcome> {
        match self.events.last().map(|event| &event.item) {
            Some(Item::Outcome(outcome)) => Some(outcome),
            _ => None,
        }
    }

    fn state(&self) -> RunState {
        let prompt = &self.accepted.prompt;
        RunState {
            run: prompt.run,
            agent: self.accepted.agent.clone(),
            origin: prompt.origin.clone(),
            prompt: prompt.text.clone(),
            prompt_cut: false,
            submitted: self.accepted.at,
            started: self.started,
            ended: self.ended,
            standing: match (self.outcome(), self.started) {
                (Some(outcome), _) => Standing::Ended(outcome.clone()),
                (None, Some(_)) => Standing::Running,
                (None, None) => Standing::Queued(0),
            },
            events: self.events.len() as u64,
            spent: self.spent,
        }
    }
}

impl Archive for FakeArchive {
    fn wake(&self, source: Arc<dyn Source>) {
        let mut inner = self.inner();
        if inner.broken {
            drop(inner);
            return source.lost(&ArchiveError("closed".into()));
        }
        let waits = inner.woken.iter().any(|other| other.run() == source.run());
        assert!(!waits, "a log is in the queue at most once");
        inner.woken.push_back(source);
        if inner.commits {
            let archive = self.this.upgrade().expect("it was called");
            tokio::spawn(async move { archive.commit() });
        }
    }

    fn hurry(&self) {
        self.inner().hurries += 1;
    }

    fn read(
        &self,
        run: RunId,
        after: u64,
        bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Event>, ArchiveError>> {
        let archive = self.this.upgrade().expect("it was called");
        let mut readable = self.readable.subscribe();
        async move {
            // Not ready only where it is held: a model asks more often than tokio would let a task go on.
            let held = unconstrained(readable.wait_for(|readable| *readable));
            held.await.map_err(|_| ArchiveError("gone".into()))?;
            let mut inner = archive.inner();
            inner.reads += 1;
            let (mut read, mut taken) = (Vec::new(), 0);
            let written = inner.runs.get(&run).map(|written| written.events.as_slice()).unwrap_or_default();
            for event in written.iter().filter(|event| event.id > after) {
                taken += size(event);
                read.push(event.clone());
                if taken >= bytes {
                    break;
                }
            }
            Ok(read)
        }
        .boxed()
    }

    fn state(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunState>, ArchiveError>> {
        let archive = self.this.upgrade().expect("it was called");
        async move { Ok(archive.inner().runs.get(&run).map(Written::state)) }.boxed()
    }

    fn by_key(
        &self,
        agent: AgentId,
        key: String,
    ) -> BoxFuture<'static, Result<Option<(RunId, Prompt)>, ArchiveError>> {
        let archive = self.this.upgrade().expect("it was called");
        let mut stuck = self.stuck.subscribe();
        async move {
            tokio::task::yield_now().await;
            let held = stuck.wait_for(|stuck| stuck.as_ref() != Some(&key)).await;
            held.map_err(|_| ArchiveError("gone".into()))?;
            let inner = archive.inner();
            let bears = |written: &&Written| {
                written.accepted.agent == agent && written.accepted.key.as_deref() == Some(&key)
            };
            let found = inner.runs.values().find(bears).map(|written| written.accepted.prompt.clone());
            Ok(found.map(|prompt| (prompt.run, prompt)))
        }
        .boxed()
    }

    fn count(&self, agent: AgentId) -> BoxFuture<'static, Result<u64, ArchiveError>> {
        let count = self.inner().runs.values().filter(|written| written.accepted.agent == agent).count();
        async move { Ok(count as u64) }.boxed()
    }

    fn forget(&self, agent: AgentId) -> BoxFuture<'static, Result<u64, ArchiveError>> {
        let mut inner = self.inner();
        let before = inner.runs.len();
        inner.runs.retain(|_, written| written.accepted.agent != agent || written.outcome().is_none());
        let forgotten = before - inner.runs.len();
        async move { Ok(forgotten as u64) }.boxed()
    }

    fn list(&self, query: Query) -> BoxFuture<'static, Result<Vec<RunState>, ArchiveError>> {
        let archive = self.this.upgrade().expect("it was called");
        let mut listed = self.listed.subscribe();
        async move {
            let listing = archive.listing(&query);
            let held = listed.wait_for(|listed| *listed).await;
            held.map_err(|_| ArchiveError("gone".into()))?;
            Ok(listing)
        }
        .boxed()
    }
}

impl FakeArchive {
    /// The runs that match as they stand in here.
    fn listing(&self, query: &Query) -> Vec<RunState> {
        let inner = self.inner();
        let matching = inner.runs.values().rev().map(Written::state);
        let matching = matching.filter(|state| query.matches(state)).take(query.limit);
        let listed = matching.map(|state| {
            let (prompt, prompt_cut) = RunState::listed(&state.prompt);
            RunState { prompt: prompt.into(), prompt_cut, ..state }
        });
        listed.collect()
    }
}
