//! Runs by their ids and keys: following, cancelling, listing, and submitting one only once.

use std::sync::Arc;

use rookery_core::{AgentId, Code, Event, Failure, Item, Outcome, Prompt, RunId, RunState, Standing};

use crate::archive::{ArchiveError, Query};
use crate::directory::{Asked, Directory, Submitted};
use crate::log::{Cancelling, Log};
use crate::reader::Reader;

impl Directory {
    /// Submits a run that bears a key, unless there is a run of this agent with this key already: then it is that one.
    /// The key holds for as long as the run is kept. Says whether it was there already.
    ///
    /// # Errors
    ///
    /// As [`Directory::submit`]; and when the run with this key was given another prompt.
    pub async fn submit_once(&self, agent: &AgentId, asked: Asked) -> Result<(Submitted, bool), Failure> {
        let Some(key) = asked.key.clone() else { return Ok((self.submit(agent, asked)?, false)) };
        let _turn = self.shared.keyed.turn(agent, &key).await;
        match self.with_key(agent, &key, &asked).await? {
            Some((run, true)) => {
                // It was there a moment ago; if it has been removed since then, so has its key.
                match self.follow(run, 0).await? {
                    Some(events) => Ok((Submitted { run, events }, true)),
                    None => Ok((self.submit(agent, asked)?, false)),
                }
            }
            Some((run, false)) => {
                let message =
                    format!("this Idempotency-Key names run {run}, which has another prompt; use a new key");
                Err(Failure::new(Code::KeyReused, message))
            }
            None => Ok((self.submit(agent, asked)?, false)),
        }
    }

    /// Follows a run from after this event. None where there is no such run.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read.
    pub async fn follow(&self, run: RunId, after: u64) -> Result<Option<Reader>, Failure> {
        if let Some(log) = self.unsettled(run) {
            return Ok(Some(Reader::live(log, after)));
        }
        let Some(archiving) = &self.shared.archiving else { return Ok(None) };
        let Some(state) = archiving.archive.state(run).await.map_err(unreadable)? else { return Ok(None) };
        let end = lost(&state).map(|failure| end(&state, failure));
        let last = state.events + u64::from(end.is_some());
        // Who has seen more than there is saw what was lost when the host stopped, and has not seen the end.
        let after = if after > last { last.saturating_sub(1) } else { after };
        Ok(Some(Reader::archived(archiving.archive.clone(), run, after, (state.events, end))))
    }

    /// How a run stands. None where there is no such run.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read.
    pub async fn state(&self, run: RunId) -> Result<Option<RunState>, Failure> {
        if let Some(log) = self.unsettled(run) {
            return Ok(Some(log.state()));
        }
        match &self.shared.archiving {
            Some(archiving) => Ok(archiving.archive.state(run).await.map_err(unreadable)?.map(as_it_stands)),
            None => Ok(None),
        }
    }

    /// Cancels a run. None where there is no such run; cancelling twice, or one that has ended, changes nothing.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read.
    pub async fn cancel(&self, run: RunId) -> Result<Option<Cancelling>, Failure> {
        match self.unsettled(run) {
            Some(log) => Ok(Some(log.cancel())),
            None => Ok(self.state(run).await?.map(|_| Cancelling::Over)),
        }
    }

    /// The runs that match, newest first: those that are kept, as they stand now, with their prompts cut.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read.
    pub async fn runs(&self, mut query: Query) -> Result<Vec<RunState>, Failure> {
        let Some(archiving) = &self.shared.archiving else { return Ok(self.unsettled_runs(&query)) };
        let (limit, mut found) = (query.limit, Vec::new());
        loop {
            query.limit = limit - found.len();
            let listed = archiving.archive.list(query.clone()).await.map_err(unreadable)?;
            let full = listed.len() == query.limit;
            let last = listed.last().map(|state| state.run);
            for state in listed {
                found.extend(self.now(state).await?.filter(|state| query.matches(state)));
            }
            // What the archive has of a live run is a moment old, so some of a page may not match any more.
            match last {
                Some(last) if full && found.len() < limit => query.before = Some(last),
                _ => return Ok(found),
            }
        }
    }

    /// How many runs are kept of this agent; none where runs are not kept.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read.
    pub async fn count_runs(&self, agent: &AgentId) -> Result<Option<u64>, Failure> {
        let Some(archiving) = &self.shared.archiving else { return Ok(None) };
        Ok(Some(archiving.archive.count(agent.clone()).await.map_err(unreadable)?))
    }

    /// A run that was listed, as it stands now. None where it was removed since then.
    async fn now(&self, listed: RunState) -> Result<Option<RunState>, Failure> {
        match listed.standing {
            Standing::Ended(_) => Ok(Some(listed)),
            Standing::Queued(_) | Standing::Running => match self.unsettled(listed.run) {
                Some(log) => Ok(Some(log.listed())),
                None => self.settled(listed).await,
            },
        }
    }

    /// A run that was listed as a live one and has been settled since then.
    async fn settled(&self, listed: RunState) -> Result<Option<RunState>, Failure> {
        let RunState { run, prompt, prompt_cut, .. } = listed;
        Ok(self.state(run).await?.map(|state| RunState { prompt, prompt_cut, ..state }))
    }

    fn unsettled_runs(&self, query: &Query) -> Vec<RunState> {
        let logs: Vec<_> = self.shared.agents().runs.values().cloned().collect();
        let mut states: Vec<_> = logs.iter().map(|log| log.listed()).collect();
        states.retain(|state| query.matches(state));
        states.sort_by_key(|state| std::cmp::Reverse(state.run));
        states.truncate(query.limit);
        states
    }

    fn unsettled(&self, run: RunId) -> Option<Arc<Log>> {
        self.shared.agents().runs.get(&run).cloned()
    }

    /// The run of this agent that bears this key, and whether it was asked the same.
    async fn with_key(
        &self,
        agent: &AgentId,
        key: &str,
        asked: &Asked,
    ) -> Result<Option<(RunId, bool)>, Failure> {
        let same = |prompt: &Prompt| prompt.text == asked.text && prompt.body == asked.body;
        let unsettled = self.shared.agents().runs.with_key(agent, key).cloned();
        if let Some(log) = unsettled {
            return Ok(Some((log.run(), same(&log.accepted.prompt))));
        }
        let Some(archiving) = &self.shared.archiving else { return Ok(None) };
        let found = archiving.archive.by_key(agent.clone(), key.to_owned()).await.map_err(unreadable)?;
        Ok(found.map(|(run, prompt)| (run, same(&prompt))))
    }
}

/// What the archive knows of a run that is not unsettled here, with the end that it lacks if its log was lost.
fn as_it_stands(state: RunState) -> RunState {
    match lost(&state) {
        Some(failure) => RunState {
            events: state.events + 1,
            standing: Standing::Ended(Outcome::Failed(failure)),
            ..state
        },
        None => state,
    }
}

/// Why a run failed that is unfinished in the archive and that nobody here knows: it was settled before the archive was
/// asked, and what is settled without being written was lost.
fn lost(state: &RunState) -> Option<Failure> {
    let ended = matches!(state.standing, Standing::Ended(_));
    (!ended).then(|| Failure::new(Code::Internal, "the host could not keep the log of this run"))
}

fn end(state: &RunState, failure: Failure) -> Arc<Event> {
    Arc::new(Event { id: state.events + 1, item: Item::Outcome(Outcome::Failed(failure)) })
}

fn unreadable(error: ArchiveError) -> Failure {
    tracing::error!("the archive of runs cannot be read: {error}");
    Failure::new(Code::Internal, "the host cannot read its archive of runs; its log says why")
}
