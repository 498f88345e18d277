//! Getting the wasm target: from the toolchain, by rustup, or by building std into a private sysroot.
//!
//! Promises: the ways are tried in that order, and the one that is used is said.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::command::{command, output};
use crate::toolchain::Toolchain;
use crate::{Environment, Error, Report, Settings, Step, TARGET, sysroot};

/// The flags that cargo takes for this target alone.
const TARGET_FLAGS: &str = "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS";

/// Where the wasm target comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The toolchain has it.
    Installed,
    /// The environment's own flags for the target name a sysroot.
    Given,
    /// std was built into this sysroot.
    Private(PathBuf),
}

impl Target {
    /// What cargo has to be told so that guests, and only they, are compiled against this std.
    ///
    /// An argument, not `CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS`: the variable is split at spaces, so it cannot name
    /// every folder, and setting it would hide what the environment says there; this adds to it.
    pub(crate) fn cargo_arguments(&self) -> Vec<String> {
        let Self::Private(folder) = self else { return Vec::new() };
        // Rust's string escapes inside the quotes are not TOML's; JSON's are.
        let flag = serde_json::Value::from(format!("--sysroot={}", folder.display()));
        vec!["--config".into(), format!("target.{TARGET}.rustflags=[{flag}]")]
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed => write!(f, "of the toolchain"),
            Self::Given => write!(f, "that {TARGET_FLAGS} names"),
            Self::Private(folder) => write!(f, "built into {}", folder.display()),
        }
    }
}

/// The target for what is built in `folder`.
pub(crate) fn get(folder: &Path, settings: &Settings, report: &Report) -> Result<Target, Error> {
    let environment = &settings.environment;
    if names_a_sysroot(environment) {
        return Ok(Target::Given);
    }
    let toolchain = Toolchain::of(folder, environment)?;
    if toolchain.has_target() {
        return Ok(Target::Installed);
    }
    let no_rustup = match by_rustup(folder, environment, report) {
        Ok(()) => return Ok(Target::Installed),
        Err(why) => why,
    };
    report(Step::PassedOver { way: "rustup", why: no_rustup.clone() });
    match sysroot::get(&toolchain, settings, report) {
        Ok(sysroot) => Ok(Target::Private(sysroot)),
        Err(why) => Err(Error::NoTarget {
            release: toolchain.release,
            tried: vec![format!("rustup: {no_rustup}"), format!("building std: {why}")],
        }),
    }
}

fn names_a_sysroot(environment: &Environment) -> bool {
    environment.get(TARGET_FLAGS).is_some_and(|flags| flags.to_string_lossy().contains("--sysroot"))
}

/// Adds the target with rustup, or says why not.
fn by_rustup(folder: &Path, environment: &Environment, report: &Report) -> Result<(), String> {
    if !may_use_rustup(environment) {
        return Err("RUSTUP_AUTO_INSTALL=0 says that it may install nothing by itself".into());
    }
    report(Step::AddingTarget);
    output(command("rustup", folder, environment).args(["target", "add", TARGET]))
        .map_err(|error| error.to_string())?;
    let toolchain = Toolchain::of(folder, environment).map_err(|error| error.to_string())?;
    if toolchain.has_target() { Ok(()) } else { Err("it added the target to another toolchain".into()) }
}

/// `RUSTUP_AUTO_INSTALL=0` is rustup's own switch against installing what nobody asked for in so many words.
fn may_use_rustup(environment: &Environment) -> bool {
    environment.get("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, value: &str) -> Environment {
        Environment::default().with(name, value)
    }

    #[test]
    fn only_a_private_sysroot_needs_arguments_and_spaces_in_it_are_kept() {
        assert!(Target::Installed.cargo_arguments().is_empty());
        assert!(Target::Given.cargo_arguments().is_empty());
        assert_eq!(
            Target::Private("/my cache/\"std\"".into()).cargo_arguments(),
            ["--config", r#"target.wasm32-wasip2.rustflags=["--sysroot=/my cache/\"std\""]"#]
        );
    }

    #[test]
    fn a_sysroot_in_the_environments_flags_is_taken_as_it_is() {
        assert!(names_a_sysroot(&environment(TARGET_FLAGS, "-Cfoo --sysroot=/there")));
        assert!(!names_a_sysroot(&environment(TARGET_FLAGS, "-Cfoo")));
        assert!(!names_a_sysroot(&Environment::default()));
    }

    #[test]
    fn rustups_own_switch_is_obeyed() {
        assert!(!may_use_rustup(&environment("RUSTUP_AUTO_INSTALL", "0")));
        assert!(may_use_rustup(&environment("RUSTUP_AUTO_INSTALL", "1")));
        assert!(may_use_rustup(&Environment::default()));
    }

    #[test]
    fn a_rustup_that_fails_is_passed_over_with_its_reason() {
        let nowhere = environment("PATH", "/nowhere");
        let why = by_rustup(Path::new("/"), &nowhere, &|_| ()).unwrap_err();
        assert!(why.starts_with("could not run `rustup`"), "{why}");
    }
}
