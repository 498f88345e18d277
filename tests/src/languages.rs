//! Guests in other languages than Rust, built into the folder of the others.
//!
//! Promises: everything is installed into cargo's target folder, of the versions that the examples name, and only npm's and
//! pip's own caches are touched besides; where a guest's source, its tool's version, the contract and this file are as they
//! were, nothing is run at all.
//! Bounded by: `PATIENCE` for each program. Another test process that is building is waited for, and so bounded as well.
//! Costs: half a minute the first time, and forty megabytes to download for each language.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::{guests, needs};

/// How long one program may take. Installing and building take ten seconds each, and several times that beside other tests.
const PATIENCE: Duration = Duration::from_secs(300);

/// A language that guests are written in.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    /// With componentize-qjs: `calculator-js`, `loop-js` and `fetch-js`.
    JavaScript,
    /// With componentize-py: `calculator-py`.
    Python,
}

/// A guest's name, and its source within the repository.
type Source = (&'static str, &'static str);

/// Whether the guests of a language are there; the first call builds them. Where what that takes is missing, the test that
/// asks is not run and says so, but fails where `CI` is set.
pub async fn built(language: Language) -> bool {
    static JAVASCRIPT: OnceCell<bool> = OnceCell::const_new();
    static PYTHON: OnceCell<bool> = OnceCell::const_new();
    let built = match language {
        Language::JavaScript => &JAVASCRIPT,
        Language::Python => &PYTHON,
    };
    *built.get_or_init(|| build(language)).await
}

async fn build(language: Language) -> bool {
    // Programs run in other folders, where a relative path would lead elsewhere.
    let folder = std::path::absolute(guests::target().join("languages")).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let _lock = lock(folder.join(format!("{}.lock", language.key()))).await;
    let outdated: Vec<_> = language
        .sources()
        .iter()
        .map(|&(name, source)| Build::new(language, name, source, &folder))
        .filter(|build| !build.is_done())
        .collect();
    if outdated.is_empty() {
        return true;
    }
    if let Err(missing) = language.check().await {
        needs::missing(&format!("a test with a guest in {language:?}"), missing);
        return false;
    }
    let tools = tools(language, &folder).await;
    for build in outdated {
        build.run(language, &tools).await;
    }
    true
}

/// The system lets go of it when its holder dies.
async fn lock(path: PathBuf) -> File {
    let lock = move || {
        let file = File::create(path)?;
        file.lock().map(|()| file)
    };
    tokio::task::spawn_blocking(lock).await.unwrap().unwrap()
}

/// The folder where a language's tools are installed. What an interrupted process left there is begun anew.
async fn tools(language: Language, folder: &Path) -> PathBuf {
    let needed = Sha256::new().chain_update(read(language.needed()));
    let tools = folder.join(format!("{}-{}", language.key(), &hex(needed)[..16]));
    let installed = tools.join("installed");
    if !installed.is_file() {
        if tools.exists() {
            fs::remove_dir_all(&tools).unwrap();
        }
        fs::create_dir_all(&tools).unwrap();
        language.install(&tools).await;
        fs::write(installed, "").unwrap();
    }
    tools
}

/// One guest to be built.
struct Build {
    source: PathBuf,
    component: PathBuf,
    /// Says what the component was built from.
    stamp: PathBuf,
    digest: String,
}

impl Build {
    fn new(language: Language, name: &str, source: &str, folder: &Path) -> Self {
        let mut digest = Sha256::new().chain_update(include_str!("languages.rs"));
        for part in [source, language.needed()] {
            digest.update(read(part));
        }
        contract(&guests::root().join("wit"), &mut digest);
        Self {
            source: guests::root().join(source),
            component: guests::target().join("guests").join(format!("{name}.wasm")),
            stamp: folder.join(format!("{name}.digest")),
            digest: hex(digest),
        }
    }

    fn is_done(&self) -> bool {
        self.component.is_file() && fs::read_to_string(&self.stamp).is_ok_and(|stamp| stamp == self.digest)
    }

