//! What a builder is doing, as a value and as a plain sentence.

use std::fmt;

use crate::{Component, TARGET, Target};

/// One step, reported before it begins (or, for `TargetReady` and `Built`, when it is done).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// `rustup target add` runs.
    AddingTarget,
    /// A way of getting the target is not taken, or did not work; the next one follows.
    PassedOver {
        /// The way: a program or a source.
        way: &'static str,
        /// Why it was not taken.
        why: String,
    },
    /// Another process builds std into the same cache; its result will be used.
    WaitingForOther,
    /// A Debian mirror is asked what it has.
    AskingMirror {
        /// The mirror's address, from the machine's own configuration.
        mirror: String,
        /// The suite.
        suite: &'static str,
    },
    /// Packages are downloaded and unpacked into a folder of our own; nothing is installed.
    Downloading {
        /// `name=version` of each.
        packages: Vec<String>,
    },
    /// std is built from source.
    BuildingStd {
        /// The toolchain's release.
        release: String,
    },
    /// The target is there.
    TargetReady {
        /// Where it comes from.
        target: Target,
    },
    /// Cargo builds a project.
    Building {
        /// The project's name.
        project: String,
    },
    /// Cargo compiles a crate, of a guest or of std.
    Compiling {
        /// Name and version.
        krate: String,
    },
    /// Cargo does something else that may take a while, such as downloading.
    Cargo {
        /// In cargo's words.
        what: String,
    },
    /// One line of what the compiler has to say about a guest.
    Diagnostic {
        /// The line, as rendered.
        line: String,
    },
    /// A component is in the `out` folder.
    Built {
        /// Which one.
        component: Component,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddingTarget => write!(f, "adding the {TARGET} target with rustup"),
            Self::PassedOver { way, why } => write!(f, "not with {way}: {why}"),
            Self::WaitingForOther => write!(f, "waiting for another process that builds std for {TARGET}"),
            Self::AskingMirror { mirror, suite } => write!(f, "asking {mirror} for std's source in {suite}"),
            Self::Downloading { packages } => write!(f, "downloading {}", packages.join(" and ")),
            Self::BuildingStd { release } => {
                write!(
                    f,
                    "building std of Rust {release} for {TARGET}, which is done once and takes about a minute"
                )
            }
            Self::TargetReady { target } => write!(f, "using the {TARGET} target {target}"),
            Self::Building { project } => write!(f, "building guest project `{project}`"),
            Self::Compiling { krate } => write!(f, "compiling {krate}"),
            Self::Cargo { what } => write!(f, "cargo: {what}"),
            Self::Diagnostic { line } => f.write_str(line),
            Self::Built { component } => {
                let how = if component.changed { "built" } else { "nothing new in" };
                write!(f, "{how} `{}` ({})", component.plugin, component.file.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reads_as_a_sentence() {
        let step = Step::BuildingStd { release: "1.95.0".into() };
        assert_eq!(
            step.to_string(),
            "building std of Rust 1.95.0 for wasm32-wasip2, which is done once and takes about a minute"
        );
        let step = Step::TargetReady { target: Target::Private("/cache/std".into()) };
        assert_eq!(step.to_string(), "using the wasm32-wasip2 target built into /cache/std");
    }
}
