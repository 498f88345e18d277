//! Running cargo and reading what it says.
//!
//! Promises: what a person would see of a build is reported as it comes; what was made is taken from cargo's own
//! messages, never guessed from file names.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::command::{Line, command, describe, follow};
use crate::{Environment, Error, Project, Report, Settings, Step, TARGET, Target};

/// What the diagnostics of a failed build may take. The first error is the one to mend, so the beginning is kept.
const DIAGNOSTICS_BYTES: usize = 64 * 1024;

/// A component as cargo left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// The package's name.
    pub(crate) package: String,
    /// The folder of the package's Cargo.toml.
    pub(crate) folder: PathBuf,
    /// The `.wasm` file in cargo's target folder.
    pub(crate) file: PathBuf,
}

/// Builds a project and gives the components of its own packages.
pub(crate) fn build(
    project: &Project,
    target: &Target,
    settings: &Settings,
    report: &Report,
) -> Result<Vec<Artifact>, Error> {
    let workspace = Workspace::of(project, &settings.environment, report)?;
    let mut artifacts = Vec::new();
    let mut command = build_command(project, &workspace, target, settings)?;
    let ended = run(&mut command, report, |message| artifacts.extend(artifact(message, &workspace)))?;
    match ended {
        Ended::Badly { diagnostics } => Err(Error::Build { project: project.name(), diagnostics }),
        Ended::Well if artifacts.is_empty() => Err(Error::NoComponent { project: project.name() }),
        Ended::Well => Ok(artifacts),
    }
}

/// The cargo to run: the one that runs this process, if one does, else the one in PATH.
pub(crate) fn cargo(folder: &Path, environment: &Environment) -> Command {
    command(environment.get("CARGO").unwrap_or("cargo".as_ref()), folder, &environment.for_cargo())
}

/// How a cargo ended.
pub(crate) enum Ended {
    Well,
    Badly { diagnostics: String },
}

/// Runs cargo to its end: progress and diagnostics are reported, its JSON messages passed on.
pub(crate) fn run(
    command: &mut Command,
    report: &Report,
    mut message: impl FnMut(&str),
) -> Result<Ended, Error> {
    let mut diagnostics = String::new();
    let status = follow(command, |line| match line {
        Line::Out(line) => message(&line),
        Line::Err(line) => match progress(&line) {
            Some(step) => report(step),
            None => {
                keep(&mut diagnostics, &line);
                report(Step::Diagnostic { line });
            }
        },
    })?;
    Ok(if status.success() { Ended::Well } else { Ended::Badly { diagnostics } })
}

fn build_command(
    project: &Project,
    workspace: &Workspace,
    target: &Target,
    settings: &Settings,
) -> Result<Command, Error> {
    // Cargo runs in the project's folder, so a path relative to ours would lead elsewhere.
    let target_dir =
        std::path::absolute(&settings.target_dir).map_err(Error::file("find", &settings.target_dir))?;
    let mut command = cargo(project.folder(), &settings.environment);
    command.args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    command.args(["--color", "never", "--target-dir"]).arg(target_dir);
    if workspace.root == project.folder() {
        command.arg("--workspace");
    }
    command.args(target.cargo_arguments());
    Ok(command)
}

/// Cargo indents its progress so that the verb ends at column twelve; everything else is for people to read.
fn progress(line: &str) -> Option<Step> {
    let (verb, rest) = line.split_at_checked(12)?;
    let (verb, rest) = (verb.trim_start(), rest.strip_prefix(' ')?);
    if verb.is_empty() || !verb.starts_with(char::is_uppercase) || !verb.chars().all(char::is_alphabetic) {
        return None;
    }
    Some(match verb {
        "Compiling" => {
            // The folder in brackets after a local package's version says nothing new.
            Step::Compiling { krate: rest.split(" (").next().unwrap_or(rest).to_owned() }
        }
        _ => Step::Cargo { what: format!("{verb} {rest}") },
    })
}

fn keep(diagnostics: &mut String, line: &str) {
    if diagnostics.len() + line.len() < DIAGNOSTICS_BYTES {
        diagnostics.push_str(line);
        diagnostics.push('\n');
    }
}

