//! How far an alarm is: what is kept of it beside what was set, and how that changes.
//!
//! Promises: an attempt is counted before its run starts, so that a run that nobody saw end rings again with the next
//! attempt, and one that takes the host with it does so [`ATTEMPTS`] times at most; what fails does not stop what repeats.
//! Pure: whoever keeps alarms reads a `Progress`, asks it, and writes what comes back in the same transaction.

use crate::invalid::Invalid;
use crate::retry::{self, ATTEMPTS};
use crate::ringer::{Ringing, Rung};
use crate::timing::Timing;

/// How far an alarm is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The time that it rings for.
    pub due: u64,
    /// How often that has been tried, an attempt that is going on among them.
    pub attempts: u32,
    /// When it rings next: when it is due, or later where that was in vain. None where it has failed for good.
    pub rings: Option<u64>,
    /// Why its last run failed, where it did.
    pub failure: Option<String>,
}

/// What becomes of a time that passed while the host was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It rings once when the host is back.
    RingOnce,
    /// It is left out.
    Skip,
}

/// What is to be done with an alarm that does not ring at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing before this moment.
    Later(u64),
    /// Nothing at all: it has failed for good.
    Never,
    /// It rings: keep this, then start its run.
    Rings(Progress),
    /// It does not ring for this time, which was missed or tried in vain. Keep this and ask again; remove the alarm where
    /// there is none.
    Passes(Option<Progress>),
}

/// What becomes of an alarm whose ring has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It stays as it is: that ring was settled before.
    Unchanged,
    /// This is kept of it.
    Goes(Progress),
    /// It is removed: it has rung, and has no next time.
    Over,
}

impl Progress {
    /// An alarm that is set now.
    ///
    /// # Errors
    ///
    /// When it would never be due.
    pub fn set(timing: &Timing, now: u64) -> Result<Self, Invalid> {
        Ok(Self::due(timing.first(now)?, None))
    }

    /// What is to be done with an alarm that is not ringing, on a host that has been up since then.
    pub fn verdict(&self, timing: &Timing, missed: Missed, now: u64, up_since: u64) -> Verdict {
        match self.rings {
            None => Verdict::Never,
            Some(rings) if rings > now => Verdict::Later(rings),
            Some(rings) if self.attempts == 0 && missed == Missed::Skip && rings < up_since => {
                Verdict::Passes(self.repeated(timing, now))
            }
            Some(_) if self.attempts >= ATTEMPTS => {
                let failure = "the host does not know how its last attempt ended".to_owned();
                Verdict::Passes(Some(self.given_up(timing, now, failure)))
            }
            Some(_) => Verdict::Rings(Self { attempts: self.attempts + 1, ..self.clone() }),
        }
    }

    /// What becomes of an alarm whose ring has ended. What has become due since that ring began rings once more.
    pub fn settle(&self, timing: &Timing, ringing: &Ringing, rung: &Rung, now: u64) -> Settled {
        if (self.due, self.attempts) != (ringing.due, ringing.attempt) {
            return Settled::Unchanged;
        }
        match rung {
            Rung::Done => match self.repeated(timing, ringing.began) {
                Some(next) => Settled::Goes(Self { failure: None, ..next }),
                None => Settled::Over,
            },
            Rung::Failed(why) if self.attempts >= ATTEMPTS => {
                Settled::Goes(self.given_up(timing, ringing.began, why.clone()))
            }
            Rung::Failed(why) => Settled::Goes(Self {
                rings: Some(now.saturating_add(retry::wait(self.attempts))),
                failure: Some(why.clone()),
                ..self.clone()
            }),
            Rung::Refused(_) => {
                Settled::Goes(Self { attempts: self.attempts.saturating_sub(1), ..self.clone() })
            }
        }
    }

    fn due(due: u64, failure: Option<String>) -> Self {
        Self { due, attempts: 0, rings: Some(due), failure }
    }

    fn repeated(&self, timing: &Timing, now: u64) -> Option<Self> {
        timing.next(self.due, now).map(|due| Self::due(due, self.failure.clone()))
    }

