//! An agent's turn: a look for what it has to ring, and that ring from its run to its being settled.
//!
//! Promises: whatever happens, the turn's place is given back, and nothing is taken to be ringing that is not; what begins with
//! one agent does not end with another that came to bear its name.

use std::sync::Arc;

use rookery_core::AgentId;
use tokio::time::{Instant, sleep};

use crate::clock::Shared;
use crate::kept::{Begun, Kept, Moment};
use crate::pause::pause;
use crate::retry::ATTEMPTS;
use crate::ringer::{Ringer, Ringing, Rung};

/// A turn that has begun.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    agent: AgentId,
    up_since: u64,
    stage: Stage,
}

/// How far a turn is.
enum Stage {
    Looking,
    Ringing(String),
    Over,
}

/// How often it is tried to write how a ring ended; with the waits between them that is 15 s. After that the alarm rings
/// once more rather than keep others from ringing.
const WRITES: u32 = 5;

impl Turn {
    pub(crate) fn new(shared: Arc<Shared>, agent: AgentId, up_since: u64) -> Self {
        Self { shared, agent, up_since, stage: Stage::Looking }
    }

    /// Takes the turn, beside what rings of the agent already.
    pub(crate) async fn take(mut self, kept: Arc<dyn Kept>, ringer: Arc<dyn Ringer>, ringing: Vec<String>) {
        let _stays = kept.stays(&self.agent).await;
        let moment = self.moment(ringing);
        let now = moment.now;
        match kept.begin(&self.agent, moment).await {
            Ok(Begun { ringing: Some(ringing), next }) => {
                self.rings(&ringing, next);
                let rung = self.ring(&*ringer, &ringing).await;
                self.settle(&*kept, &ringing, &rung).await;
            }
            Ok(Begun { ringing: None, next }) if next.is_none_or(|next| next > now) => self.nothing(next),
            Ok(Begun { next, .. }) => {
                tracing::error!(agent = %self.agent, "an alarm is due that does not ring; this is a defect of the host");
                self.in_vain(next);
            }
            Err(error) => {
                tracing::error!(agent = %self.agent, "alarms cannot be read, and ring late: {error}");
                self.in_vain(Some(now));
            }
        }
    }

    fn moment(&self, ringing: Vec<String>) -> Moment {
        Moment { now: self.shared.now(), up_since: self.up_since, ringing }
    }

    fn rings(&mut self, ringing: &Ringing, next: Option<u64>) {
        self.shared.book().looked(&self.agent, Some(&ringing.name), next);
        self.stage = Stage::Ringing(ringing.name.clone());
        self.shared.changed();
    }

    async fn ring(&self, ringer: &dyn Ringer, ringing: &Ringing) -> Rung {
        if self.shared.stopping.is_cancelled() {
            return Rung::Refused("the host is stopping".into());
        }
        let rung = ringer.ring(&self.agent, ringing.clone()).await;
        let Ringing { name: alarm, attempt, .. } = ringing;
        match &rung {
            Rung::Failed(why) if *attempt >= ATTEMPTS => {
                tracing::warn!(agent = %self.agent, alarm, "an alarm was tried {attempt} times in vain: {why}");
            }
            Rung::Refused(why) => tracing::debug!(agent = %self.agent, alarm, "an alarm rings later: {why}"),
            Rung::Done | Rung::Failed(_) => {}
        }
        rung
    }

    async fn settle(mut self, kept: &dyn Kept, ringing: &Ringing, rung: &Rung) {
        let mut tries = 0;
        let next = loop {
            let mut others = self.shared.book().ringing(&self.agent);
            others.retain(|name| *name != ringing.name);
            let error = match kept.settle(&self.agent, ringing, rung, self.moment(others)).await {
                Ok(next) => break next,
                Err(error) => error,
            };
            tries += 1;
            if tries == WRITES || self.shared.stopping.is_cancelled() {
                tracing::error!(
                    agent = %self.agent, alarm = ringing.name,
                    "how an alarm's run ended cannot be written, so it rings again: {error}"
                );
                return self.in_vain(Some(ringing.began));
            }
            self.shared.stopping.run_until_cancelled(sleep(pause(tries))).await;
        };
        match rung {
            Rung::Refused(_) => self.in_vain(next),
            Rung::Done | Rung::Failed(_) => {
                self.shared.book().not_in_vain(&self.agent);
                self.over(next);
            }
        }
    }

    fn nothing(mut self, next: Option<u64>) {
        self.over(next);
    }

    fn in_vain(mut self, next: Option<u64>) {
        self.shared.book().in_vain(&self.agent, Instant::now());
        self.over(next);
    }

    fn over(&mut self, next: Option<u64>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Looking => self.shared.book().looked(&self.agent, None, next),
            Stage::Ringing(name) => self.shared.book().ended(&self.agent, &name, next),
            Stage::Over => return,
        }
        self.shared.changed();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Over) {
            // It panicked, or its runtime is gone.
            self.shared.book().in_vain(&self.agent, Instant::now());
            self.over(Some(0));
        }
    }
}
