//! Alarms that ring become runs.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rookery_agents::{Asked, Directory};
use rookery_alarms::{Clock, Ringer, Ringing, Rung};
use rookery_core::{AgentId, Alarm, Origin, Outcome};

/// What rings agents: the directory, with a run for each ring.
pub(crate) struct Rings(pub(crate) Directory);

impl Ringer for Rings {
    fn ring<'a>(&'a self, agent: &'a AgentId, ringing: Ringing) -> BoxFuture<'a, Rung> {
        let Ringing { name, payload, due, attempt, .. } = ringing;
        let asked = Asked {
            text: payload,
            body: None,
            origin: Origin::Schedule(name),
            key: None,
            deadline: None,
            // Nobody reads it, and that is not for its plugin to mind.
            background: true,
            alarm: Some(Alarm { due, attempt }),
        };
        async move {
            let run = match self.0.submit(agent, asked) {
                Ok(run) => run,
                Err(refused) => return Rung::Refused(refused.message),
            };
            match run.events.outcome().await {
                Some(Outcome::Done) => Rung::Done,
                Some(Outcome::Failed(failure)) => Rung::Failed(failure.message),
                Some(Outcome::Cancelled(_)) => Rung::Failed("its run was cancelled".into()),
                None => Rung::Failed("how its run ended is not known".into()),
            }
        }
        .boxed()
    }
}

/// A clock that stops when this is dropped.
pub(crate) struct Ticking(pub(crate) Clock);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.stop();
    }
}
