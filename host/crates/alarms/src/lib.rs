//! When alarms ring.
//!
//! Promises: see [`Timing`] for what an alarm's times are, and [`Progress`] for what becomes of it after a run.
//! Knows nothing of where alarms are kept, of wasm or of HTTP: they are rung by a [`Ringer`].

mod cron;
mod days;
mod fields;
mod invalid;
mod progress;
mod retry;
mod ringer;
#[cfg(test)]
mod tests;
mod timing;
mod zone;

pub use cron::{Cron, HORIZON_YEARS, LONGEST_EXPRESSION};
pub use invalid::Invalid;
pub use progress::{Missed, Progress, Settled, Verdict};
pub use retry::ATTEMPTS;
pub use ringer::{Ringer, Ringing, Rung};
pub use timing::{LATEST, Period, SHORTEST_PERIOD, Timing};
