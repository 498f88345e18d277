//! Why something could not be built, and what to do about it.
//!
//! The message has the thing and the attempt; [`Error::hint`] has the next step.

use std::io;
use std::path::{Path, PathBuf};

use crate::TARGET;

/// Why something could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to build.
    #[error("`{}` holds no guest project: neither it nor a folder directly in it has a Cargo.toml", .folder.display())]
    NoProject {
        /// Where projects were looked for.
        folder: PathBuf,
    },
    /// Cargo gave up. The message is short because the diagnostics were reported line by line already.
    #[error("guest project `{project}` did not build")]
    Build {
        /// The project's name.
        project: String,
        /// What cargo and rustc said, rendered for people, at most 64 KiB of it.
        diagnostics: String,
    },
    /// Cargo built everything, and no component was among it.
    #[error("guest project `{project}` was built, but no package of it made a component")]
    NoComponent {
        /// The project's name.
        project: String,
    },
    /// Two packages are called the same, and so would be what they make.
    #[error(
        "plugin `{plugin}` is made by two packages, in `{}` and in `{}`", .first.display(), .second.display()
    )]
    SameName {
        /// What both are called.
        plugin: String,
        /// The folder of the one that was built first.
        first: PathBuf,
        /// The folder of the other one.
        second: PathBuf,
    },
    /// No way of getting the target worked.
    #[error("the {TARGET} target of Rust {release} is missing, and no way to get it worked:{}", list(.tried))]
    NoTarget {
        /// The toolchain's release.
        release: String,
        /// One sentence for each way.
        tried: Vec<String>,
    },
    /// A program could not be started.
    #[error("could not run `{program}`: {source}")]
    Run {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A program ended badly.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// The program and its first argument.
        command: String,
        /// What it said about it.
        said: String,
    },
    /// A program's answer was not what it is known to be.
    #[error("`{command}` gave an answer that was not understood: {what}")]
    Answer {
        /// The program and its first argument.
        command: String,
        /// What is missing or wrong in it.
        what: String,
    },
    /// Debian's packages do not help this toolchain.
    #[error("Debian's packages: {}", .tried.join("; "))]
    NoPackages {
        /// One sentence for each mirror and suite.
        tried: Vec<String>,
    },
    /// A file or folder could not be used.
    #[error("could not {attempt} `{}`: {source}", .path.display())]
    File {
        /// What was attempted, as a verb.
        attempt: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoProject { .. } => {
                Some("name a folder with a Cargo.toml, or a folder of such folders".into())
            }
            Self::Build { .. } => Some("mend what the compiler reported, then build again".into()),
            Self::NoComponent { .. } => {
                Some("set `crate-type = [\"cdylib\"]` in [lib] of its Cargo.toml".into())
            }
            Self::SameName { .. } => Some(
                "give one of them another `name` in [package] of its Cargo.toml, and its sidecar with it"
                    .into(),
            ),
            Self::NoTarget { release, .. } => Some(format!(
                "run `rustup target add {TARGET}`; or, on Debian without rustup, have `rust-src` {release} and \
                 `wasi-libc` installed or within reach of apt, and std is built from them"
            )),
            Self::Run { program, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("install `{program}`, or add its folder to PATH"))
            }
            Self::Run { .. }
            | Self::Failed { .. }
            | Self::Answer { .. }
            | Self::NoPackages { .. }
            | Self::File { .. } => None,
        }
    }

    /// For `map_err` on a file operation: `fs::read(path).map_err(Error::file("read", path))`.
    pub(crate) fn file(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { attempt, path: path.to_owned(), source }
    }
}

fn list(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("\n  - {sentence}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_target_names_what_was_tried_and_both_ways_out() {
        let error = Error::NoTarget {
            release: "1.95.0".into(),
            tried: vec!["rustup: not asked".into(), "std: no `rust-src`".into()],
        };
        assert_eq!(
            error.to_string(),
            "the wasm32-wasip2 target of Rust 1.95.0 is missing, and no way to get it worked:\n  \
             - rustup: not asked\n  - std: no `rust-src`"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("rustup target add wasm32-wasip2"), "{hint}");
        assert!(hint.contains("`rust-src` 1.95.0") && hint.contains("apt"), "{hint}");
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let error = Error::Run { program: "cargo".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(error.hint().unwrap(), "install `cargo`, or add its folder to PATH");
    }

    #[test]
    fn a_failed_build_names_the_project_and_keeps_the_diagnostics_apart() {
        let error = Error::Build { project: "chat".into(), diagnostics: "error[E0308]".into() };
        assert_eq!(error.to_string(), "guest project `chat` did not build");
    }
}
