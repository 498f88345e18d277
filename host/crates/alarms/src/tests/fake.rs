//! A host whose alarms are kept in memory, which can crash, and agents that do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rookery_core::AgentId;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Begun, Clock, Kept, KeptError, Limits, Missed, Moment, Progress, Ringer, Ringing, Rung, Settled, Stays,
    Timing, Verdict, WallClock,
};

/// When the tests begin, in milliseconds after 1970.
pub(super) const START: u64 = 1_800_000_000_000;

/// What survives a crash, and what tests look at.
pub(super) struct World {
    began: Instant,
    /// How far the wall clock was set, in milliseconds.
    pub(super) set_by: AtomicI64,
    pub(super) disk: Mutex<Disk>,
    /// How often the wall clock was looked at, which is once in every step and look of the clock.
    pub(super) looks: AtomicUsize,
    pub(super) rings: Mutex<Vec<Ring>>,
    /// What the next runs do; afterwards they are done at once.
    pub(super) script: Mutex<Script>,
}

pub(super) type Script = Box<dyn FnMut(&AgentId, &Ringing) -> Run + Send>;

#[derive(Default)]
pub(super) struct Disk {
    alarms: BTreeMap<AgentId, BTreeMap<String, Alarm>>,
    versions: u64,
    /// Reads and writes, by what they are for.
    pub(super) begins: usize,
    pub(super) settles: usize,
    /// How long each takes.
    pub(super) takes: Duration,
    /// Agents whose files are damaged.
    pub(super) damaged: BTreeSet<AgentId>,
    /// So many of the next settles fail.
    pub(super) unsettled: usize,
    /// So many of the next pages cannot be read.
    pub(super) unread: usize,
}

#[derive(Clone)]
pub(super) struct Alarm {
    pub(super) timing: Timing,
    missed: Missed,
    pub(super) version: u64,
    pub(super) progress: Progress,
}

/// What a run does.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) takes: Duration,
    pub(super) ends: Rung,
}

/// A ring that an agent has had.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    pub(super) agent: AgentId,
    pub(super) ringing: Ringing,
    pub(super) at: u64,
}

/// A host from its start to its crash.
pub(super) struct Host {
    pub(super) world: Arc<World>,
    pub(super) clock: Clock,
    pub(super) up: Arc<Up>,
}

/// A host's view of the world; what it does after a crash never happens.
pub(super) struct Up {
    world: Arc<World>,
    crashed: AtomicBool,
    limits: Limits,
    ringing: Mutex<BTreeSet<(AgentId, String)>>,
    /// By how many turns each agent stays.
    pub(super) staying: Arc<Mutex<BTreeMap<AgentId, usize>>>,
    pub(super) most: AtomicUsize,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            set_by: AtomicI64::new(0),
            disk: Mutex::default(),
            looks: AtomicUsize::new(0),
            rings: Mutex::default(),
            script: Mutex::new(Box::new(|_, _| Run { takes: Duration::ZERO, ends: Rung::Done })),
        })
    }

    pub(super) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        (START + elapsed).checked_add_signed(self.set_by.load(Ordering::Relaxed)).unwrap()
    }

    pub(super) fn start(self: &Arc<Self>) -> Host {
        self.start_with(Limits::default())
    }

    pub(super) fn start_with(self: &Arc<Self>, limits: Limits) -> Host {
        let world = self.clone();
        let wall: WallClock = Arc::new(move || {
            world.looks.fetch_add(1, Ordering::Relaxed);
            world.now()
        });
        let (clock, works) = Clock::new(limits, wall);
        let up = Arc::new(Up {
            world: self.clone(),
            crashed: AtomicBool::new(false),
            limits,
            ringing: Mutex::default(),
            staying: Arc::default(),
            most: AtomicUsize::new(0),
        });
        works.start(up.clone(), up.clone());
        Host { world: self.clone(), clock, up }
    }

    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    pub(super) fn rings(&self) -> Vec<Ring> {
        self.rings.lock().unwrap().clone()
    }

    /// What has rung, as `agent's name, alarm, attempt, seconds since the start`.
    pub(super) fn heard(&self) -> Vec<(String, String, u32, f64)> {
        let heard = |ring: Ring| {
            let at = (ring.at - START) as f64 / 1_000.0;
            (ring.agent.name.to_string(), ring.ringing.name, ring.ringing.attempt, at)
        };
        self.rings().into_iter().map(heard).collect()
    }

    pub(super) fn script(&self, script: impl FnMut(&AgentId, &Ringing) -> Run + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub(super) fn alarm(&self, agent: &str, name: &str) -> Option<Alarm> {
        self.disk().alarms.get(&self::agent(agent))?.get(name).cloned()
    }

    /// Sets an alarm on disk, and tells nobody. Says its version and when it is due.
    pub(super) fn set(&self, agent: &AgentId, name: &str, timing: Timing, missed: Missed) -> (u64, u64) {
        let progress = Progress::set(&timing, self.now()).unwrap();
        let due = progress.due;
        let mut disk = self.disk();
        disk.versions += 1;
        let version = disk.versions;
        let alarm = Alarm { timing, missed, version, progress };
        disk.alarms.entry(agent.clone()).or_default().insert(name.to_owned(), alarm);
        (version, due)
    }
}