    async fn run(&self, language: Language, tools: &Path) {
        // A copy, since what is built may leave something beside its source.
        let scratch = tempfile::tempdir_in(tools).unwrap();
        fs::copy(&self.source, scratch.path().join(self.source.file_name().unwrap())).unwrap();
        let made = scratch.path().join("made.wasm");
        run(language.componentize(tools, &made).current_dir(scratch.path())).await;
        fs::create_dir_all(self.component.parent().unwrap()).unwrap();
        fs::rename(made, &self.component).unwrap();
        fs::write(&self.stamp, &self.digest).unwrap();
    }
}

impl Language {
    fn key(self) -> &'static str {
        match self {
            Self::JavaScript => "javascript",
            Self::Python => "python",
        }
    }

    fn sources(self) -> &'static [Source] {
        match self {
            Self::JavaScript => &[
                ("calculator-js", "guest-examples/calculator-js/agent.js"),
                ("loop-js", "tests/guests/loop-js/agent.js"),
                ("fetch-js", "tests/guests/fetch-js/agent.js"),
            ],
            Self::Python => &[("calculator-py", "guest-examples/calculator-py/app.py")],
        }
    }

    /// The file that names its tool by an exact version.
    fn needed(self) -> &'static str {
        match self {
            Self::JavaScript => "guest-examples/calculator-js/package.json",
            Self::Python => "guest-examples/calculator-py/requirements.txt",
        }
    }

    /// Whether this machine has what the tool is installed with. An error says what is missing.
    async fn check(self) -> Result<(), &'static str> {
        match self {
            Self::JavaScript => {
                let there = ["node", "npm"].iter().all(|name| needs::program(&[name]).is_some());
                there.then_some(()).ok_or(
                    "there is no node or no npm in PATH; install them (`apt-get install -y --no-install-recommends \
                     nodejs npm`)",
                )
            }
            Self::Python => {
                let mut python = Command::new("python3");
                python.args(["-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))"]);
                let there = output(&mut python).await.is_ok_and(|output| output.status.success());
                there.then_some(()).ok_or(
                    "there is no python3 in PATH that is 3.10 or later and has venv; install it (`apt-get install -y \
                     --no-install-recommends python3-venv`)",
                )
            }
        }
    }

    async fn install(self, tools: &Path) {
        let needed = guests::root().join(self.needed());
        match self {
            Self::JavaScript => {
                fs::copy(needed, tools.join("package.json")).unwrap();
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-package-lock", "--ignore-scripts", "--prefer-offline"]);
                run(npm.args(["--no-audit", "--no-fund"]).current_dir(tools)).await;
            }
            Self::Python => {
                run(Command::new("python3").args(["-m", "venv", "."]).current_dir(tools)).await;
                let mut pip = Command::new(tools.join("bin/python"));
                pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:"]);
                run(pip.arg("--requirement").arg(needed)).await;
            }
        }
    }

    /// What the example says to build it with, for a copy of the source in the current folder.
    fn componentize(self, tools: &Path, made: &Path) -> Command {
        let wit = guests::root().join("wit");
        match self {
            Self::JavaScript => {
                let mut qjs = Command::new(tools.join("node_modules/.bin/componentize-qjs"));
                qjs.arg("--wit")
                    .arg(wit)
                    .args(["--world", "contract", "--js", "agent.js", "--output"])
                    .arg(made);
                qjs
            }
            Self::Python => {
                let mut py = Command::new(tools.join("bin/componentize-py"));
                py.arg("-d")
                    .arg(wit)
                    .args(["-w", "rookery:agent/plugin", "componentize", "app", "-o"])
                    .arg(made);
                py
            }
        }
    }
}

/// Runs a program to its end, which must be a good one.
async fn run(command: &mut Command) {
    let output = output(command).await.unwrap_or_else(|error| panic!("{:?}: {error}", command.as_std()));
    assert!(
        output.status.success(),
        "{:?}: {}\n{}{}",
        command.as_std(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn output(command: &mut Command) -> std::io::Result<std::process::Output> {
    timeout(PATIENCE, command.stdin(Stdio::null()).kill_on_drop(true).output()).await?
}

fn read(file: &str) -> Vec<u8> {
    fs::read(guests::root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Adds all files of a folder, in the order of their names.
fn contract(folder: &Path, digest: &mut Sha256) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            contract(&entry, digest);
        } else {
            digest.update(fs::read(entry).unwrap());
        }
    }
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
