//! A plugin's models against providers that are played, on a paused clock.

mod ending;
mod fake;
mod reading;
mod trying;