impl Host {
    pub(super) fn set(&self, agent: &str, name: &str, timing: Timing) -> u64 {
        let agent = self::agent(agent);
        let (version, due) = self.world.set(&agent, name, timing, Missed::RingOnce);
        self.clock.due(&agent, due);
        version
    }

    pub(super) fn cancel(&self, agent: &str, name: &str) -> bool {
        let mut disk = self.world.disk();
        disk.alarms.get_mut(&self::agent(agent)).is_some_and(|alarms| alarms.remove(name).is_some())
    }

    pub(super) fn crash(self) {
        self.up.crashed.store(true, Ordering::Relaxed);
    }

    pub(super) fn ringing(&self) -> usize {
        self.up.ringing.lock().unwrap().len()
    }
}

impl Up {
    /// Does something with the disk, which takes a while before and after; nothing once the host has crashed.
    async fn io<T>(&self, io: impl FnOnce(&mut Disk) -> T) -> T {
        let takes = self.world.disk().takes;
        self.wait(takes / 2).await;
        let done = io(&mut self.world.disk());
        self.wait(takes / 2).await;
        done
    }

    async fn wait(&self, time: Duration) {
        if time > Duration::ZERO {
            sleep(time).await;
        }
        if self.crashed.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    async fn run(&self, agent: &AgentId, ringing: Ringing) -> Rung {
        self.wait(Duration::ZERO).await;
        self.assert_stays(agent);
        let run = (self.world.script.lock().unwrap_or_else(PoisonError::into_inner))(agent, &ringing);
        if let Rung::Refused(_) = run.ends {
            return run.ends;
        }
        let ring = Ring { agent: agent.clone(), ringing, at: self.world.now() };
        let key = (agent.clone(), ring.ringing.name.clone());
        assert!(ring.at >= ring.ringing.due, "early: {ring:?}");
        assert!(self.ringing.lock().unwrap().insert(key.clone()), "twice at once: {ring:?}");
        self.count(agent);
        self.world.rings.lock().unwrap().push(ring);
        self.wait(run.takes).await;
        self.ringing.lock().unwrap().remove(&key);
        run.ends
    }

    fn assert_stays(&self, agent: &AgentId) {
        assert!(self.staying.lock().unwrap().contains_key(agent), "{agent} may be another one by now");
    }

    fn count(&self, agent: &AgentId) {
        let ringing = self.ringing.lock().unwrap();
        self.most.fetch_max(ringing.len(), Ordering::Relaxed);
        let of_one = ringing.iter().filter(|(other, _)| other == agent).count();
        assert!(ringing.len() <= self.limits.rings && of_one <= self.limits.of_one, "too much at once");
    }
}

impl Kept for Up {
    fn page(
        &self,
        after: Option<AgentId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(AgentId, u64)>, KeptError>> {
        self.io(move |disk| {
            if let Some(left) = disk.unread.checked_sub(1) {
                disk.unread = left;
                return Err(KeptError("the disk stalls".into()));
            }
            let agents =
                disk.alarms.iter().filter(|(agent, _)| after.as_ref().is_none_or(|after| *agent > after));
            let due = agents.filter_map(|(agent, alarms)| Some((agent.clone(), first(alarms, &[])?)));
            Ok(due.take(limit).collect())
        })
        .boxed()
    }

    fn stays<'a>(&'a self, agent: &'a AgentId) -> BoxFuture<'a, Stays> {
        *self.staying.lock().unwrap().entry(agent.clone()).or_default() += 1;
        let stays = Staying { agent: agent.clone(), all: self.staying.clone() };
        async { Box::new(stays) as Stays }.boxed()
    }

    fn begin<'a>(&'a self, agent: &'a AgentId, moment: Moment) -> BoxFuture<'a, Result<Begun, KeptError>> {
        self.io(move |disk| {
            self.assert_stays(agent);
            disk.begins += 1;
            disk.readable(agent)?;
            let alarms = disk.alarms.entry(agent.clone()).or_default();
            Ok(begin(alarms, moment))
        })
        .boxed()
    }

    fn settle<'a>(
        &'a self,
        agent: &'a AgentId,
        ringing: &'a Ringing,
        rung: &'a Rung,
        moment: Moment,
    ) -> BoxFuture<'a, Result<Option<u64>, KeptError>> {
        self.io(move |disk| {
            self.assert_stays(agent);
            disk.settles += 1;
            disk.readable(agent)?;
            if let Some(left) = disk.unsettled.checked_sub(1) {
                disk.unsettled = left;
                return Err(KeptError("the disk stalls".into()));
            }
            let alarms = disk.alarms.entry(agent.clone()).or_default();
            if let Some(alarm) =
                alarms.get_mut(&ringing.name).filter(|alarm| alarm.version == ringing.version)
            {
                match alarm.progress.settle(&alarm.timing, ringing, rung, moment.now) {
                    Settled::Unchanged => {}
                    Settled::Goes(progress) => alarm.progress = progress,
                    Settled::Over => drop(alarms.remove(&ringing.name)),
                }
            }
            Ok(first(alarms, &moment.ringing))
        })
        .boxed()
    }
}