/// The component that a message of cargo's is about, if it is about one of the workspace's own packages.
fn artifact(message: &str, workspace: &Workspace) -> Option<Artifact> {
    let message: Message = serde_json::from_str(message).ok()?;
    if message.reason != "compiler-artifact"
        || !message.target?.crate_types.iter().any(|kind| kind == "cdylib")
    {
        return None;
    }
    let package = workspace.packages.iter().find(|package| package.id == message.package_id)?;
    let file =
        message.filenames.into_iter().find(|file| file.extension().is_some_and(|kind| kind == "wasm"))?;
    let folder = package.manifest_path.parent()?.to_owned();
    Some(Artifact { package: package.name.clone(), folder, file })
}

/// The part of cargo's messages that is read here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    target: Option<MessageTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    crate_types: Vec<String>,
}

/// The workspace that a project is, or is in.
#[derive(Deserialize)]
struct Workspace {
    #[serde(rename = "workspace_root")]
    root: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
}

impl Workspace {
    fn of(project: &Project, environment: &Environment, report: &Report) -> Result<Self, Error> {
        let mut command = cargo(project.folder(), environment);
        command.args(["metadata", "--no-deps", "--format-version=1", "--color=never"]);
        let mut answer = String::new();
        if let Ended::Badly { diagnostics } = run(&mut command, report, |line| answer.push_str(line))? {
            // A manifest that cargo cannot read is a project that does not build.
            return Err(Error::Build { project: project.name(), diagnostics });
        }
        serde_json::from_str(&answer)
            .map_err(|error| Error::Answer { command: describe(&command), what: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        serde_json::from_str(
            r#"{"workspace_root": "/g", "packages": [
                {"id": "path+file:///g/chat#my-chat@0.1.0", "name": "my-chat", "manifest_path": "/g/chat/Cargo.toml"}
            ]}"#,
        )
        .unwrap()
    }

    fn message(id: &str, kind: &str, file: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"{id}","manifest_path":"/g/chat/Cargo.toml",
                "target":{{"kind":["{kind}"],"crate_types":["{kind}"],"name":"my_chat"}},"filenames":["{file}"]}}"#
        )
    }

    #[test]
    fn a_cdylib_of_the_workspace_is_a_component_called_after_its_package() {
        let message = message("path+file:///g/chat#my-chat@0.1.0", "cdylib", "/t/my_chat.wasm");
        let expected =
            Artifact { package: "my-chat".into(), folder: "/g/chat".into(), file: "/t/my_chat.wasm".into() };
        assert_eq!(artifact(&message, &workspace()), Some(expected));
    }

    #[test]
    fn libraries_dependencies_and_other_messages_are_not_components() {
        let ours = "path+file:///g/chat#my-chat@0.1.0";
        for message in [
            message(ours, "lib", "/t/libmy_chat.rlib"),
            message(ours, "cdylib", "/t/my_chat.so"),
            message("registry+x#other@1.0.0", "cdylib", "/t/other.wasm"),
            r#"{"reason":"build-finished","success":true}"#.into(),
            r#"{"reason":"build-script-executed","package_id":"x","out_dir":"/o"}"#.into(),
            "not json".into(),
        ] {
            assert_eq!(artifact(&message, &workspace()), None, "{message}");
        }
    }

    #[test]
    fn progress_is_told_from_diagnostics() {
        let compiling = Step::Compiling { krate: "chat v0.1.0".into() };
        assert_eq!(progress("   Compiling chat v0.1.0 (/g/chat)"), Some(compiling));
        let downloading = Step::Cargo { what: "Downloading crates ...".into() };
        assert_eq!(progress(" Downloading crates ..."), Some(downloading));

        for diagnostic in [
            "error[E0308]: mismatched types",
            "  --> src/lib.rs:1:1",
            "12 |     let Compiling = 1;",
            "            ^ expected",
            "warning: unused variable: `x`",
            "Caused by:",
            "",
        ] {
            assert_eq!(progress(diagnostic), None, "{diagnostic}");
        }
    }

    #[test]
    fn diagnostics_are_kept_up_to_their_bound() {
        let mut diagnostics = String::new();
        for _ in 0..10_000 {
            keep(&mut diagnostics, "error: the same again");
        }
        assert!(diagnostics.starts_with("error:") && diagnostics.len() <= DIAGNOSTICS_BYTES);
    }
}
