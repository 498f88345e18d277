//! What is tested across files.

mod cron;
