//! When alarms ring, and that they do.
//!
//! Promises: see [`Clock`] for when and how often an alarm rings, [`Timing`] for what its times are, and [`Progress`] for
//! what becomes of it after a run.
//! Knows nothing of where alarms are kept, of wasm or of HTTP: they are kept by what is [`Kept`], and rung by a [`Ringer`].

mod book;
mod clock;
mod cron;
mod days;
mod fields;
mod invalid;
mod kept;
mod pause;
mod progress;
mod retry;
mod ringer;
#[cfg(test)]
mod tests;
mod timing;
mod turn;
mod zone;

pub use book::{LOOK_AGAIN, Limits};
pub use clock::{Clock, WallClock, Works, system_clock};
pub use cron::{Cron, HORIZON_YEARS, LONGEST_EXPRESSION};
pub use invalid::Invalid;
pub use kept::{Begun, Kept, KeptError, Moment, Stays};
pub use progress::{Missed, Progress, Settled, Verdict};
pub use retry::ATTEMPTS;
pub use ringer::{Ringer, Ringing, Rung};
pub use timing::{LATEST, Period, SHORTEST_PERIOD, Timing};
