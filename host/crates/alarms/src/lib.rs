//! When alarms ring.
//!
//! Knows nothing of where alarms are kept, of wasm or of HTTP.

mod cron;
mod days;
mod fields;
mod invalid;
#[cfg(test)]
mod tests;
mod timing;
mod zone;

pub use cron::{Cron, HORIZON_YEARS, LONGEST_EXPRESSION};
pub use invalid::Invalid;
pub use timing::{LATEST, Period, SHORTEST_PERIOD, Timing};
