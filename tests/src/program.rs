//! The real program: built by cargo, started, signalled, and read as its users do.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::guests;

/// The program's file. The first call has cargo build it, in the profile that the tests were built in.
pub fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let release = !cfg!(debug_assertions);
        let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .args(["build", "--quiet", "--package", "rookery", "--bin", "rookery"])
            .current_dir(guests::root());
        if release {
            cargo.arg("--release");
        }
        // What cargo says of this package to whom it starts. `ring` is built anew whenever these differ, and with it all
        // that the program is made of: minutes, at every bench.
        let said = |name: &OsString| {
            name.to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| said(name)) {
            cargo.env_remove(name);
        }
        assert!(cargo.status().unwrap().success(), "cargo could not build the program");
        guests::target().join(if release { "release" } else { "debug" }).join("rookery")
    })
}

/// The program running. Killed when dropped.
pub struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts the program with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(arguments)
            .current_dir(guests::root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line of stdout; empty at its end.
    pub async fn line(&mut self) -> String {
        self.next_line().await.unwrap_or_default()
    }

    async fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).await.unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Waits until a line of stdout begins with these words; what follows them. A program that ends before has failed, and
    /// what it said on stderr is shown.
    pub async fn says(&mut self, words: &str) -> String {
        while let Some(line) = self.next_line().await {
            if let Some(rest) = line.strip_prefix(words) {
                return rest.to_owned();
            }
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
        panic!("the program ended before it said {words:?}: {stderr}");
    }

    /// Where it says that it listens.
    pub async fn listening(&mut self) -> SocketAddr {
        self.says("listening on http://").await.parse().unwrap()
    }

    /// Waits for the end; the exit code, all of stdout and all of stderr.
    pub async fn said(mut self) -> (Option<i32>, String, String) {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).await.unwrap();
        let (status, stderr) = self.end().await;
        (status.code(), stdout, stderr)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Kills it, as nobody should.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Presses ctrl-c.
    pub async fn interrupt(&self) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    }

    /// Waits for the end; the exit status and all of stderr.
    pub async fn end(mut self) -> (ExitStatus, String) {
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        let (read, status) = tokio::join!(pipe.read_to_string(&mut stderr), self.child.wait());
        read.unwrap();
        (status.unwrap(), stderr)
    }
}
