//! Builds guest projects into a folder of components, getting the `wasm32-wasip2` target first if it is missing.
//!
//! Promises: a component and its `<plugin>.toml` are replaced whole or not at all, and only when they differ; the
//! toolchain changes only by `rustup target add`, and not even so where `RUSTUP_AUTO_INSTALL=0`; every step is
//! reported before it begins.
//! Costs: where rustup may not be used, std is built once per toolchain, which takes about a minute.
//! Blocks: every call waits for child processes, so async callers use a blocking thread.
//!
//! ```no_run
//! use rookery_builder::{Builder, Project, Settings};
//!
//! # fn main() -> Result<(), rookery_builder::Error> {
//! let builder = Builder::new(
//!     Settings {
//!         out: "target/guests".into(),
//!         target_dir: "target/guest-build".into(),
//!         cache: "target/wasm-sysroot".into(),
//!         environment: std::env::vars_os().collect(),
//!     },
//!     |step| eprintln!("{step}"),
//! );
//! for project in Project::all_in("guest-examples".as_ref())? {
//!     builder.build(&project)?;
//! }
//! # Ok(()) }
//! ```

mod apt_sources;
mod cargo;
mod command;
mod component;
mod debian;
mod environment;
mod error;
mod makers;
mod project;
mod step;
mod sysroot;
mod target;
mod toolchain;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use component::Component;
pub use environment::Environment;
pub use error::Error;
pub use project::Project;
pub use step::Step;
pub use target::Target;

use makers::Makers;

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// Who is told about each [`Step`].
pub(crate) type Report = dyn Fn(Step) + Send + Sync;

/// Where a [`Builder`] puts things, and the environment its child processes start from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the components go. Other files in this folder are left alone.
    pub out: PathBuf,
    /// Cargo's target folder for guests, kept apart from the host's so that the two never wait for each other.
    pub target_dir: PathBuf,
    /// Where a private sysroot is kept; [`default_cache`] finds the usual place.
    pub cache: PathBuf,
    /// Usually `std::env::vars_os().collect()`. Its `CARGO` says which cargo to run, as cargo itself sets it for
    /// what it runs; `RUSTUP_AUTO_INSTALL=0` keeps rustup from being asked for the target.
    pub environment: Environment,
}

/// Builds guest projects, one after another or from several threads.
pub struct Builder {
    settings: Settings,
    report: Box<Report>,
    /// Where the target of each project's toolchain comes from, so that rebuilding after each change of a source
    /// file does not ask rustc again.
    targets: Mutex<HashMap<PathBuf, Target>>,
    makers: Makers,
}

impl Builder {
    /// A builder that tells `report` what it is doing. Nothing is run or written yet.
    pub fn new(settings: Settings, report: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self { settings, report: Box::new(report), targets: Mutex::default(), makers: Makers::default() }
    }

    /// Builds `project` in release and copies each component, with its sidecar, to the `out` folder.
    ///
    /// A project that is the root of a cargo workspace is built whole by one cargo; a member is built alone.
    /// A component is called after its package (`chat` makes `chat.wasm`), and the sidecar is `chat.toml` in that
    /// package's folder. An out folder's `chat.toml` whose original is gone is removed.
    ///
    /// # Errors
    ///
    /// Any of [`Error`]. Where it is [`Error::SameName`] the `out` folder is as it was.
    pub fn build(&self, project: &Project) -> Result<Vec<Component>, Error> {
        let target = self.target(project)?;
        (self.report)(Step::Building { project: project.name() });
        let artifacts = cargo::build(project, &target, &self.settings, &self.report)?;
        self.makers.make(&artifacts)?;
        let components = component::deliver(&artifacts, &self.settings.out)?;
        for component in &components {
            (self.report)(Step::Built { component: component.clone() });
        }
        Ok(components)
    }

    /// Makes sure that `project` has the wasm target, which [`Builder::build`] does by itself, and says where it
    /// comes from.
    pub fn target(&self, project: &Project) -> Result<Target, Error> {
        if let Some(target) = self.known_targets().get(project.folder()) {
            return Ok(target.clone());
        }
        let target = target::get(project.folder(), &self.settings, &self.report)?;
        (self.report)(Step::TargetReady { target: target.clone() });
        self.known_targets().insert(project.folder().to_owned(), target.clone());
        Ok(target)
    }

    fn known_targets(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder for private sysroots in a workspace: `wasm-sysroot` in `CARGO_TARGET_DIR` if that is set, else in
/// `target_dir`, so that everything which builds guests on one machine shares one std.
pub fn default_cache(environment: &Environment, target_dir: &Path) -> PathBuf {
    environment.get("CARGO_TARGET_DIR").map_or(target_dir, Path::new).join("wasm-sysroot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_in_cargos_target_folder_or_in_the_given_one() {
        let plain = Environment::default();
        assert_eq!(default_cache(&plain, Path::new("/w/target")), Path::new("/w/target/wasm-sysroot"));

        let set: Environment = [("CARGO_TARGET_DIR".into(), "/elsewhere".into())].into_iter().collect();
        assert_eq!(default_cache(&set, Path::new("/w/target")), Path::new("/elsewhere/wasm-sysroot"));
    }
}
