//! A client of a host: prompts, follows and cancels runs; a stream that breaks is taken up where it broke.
//!
//! A [`Client`] knows one host. [`Client::prompt`] and [`Client::follow`] give a [`Run`], and [`Run::next`] one
//! [`Update`] after the other.
//!
//! Promises: each event of a run comes exactly once and in order, however often the link breaks. A prompt is sent
//! once: what became of it is never guessed, and an error says whether the host can have accepted it.
//! Bounded by: [`Settings`]; a link on which nothing comes counts as broken, and a host that stays away is given up.
//! Ends when: the run has its outcome. Dropping a [`Run`] detaches from it; the run goes on.

mod admin;
mod age;
mod backoff;
mod base;
mod client;
mod error;
mod feed;
mod follow;
mod page;
mod state;
mod update;

pub use admin::{Admin, Agent, AgentPages, ExportError};
pub use age::age;
pub use base::{Base, BaseError};
pub use client::{Client, Settings};
pub use error::{Broken, ClientError, Problem};
pub use follow::Run;
pub use rookery_core::{StateName, StateNameError};
pub use state::{Pages, Query, State};
pub use update::Update;
