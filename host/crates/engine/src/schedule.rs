//! The contract's `schedule`, on the agent's own file: this file only translates.

use rookery_alarms::{Cron, Invalid, Missed, Period, Timing};
use rookery_storage::{Alarm, AlarmError, Pending};

use crate::contract::schedule;
use crate::state::State;

impl schedule::Host for State {
    fn set(&mut self, alarm: schedule::Alarm) -> wasmtime::Result<Result<u64, schedule::Error>> {
        if !self.rings {
            let why = "this plugin exports no `alarm`, so nothing would ring; export `rookery:agent/alarm`";
            return Ok(Err(schedule::Error::Invalid(why.into())));
        }
        let timing = match timing(alarm.timing) {
            Ok(timing) => timing,
            Err(invalid) => return Ok(Err(schedule::Error::Invalid(invalid.to_string()))),
        };
        let missed = match alarm.missed {
            schedule::Missed::RingOnce => Missed::RingOnce,
            schedule::Missed::Skip => Missed::Skip,
        };
        let alarm = Alarm { name: alarm.name, timing, payload: alarm.payload, missed };
        let now = (self.wall)();
        Ok(self.gate.storage(|storage| storage.set_alarm(alarm, now)).map_err(Into::into))
    }

    fn cancel(&mut self, name: String) -> wasmtime::Result<Result<bool, schedule::Error>> {
        let cancelled = self.gate.storage(|storage| storage.cancel_alarm(&name));
        Ok(cancelled.map_err(|error| schedule::Error::Storage(error.into())))
    }

    fn get(&mut self, name: String) -> wasmtime::Result<Result<Option<schedule::Pending>, schedule::Error>> {
        let found = self.gate.storage(|storage| storage.alarm(&name));
        Ok(found.map(|found| found.map(Into::into)).map_err(|error| schedule::Error::Storage(error.into())))
    }

    fn list(
        &mut self,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<schedule::Pending>, schedule::Error>> {
        let listed = self.gate.storage(|storage| storage.alarms(after.as_deref(), limit));
        Ok(listed
            .map(|listed| listed.into_iter().map(Into::into).collect())
            .map_err(|error| schedule::Error::Storage(error.into())))
    }
}

fn timing(timing: schedule::Timing) -> Result<Timing, Invalid> {
    Ok(match timing {
        schedule::Timing::At(at) => Timing::At(at),
        schedule::Timing::After(after) => Timing::After(after),
        schedule::Timing::Every(every) => Timing::Every(Period::new(every)?),
        schedule::Timing::Cron(cron) => Timing::Cron(Cron::new(&cron.expression, &cron.time_zone)?),
    })
}

impl From<Pending> for schedule::Pending {
    fn from(pending: Pending) -> Self {
        let Pending { alarm, progress, .. } = pending;
        let timing = match alarm.timing {
            Timing::At(at) => schedule::Timing::At(at),
            Timing::After(after) => schedule::Timing::After(after),
            Timing::Every(period) => schedule::Timing::Every(period.millis()),
            Timing::Cron(cron) => schedule::Timing::Cron(schedule::Cron {
                expression: cron.expression().into(),
                time_zone: cron.time_zone().into(),
            }),
        };
        let missed = match alarm.missed {
            Missed::RingOnce => schedule::Missed::RingOnce,
            Missed::Skip => schedule::Missed::Skip,
        };
        Self {
            alarm: schedule::Alarm { name: alarm.name, timing, payload: alarm.payload, missed },
            due: progress.rings,
            attempts: progress.attempts,
            failure: progress.failure,
        }
    }
}

impl From<AlarmError> for schedule::Error {
    fn from(error: AlarmError) -> Self {
        match error {
            AlarmError::Invalid(why) => Self::Invalid(why),
            AlarmError::TooMany => Self::TooMany,
            AlarmError::Storage(error) => Self::Storage(error.into()),
        }
    }
}
