//! Where the wasm target comes from, with a toolchain that only pretends to be one.
#![expect(clippy::unwrap_used, reason = "the helpers here are parts of tests, which clippy cannot see")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rookery_builder::{Builder, Environment, Error, Project, Settings, Step, Target};

/// A project, and a toolchain whose sysroot is the same folder.
struct Bench {
    folder: tempfile::TempDir,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        fs::create_dir(folder.path().join("lib")).unwrap();
        Self { folder, steps: Arc::default() }
    }

    /// Asks for the target with only the pretended programs to be found.
    fn target(&self, variable: (&str, &str)) -> Result<Target, Error> {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-toolchain");
        let environment = Environment::default()
            .with("PATH", programs)
            .with("FAKE_SYSROOT", self.folder.path())
            .with(variable.0, variable.1);
        let settings = Settings {
            out: self.folder.path().join("out"),
            target_dir: self.folder.path().join("target"),
            cache: self.folder.path().join("cache"),
            environment,
        };
        let steps = Arc::clone(&self.steps);
        let builder = Builder::new(settings, move |step| steps.lock().unwrap().push(step));
        builder.target(&Project::all_in(self.folder.path()).unwrap()[0])
    }

    fn rustup_was_asked(&self) -> Option<String> {
        fs::read_to_string(self.folder.path().join("asked")).ok()
    }
}

#[test]
fn a_toolchain_that_has_the_target_is_left_as_it_is() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("lib/libstd-0.rlib"), "").unwrap();

    assert_eq!(bench.target(("RUSTUP_AUTO_INSTALL", "1")).unwrap(), Target::Installed);
    assert_eq!(bench.rustup_was_asked(), None);
}

#[test]
fn rustup_adds_the_target_where_it_may() {
    let bench = Bench::new();

    assert_eq!(bench.target(("RUSTUP_AUTO_INSTALL", "1")).unwrap(), Target::Installed);
    assert_eq!(bench.rustup_was_asked().unwrap(), "target add wasm32-wasip2\n");
    let expected = [Step::AddingTarget, Step::TargetReady { target: Target::Installed }];
    assert_eq!(*bench.steps.lock().unwrap(), expected);
}

#[test]
fn where_rustup_may_not_and_nothing_else_can_the_error_names_both_ways() {
    let bench = Bench::new();
    let error = bench.target(("RUSTUP_AUTO_INSTALL", "0")).unwrap_err();

    assert_eq!(bench.rustup_was_asked(), None);
    let message = error.to_string();
    assert!(message.contains("wasm32-wasip2 target of Rust 9.9.9 is missing"), "{message}");
    assert!(message.contains("rustup: RUSTUP_AUTO_INSTALL=0"), "{message}");
    assert!(message.contains("building std: could not run `apt-config`"), "{message}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("rustup target add wasm32-wasip2") && hint.contains("`rust-src` 9.9.9"), "{hint}");
    let left: Vec<_> =
        fs::read_dir(bench.folder.path().join("cache")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left.len(), 1, "nothing but the lock is left: {left:?}");
}

#[test]
fn a_sysroot_in_the_environments_flags_is_used_without_asking_anyone() {
    let bench = Bench::new();
    let flags = ("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", "--sysroot=/there");

    assert_eq!(bench.target(flags).unwrap(), Target::Given);
    assert_eq!(bench.rustup_was_asked(), None);
}
