//! How many deltas a core parses in a second.

fn main() {}
