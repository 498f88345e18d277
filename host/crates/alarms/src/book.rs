//! The clock's book: for each agent when its first alarm rings, and who has a turn.
//!
//! Promises: a time in the book is never later than what was said of the agent since it was last looked at; an agent has one
//! look at a time; agents that are due take turns, one ring in each.
//! Bounded by: [`Limits`]. An agent that only waits costs about 250 bytes with its name; a step moves at most
//! [`AT_A_STEP`] agents.
//!
//! No waiting and no clock: what time it is is passed in.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use rookery_core::AgentId;
use tokio::time::Instant;

use crate::pause::pause;

/// How much rings at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rings at once, over all agents.
    pub rings: usize,
    /// Rings at once of one agent.
    pub of_one: usize,
}

impl Default for Limits {
    /// 64 rings, and 4 of one agent. Each is a run, and often a request to a model; so many keep a host busy and leave nearly
    /// all of its 16,384 runs to clients. What is due beyond that waits in the book, where it costs no run. With 4 of its
    /// runs in the mailbox an agent that serves one after another never idles, and no dozen of agents has all the places.
    fn default() -> Self {
        Self { rings: 64, of_one: 4 }
    }
}

/// The wall clock is looked at as often as this while an agent waits: so much later than its time, and no more, does an
/// alarm ring after the wall clock was set or the machine has slept.
pub const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How many agents become ready in one step, so that others who want the book wait for less than a millisecond.
const AT_A_STEP: usize = 1_000;

pub(crate) struct Book {
    limits: Limits,
    agents: HashMap<AgentId, Agent>,
    /// By when their first alarms ring.
    waiting: BTreeSet<(u64, AgentId)>,
    /// Due, in the order in which they are to have a turn.
    ready: VecDeque<AgentId>,
    /// By when their pauses are over. Pauses are no matter of the wall clock.
    paused: BTreeSet<(Instant, AgentId)>,
    /// Turns that are taken.
    turns: usize,
}

#[derive(Default)]
struct Agent {
    due: Option<u64>,
    place: Place,
    /// Not there for most agents, which only wait.
    busy: Option<Box<Busy>>,
}

/// Where in the book an agent is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Nowhere: nothing is due, or something has to end first.
    #[default]
    Aside,
    Waiting(u64),
    Ready,
    Paused(Instant),
}

#[derive(Default)]
struct Busy {
    looking: bool,
    ringing: Vec<String>,
    /// How often in a row it could not be rung.
    in_vain: u32,
    pause: Option<Instant>,
}

/// What is to be done now, and when to come back.
pub(crate) struct Step {
    /// Agents that have a turn, each with what rings of it already.
    pub(crate) turns: Vec<(AgentId, Vec<String>)>,
    /// When there may be more to do, if nothing is said before.
    pub(crate) wait: Option<Duration>,
}

