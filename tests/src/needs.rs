//! What some tests need and not every machine has.

use std::io::Write;
use std::path::PathBuf;

/// The file of a program in PATH, under the first of these names that is there in the first folder that has one.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|file| file.is_file())
}

/// Says that a test is not run, and why. Where `CI` is set it fails instead: there nobody would read it.
pub(crate) fn missing(test: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    // Past the test runner, which shows what is printed only of tests that fail.
    let _ = writeln!(std::io::stderr(), "{test} was not run: {why}");
}
