//! Rookery's composition root and command line. The binary is [`command::main`]; tests start [`Host`]s of their own.

mod admin;
mod agents;
mod ask;
mod cassettes;
pub mod command;
mod dev;
mod host;
mod interrupts;
mod load;
mod lock;
mod metrics;
mod rings;
mod settings;
mod terminal;
mod usage;

pub use host::{Admin, CLOSE_AFTER, Config, Environment, Host, Keeping, StartError};
pub use load::{Loading, Refused};
pub use lock::LockError;
pub use settings::{Settings, SettingsError};