impl Book {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            agents: HashMap::new(),
            waiting: BTreeSet::new(),
            ready: VecDeque::new(),
            paused: BTreeSet::new(),
            turns: 0,
        }
    }

    /// An alarm of this agent rings then. Says whether it is the first of all.
    pub(crate) fn due(&mut self, id: &AgentId, at: u64) -> bool {
        self.change(id, |agent| agent.due = earliest(agent.due, Some(at)));
        self.waiting.first().is_some_and(|(_, first)| first == id)
    }

    /// Gives turns to those who are due and for whom there are places.
    pub(crate) fn step(&mut self, wall: u64, now: Instant) -> Step {
        let mut moved = 0;
        while moved < AT_A_STEP && self.paused.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, id)) = self.paused.pop_first() else { break };
            self.change(&id, |agent| agent.busy().pause = None);
            moved += 1;
        }
        while moved < AT_A_STEP && self.waiting.first().is_some_and(|(due, _)| *due <= wall) {
            let Some((_, id)) = self.waiting.pop_first() else { break };
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.place = Place::Ready;
            }
            self.ready.push_back(id);
            moved += 1;
        }
        let mut turns = Vec::new();
        while self.turns < self.limits.rings {
            let Some(id) = self.ready.pop_front() else { break };
            turns.extend(self.take_turn(id));
        }
        Step { turns, wait: self.wait(wall, now) }
    }

    /// A look has ended: this rings now, and others of the agent do not before `next`. The turn goes on if something rings.
    pub(crate) fn looked(&mut self, id: &AgentId, rings: Option<&str>, next: Option<u64>) {
        self.turns -= usize::from(rings.is_none());
        self.change(id, |agent| {
            agent.busy().looking = false;
            agent.busy().ringing.extend(rings.map(str::to_owned));
            agent.due = earliest(agent.due, next);
        });
    }

    /// A ring has ended, and with it the turn. The agent's first alarm that is not ringing rings at `next`.
    pub(crate) fn ended(&mut self, id: &AgentId, name: &str, next: Option<u64>) {
        self.turns -= 1;
        self.change(id, |agent| {
            agent.busy().ringing.retain(|ringing| ringing != name);
            agent.due = earliest(agent.due, next);
        });
    }

    /// What rings of this agent.
    pub(crate) fn ringing(&self, id: &AgentId) -> Vec<String> {
        let busy = self.agents.get(id).and_then(|agent| agent.busy.as_ref());
        busy.map(|busy| busy.ringing.clone()).unwrap_or_default()
    }

    /// The agent could not be rung: it is left alone for a while.
    pub(crate) fn in_vain(&mut self, id: &AgentId, now: Instant) {
        self.change(id, |agent| {
            let busy = agent.busy();
            // Several that were on their way together count once.
            if busy.pause.is_none() {
                busy.in_vain = busy.in_vain.saturating_add(1);
                busy.pause = Some(now + pause(busy.in_vain));
            }
        });
    }

    /// The agent could be rung.
    pub(crate) fn not_in_vain(&mut self, id: &AgentId) {
        self.change(id, |agent| {
            if let Some(busy) = &mut agent.busy {
                busy.in_vain = 0;
            }
        });
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.agents.len()
    }

    fn take_turn(&mut self, id: AgentId) -> Option<(AgentId, Vec<String>)> {
        let limit = self.limits.of_one;
        let mut ringing = None;
        self.change(&id, |agent| {
            agent.place = Place::Aside;
            if agent.may_look(limit) && agent.busy().pause.is_none() && agent.due.take().is_some() {
                agent.busy().looking = true;
                ringing = Some(agent.busy().ringing.clone());
            }
        });
        self.turns += usize::from(ringing.is_some());
        Some((id, ringing?))
    }

    fn wait(&self, wall: u64, now: Instant) -> Option<Duration> {
        let due = self.waiting.first().map(|(due, _)| Duration::from_millis(due.saturating_sub(wall)));
        let over = self.paused.first().map(|(until, _)| until.saturating_duration_since(now));
        due.map(|due| due.min(LOOK_AGAIN)).into_iter().chain(over).min()
    }

    /// Changes what is known of an agent, and puts it where it belongs then.
    fn change(&mut self, id: &AgentId, change: impl FnOnce(&mut Agent)) {
        let mut agent = self.agents.remove(id).unwrap_or_default();
        let before = agent.place;
        change(&mut agent);
        let after = match agent.place {
            Place::Ready => Place::Ready,
            _ => agent.belongs(self.limits.of_one),
        };
        if before != after {
            self.strike(id, before);
            self.enter(id, after);
        }
        agent.place = after;
        agent.busy = agent.busy.filter(|busy| busy.in_vain > 0 || busy.is_at_work());
        if agent.due.is_some() || agent.busy.as_ref().is_some_and(|busy| busy.is_at_work()) {
            self.agents.insert(id.clone(), agent);
        }
    }

    fn strike(&mut self, id: &AgentId, from: Place) {
        match from {
            Place::Waiting(due) => drop(self.waiting.remove(&(due, id.clone()))),
            Place::Paused(until) => drop(self.paused.remove(&(until, id.clone()))),
            Place::Aside | Place::Ready => {}
        }
    }

    fn enter(&mut self, id: &AgentId, at: Place) {
        match at {
            Place::Waiting(due) => drop(self.waiting.insert((due, id.clone()))),
            Place::Paused(until) => drop(self.paused.insert((until, id.clone()))),
            Place::Aside | Place::Ready => {}
        }
    }
}

impl Agent {
    fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    fn may_look(&self, limit: usize) -> bool {
        self.busy.as_ref().is_none_or(|busy| !busy.looking && busy.ringing.len() < limit)
    }

    fn belongs(&self, limit: usize) -> Place {
        let pause = self.busy.as_ref().and_then(|busy| busy.pause);
        match (pause, self.due) {
            _ if !self.may_look(limit) => Place::Aside,
            (Some(until), _) => Place::Paused(until),
            (None, Some(due)) => Place::Waiting(due),
            (None, None) => Place::Aside,
        }
    }
}

impl Busy {
    fn is_at_work(&self) -> bool {
        self.looking || !self.ringing.is_empty() || self.pause.is_some()
    }
}

fn earliest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}
