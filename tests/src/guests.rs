//! The guests that tests serve, built once into one folder for all profiles.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rookery_builder::{Builder, Environment, Project, Settings, Step};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The folder with all components: the examples and the badly behaved ones. The first call builds them.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build)
}

fn build() -> PathBuf {
    let environment: Environment = std::env::vars_os().collect();
    let out = target().join("guests");
    let settings = Settings {
        out: out.clone(),
        target_dir: target().join("guest-build"),
        cache: rookery_builder::default_cache(&environment, &target()),
        environment,
    };
    let builder = Builder::new(settings, say);
    for folder in ["guest-examples", "tests/guests"] {
        for project in Project::all_in(&root().join(folder)).unwrap() {
            builder.build(&project).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    out
}

#[allow(clippy::print_stderr, reason = "the test runner's own place for what takes long")]
fn say(step: Step) {
    if !matches!(step, Step::Compiling { .. } | Step::Cargo { .. } | Step::Built { .. }) {
        eprintln!("{step}");
    }
}

/// One component's file.
pub fn component(name: &str) -> PathBuf {
    folder().join(format!("{name}.wasm"))
}
