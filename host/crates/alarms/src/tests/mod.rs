//! What is tested across files: the calendar against a reference, and the clock with alarms kept in memory, on a clock that
//! is turned by hand.

mod clock;
mod cron;
mod failing;
mod fake;
mod many;
mod random;
