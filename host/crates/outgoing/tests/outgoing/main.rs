//! The crate from outside, against real servers on this machine's loopback address.
//!
//! Each server is reached by an entry that names loopback itself, so nothing is switched off for the tests.

mod cassettes;
mod ending;
mod refusing;
mod secure;
mod sending;
mod server;