    fn given_up(&self, timing: &Timing, now: u64, why: String) -> Self {
        let failed = Self { rings: None, failure: Some(why), ..self.clone() };
        failed.repeated(timing, now).unwrap_or(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::Period;

    const ONCE: Timing = Timing::At(10_000);

    fn every() -> Timing {
        Timing::Every(Period::new(1_000).unwrap())
    }

    fn progress(due: u64, attempts: u32, rings: u64) -> Progress {
        Progress { due, attempts, rings: Some(rings), failure: None }
    }

    fn failing(progress: Progress, why: &str) -> Progress {
        Progress { failure: Some(why.into()), ..progress }
    }

    #[test]
    fn an_alarm_is_judged_as_the_table_says() {
        use Missed::{RingOnce, Skip};
        let failed = Progress { rings: None, ..progress(10_000, 6, 0) };
        let lost = failing(failed.clone(), "the host does not know how its last attempt ended");
        let again = failing(progress(13_000, 0, 13_000), "the host does not know how its last attempt ended");
        // What is kept, its timing and wish, and now, on a host that is up since 11,000.
        for (kept, timing, missed, now, verdict) in [
            (progress(10_000, 0, 10_000), ONCE, RingOnce, 9_999, Verdict::Later(10_000)),
            (
                progress(10_000, 0, 10_000),
                ONCE,
                RingOnce,
                10_000,
                Verdict::Rings(progress(10_000, 1, 10_000)),
            ),
            (
                progress(10_000, 0, 10_000),
                ONCE,
                RingOnce,
                12_500,
                Verdict::Rings(progress(10_000, 1, 10_000)),
            ),
            (progress(10_000, 0, 10_000), ONCE, Skip, 12_500, Verdict::Passes(None)),
            (
                progress(10_000, 0, 10_000),
                every(),
                Skip,
                12_500,
                Verdict::Passes(Some(progress(13_000, 0, 13_000))),
            ),
            (
                progress(10_000, 0, 10_000),
                every(),
                RingOnce,
                12_500,
                Verdict::Rings(progress(10_000, 1, 10_000)),
            ),
            // Late while the host was up is not missed.
            (progress(11_000, 0, 11_000), ONCE, Skip, 12_500, Verdict::Rings(progress(11_000, 1, 11_000))),
            // Tried before the host went down is not missed either.
            (progress(10_000, 1, 10_000), ONCE, Skip, 12_500, Verdict::Rings(progress(10_000, 2, 10_000))),
            (progress(10_000, 2, 14_000), ONCE, RingOnce, 12_500, Verdict::Later(14_000)),
            (
                progress(10_000, 5, 10_000),
                ONCE,
                RingOnce,
                12_500,
                Verdict::Rings(progress(10_000, 6, 10_000)),
            ),
            (progress(10_000, 6, 10_000), ONCE, RingOnce, 12_500, Verdict::Passes(Some(lost))),
            (progress(10_000, 6, 10_000), every(), RingOnce, 12_500, Verdict::Passes(Some(again))),
            (failed, ONCE, RingOnce, 12_500, Verdict::Never),
        ] {
            assert_eq!(
                kept.verdict(&timing, missed, now, 11_000),
                verdict,
                "{kept:?} {timing:?} {missed:?} {now}"
            );
        }
    }

    #[test]
    fn a_ring_is_settled_as_the_table_says() {
        let (done, why) = (Rung::Done, || Rung::Failed("no model".into()));
        let refused = || Rung::Refused("full".into());
        let tried = |attempts| progress(10_000, attempts, 10_000);
        let failed = |progress| Settled::Goes(failing(progress, "no model"));
        // The ring began at 10,200 and ends at 12,500.
        for (kept, timing, rung, settled) in [
            (tried(1), ONCE, done.clone(), Settled::Over),
            (failing(tried(3), "no model"), ONCE, done.clone(), Settled::Over),
            // What is due since it began rings once.
            (tried(1), every(), done.clone(), Settled::Goes(progress(11_000, 0, 11_000))),
            (failing(tried(3), "no model"), every(), done, Settled::Goes(progress(11_000, 0, 11_000))),
            (tried(1), ONCE, why(), failed(progress(10_000, 1, 13_500))),
            (tried(5), every(), why(), failed(progress(10_000, 5, 28_500))),
            (tried(6), ONCE, why(), failed(Progress { rings: None, ..tried(6) })),
            (tried(6), every(), why(), failed(progress(11_000, 0, 11_000))),
            (tried(1), ONCE, refused(), Settled::Goes(tried(0))),
            (failing(tried(4), "no model"), every(), refused(), failed(tried(3))),
        ] {
            let ringing = ringing(kept.attempts);
            assert_eq!(
                kept.settle(&timing, &ringing, &rung, 12_500),
                settled,
                "{kept:?} {timing:?} {rung:?}"
            );
        }
    }

    #[test]
    fn a_ring_that_was_settled_is_not_settled_again() {
        for rung in [Rung::Done, Rung::Refused("full".into())] {
            let ringing = ringing(1);
            let Settled::Goes(settled) =
                progress(10_000, 1, 10_000).settle(&every(), &ringing, &rung, 12_500)
            else {
                panic!("it repeats")
            };
            assert_eq!(settled.settle(&every(), &ringing, &rung, 12_500), Settled::Unchanged);
        }
    }

    fn ringing(attempt: u32) -> Ringing {
        let (name, payload) = ("tea".into(), String::new());
        Ringing { name, version: 1, payload, due: 10_000, attempt, began: 10_200 }
    }
}
