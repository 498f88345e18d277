//! The environment that child processes start from, and what of it must not reach a cargo that builds guests.
//!
//! Promises: nothing here reads or changes the environment of this process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Environment variables, handed in by the caller: `std::env::vars_os().collect()`.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The value of a variable, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// What a cargo that builds guests may see.
    ///
    /// Under `cargo run`, `cargo test` or `cargo clippy` the host's own build leaks into children. Flags are the
    /// worst of it: a global `RUSTFLAGS` overrides every flag given for one target, the private sysroot's among
    /// them, and is meant for the host's processor anyway. So flags, wrappers, profiles, the job server and what
    /// cargo says about the package that is running are left out. `CARGO_HOME`, network settings, `RUSTUP_HOME` and
    /// `RUSTUP_TOOLCHAIN` stay: the toolchain that was chosen for the host also builds the guests, and the `CARGO`
    /// that came with it needs the same rustc.
    pub(crate) fn for_cargo(&self) -> Self {
        Self(self.0.iter().filter(|(name, _)| !hurts(name)).map(|(n, v)| (n.clone(), v.clone())).collect())
    }

    /// The same with one more variable.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Variables that hurt a guest's build, by name.
const HURTING: [&str; 24] = [
    "CARGO_CRATE_NAME",
    "CARGO_ENCODED_RUSTDOCFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_TMPDIR",
    "DEBUG",
    "HOST",
    "MAKEFLAGS",
    "MFLAGS",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "TARGET",
];

/// Families of variables that hurt, by how their names begin.
const HURTING_FAMILIES: [&str; 8] = [
    "CARGO_BIN_",
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "__CARGO_",
];

fn hurts(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    // How many jobs may run is about the machine, not about the host's build.
    name != "CARGO_BUILD_JOBS"
        && (HURTING.contains(&name) || HURTING_FAMILIES.iter().any(|family| name.starts_with(family)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hurting(name: &str) -> bool {
        hurts(OsStr::new(name))
    }

    #[test]
    fn what_the_hosts_build_leaks_is_left_out() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_MAKEFLAGS",
            "MAKEFLAGS",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO_TARGET_DIR",
            "CARGO_BIN_EXE_rookery",
            "CARGO_PROFILE_RELEASE_DEBUG",
        ] {
            assert!(hurting(name), "{name} would hurt");
        }
    }

    #[test]
    fn what_is_about_the_machine_or_the_person_stays() {
        for name in [
            "PATH",
            "HOME",
            "CARGO",
            "CARGO_HOME",
            "CARGO_BUILD_JOBS",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "RUSTUP_AUTO_INSTALL",
            "https_proxy",
        ] {
            assert!(!hurting(name), "{name} is wanted");
        }
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment: Environment = [("CARGO".into(), "".into())].into_iter().collect();
        assert_eq!(environment.get("CARGO"), None);
    }
}
