//! A real browser: found where a person has it, and opened on a page without a window.
//!
//! Promises: it leaves no file behind and none in the home of whoever runs the tests, and asks nobody but this machine.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::needs;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// `--no-sandbox` since Chromium refuses to start as root without it, and it meets no page but the test's own.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// How long a killed browser's helpers are waited for. They take a tenth of a second; a folder that stays is no reason for
/// a test to hang.
const GOODBYE: Duration = Duration::from_secs(10);

/// A browser with one page open. Killed when dropped.
pub struct Browser {
    child: Child,
    folder: TempDir,
}

/// The browser's file. Without one the test that asks is not run and says so, but fails where `CI` is set: there nobody
/// would read it.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ROOKERY_BROWSER") {
        return Some(named.into());
    }
    let found = needs::program(&NAMES);
    if found.is_none() {
        let missing = format!(
            "there is no {} in PATH; install one (`apt-get install -y --no-install-recommends chromium`) or name it in \
             ROOKERY_BROWSER",
            NAMES.join(" or ")
        );
        needs::missing("a test with a browser", &missing);
    }
    found
}

impl Browser {
    /// Opens a page.
    pub fn open(program: PathBuf, url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name);
        let child = Command::new(&program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", within("profile").display()))
            .arg(url)
            // What does not belong to a profile: reports of crashes, and the socket by which it knows of itself.
            .env("XDG_CONFIG_HOME", within("config"))
            .env("XDG_CACHE_HOME", within("cache"))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(within("stderr")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { child, folder }
    }

    /// What it has printed.
    pub fn stderr(&self) -> String {
        let stderr = std::fs::read(self.folder.path().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&stderr).into_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its helpers end when they miss it. Until then they write into the folder, and hold its stdout open.
        let (helpers, (last, gone)) = (self.child.stdout.take(), mpsc::sync_channel(1));
        thread::spawn(move || last.send(helpers.map(|mut helpers| io::copy(&mut helpers, &mut io::sink()))));
        let _ = gone.recv_timeout(GOODBYE);
    }
}
