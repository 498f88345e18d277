//! What rustc says about itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{command, output};
use crate::{Environment, Error, TARGET};

/// The toolchain that builds what is in a folder. (With rustup, a folder can choose its own.)
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// `1.95.0`.
    pub(crate) release: String,
    /// The commit it was built from; empty if its packager did not say.
    pub(crate) commit: String,
    /// Its root folder.
    pub(crate) sysroot: PathBuf,
    /// Where the target's libraries are, if it has them.
    target_libdir: PathBuf,
}

impl Toolchain {
    pub(crate) fn of(folder: &Path, environment: &Environment) -> Result<Self, Error> {
        let version = rustc(folder, environment, &["-vV"])?;
        let folders =
            rustc(folder, environment, &["--print=sysroot", "--print=target-libdir", "--target", TARGET])?;
        let mut folders = folders.lines().map(PathBuf::from);
        Ok(Self {
            release: field(&version, "release").ok_or_else(|| unclear("no release"))?,
            commit: field(&version, "commit-hash").filter(|hash| hash != "unknown").unwrap_or_default(),
            sysroot: folders.next().ok_or_else(|| unclear("no sysroot"))?,
            target_libdir: folders.next().ok_or_else(|| unclear("no target-libdir"))?,
        })
    }

    /// Whether the target needs no getting.
    pub(crate) fn has_target(&self) -> bool {
        has_std(&self.target_libdir)
    }

    /// Names the toolchain in a file name, so that each gets the std that belongs to it.
    pub(crate) fn key(&self) -> String {
        let commit = self.commit.get(..12).unwrap_or("unknown");
        format!("{}-{commit}", self.release)
    }
}

/// Whether a folder of libraries has a std in it.
pub(crate) fn has_std(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn rustc(folder: &Path, environment: &Environment, arguments: &[&str]) -> Result<String, Error> {
    output(command("rustc", folder, &environment.for_cargo()).args(arguments))
}

fn field(version: &str, name: &str) -> Option<String> {
    let value = version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.map(|value| value.trim().to_owned())
}

fn unclear(what: &str) -> Error {
    Error::Answer { command: "rustc".into(), what: format!("there is {what} in it") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
                           commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\nrelease: 1.95.0\n";

    fn toolchain(commit: &str) -> Toolchain {
        let (release, commit) = ("1.95.0".into(), commit.into());
        Toolchain { release, commit, sysroot: PathBuf::new(), target_libdir: PathBuf::new() }
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!(field(VERSION, "release").as_deref(), Some("1.95.0"));
        assert_eq!(field(VERSION, "LLVM version"), None);
    }

    #[test]
    fn the_key_has_release_and_commit() {
        assert_eq!(toolchain("59807616e1fa2540724bfbac14d7976d7e4a3860").key(), "1.95.0-59807616e1fa");
        assert_eq!(toolchain("").key(), "1.95.0-unknown");
    }

    #[test]
    fn a_std_is_a_libstd_rlib() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libstd-1.rmeta"), "").unwrap();
        assert!(!has_std(folder.path()) && !has_std(&folder.path().join("nowhere")));
        fs::write(folder.path().join("libstd-1.rlib"), "").unwrap();
        assert!(has_std(folder.path()));
    }
}