struct Staying {
    agent: AgentId,
    all: Arc<Mutex<BTreeMap<AgentId, usize>>>,
}

impl Drop for Staying {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.get_mut(&self.agent).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            all.remove(&self.agent);
        }
    }
}

impl Ringer for Up {
    fn ring<'a>(&'a self, agent: &'a AgentId, ringing: Ringing) -> BoxFuture<'a, Rung> {
        self.run(agent, ringing).boxed()
    }
}

impl Disk {
    fn readable(&self, agent: &AgentId) -> Result<(), KeptError> {
        if self.damaged.contains(agent) { Err(KeptError("the file is damaged".into())) } else { Ok(()) }
    }
}

fn begin(alarms: &mut BTreeMap<String, Alarm>, moment: Moment) -> Begun {
    let Moment { now, up_since, mut ringing } = moment;
    loop {
        let free = alarms.iter().filter(|(name, _)| !ringing.contains(name));
        let Some(rings) = free.filter_map(|(_, alarm)| alarm.progress.rings).min() else {
            return Begun::default();
        };
        let (name, alarm) = alarms
            .iter_mut()
            .find(|(name, alarm)| alarm.progress.rings == Some(rings) && !ringing.contains(name))
            .unwrap();
        let name = name.clone();
        match alarm.progress.verdict(&alarm.timing, alarm.missed, now, up_since) {
            Verdict::Later(rings) => return Begun { ringing: None, next: Some(rings) },
            Verdict::Never => unreachable!("it has a time"),
            Verdict::Passes(Some(progress)) => alarm.progress = progress,
            Verdict::Passes(None) => drop(alarms.remove(&name)),
            Verdict::Rings(progress) => {
                let (due, attempt, version) = (progress.due, progress.attempts, alarm.version);
                alarm.progress = progress;
                ringing.push(name.clone());
                let rings = Ringing { name, version, payload: String::new(), due, attempt, began: now };
                return Begun { ringing: Some(rings), next: first(alarms, &ringing) };
            }
        }
    }
}

fn first(alarms: &BTreeMap<String, Alarm>, ringing: &[String]) -> Option<u64> {
    let free = alarms.iter().filter(|(name, _)| !ringing.contains(name));
    free.filter_map(|(_, alarm)| alarm.progress.rings).min()
}

pub(super) fn agent(name: &str) -> AgentId {
    AgentId { plugin: "chat".parse().unwrap(), name: name.parse().unwrap() }
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn after(seconds: u64) -> Timing {
    Timing::After(seconds * 1_000)
}

pub(super) fn run(takes: u64, ends: Rung) -> Run {
    Run { takes: seconds(takes), ends }
}

/// Waits until something is so, for an hour of the test's clock.
pub(super) async fn until(mut so: impl FnMut() -> bool) {
    let soon = async {
        while !so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(seconds(3_600), soon).await.expect("it comes to be so");
}
