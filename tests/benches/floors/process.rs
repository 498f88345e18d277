//! The processes that are measured: the program as its users start it, and the floors.
//!
//! Ends when: dropped, or, for floors, when the bench has gone however it went.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use rookery_tests::guests;
use rookery_tests::program::Program;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::sleep;

/// The first argument of this bench's executable where it shall be a floor.
pub(crate) const FLOOR: &str = "--floor";

/// Where a process listens, and which it is.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) id: u32,
}

impl Server {
    /// The resident memory once it no longer changes, in KiB; after five seconds, whatever it is.
    pub(crate) async fn settled(self) -> u64 {
        let (mut last, mut same) = (0, 0);
        for _ in 0..100 {
            let now = resident(&self.id.to_string());
            same = if now == last { same + 1 } else { 0 };
            if same == 5 {
                break;
            }
            last = now;
            sleep(Duration::from_millis(50)).await;
        }
        last
    }
}

/// Has the host keep no runs, so that what keeping them costs can be told from the rest.
pub(crate) const KEEP_NOTHING: [&str; 2] = ["--keep", "off"];

/// The host.
pub(crate) struct Host {
    pub(crate) server: Server,
    program: Program,
    folders: [TempDir; 2],
}

impl Host {
    /// Serves one plugin, with its sidecar.
    pub(crate) async fn serve(plugin: &str, sidecar: &str, more: &[&str]) -> Self {
        let (plugins, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = plugins.path().join(format!("{plugin}.wasm"));
        std::fs::copy(guests::component(plugin), file).unwrap();
        if !sidecar.is_empty() {
            std::fs::write(plugins.path().join(format!("{plugin}.toml")), sidecar).unwrap();
        }
        Self::start([plugins, data], more).await
    }

    /// Serves one plugin that is granted the model `practice`, at this address, with this key if it wants one.
    pub(crate) async fn asking(model: SocketAddr, key: Option<&str>, plugin: &str, more: &[&str]) -> Self {
        let [settings, file] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
        let provider = format!(
            "[models.practice]\nprovider = \"openai\"\nmodel = \"practice\"\nurl = \"http://{model}/v1\"\n"
        );
        let key = key.map_or_else(String::new, |key| {
            std::fs::write(file.path(), key).unwrap();
            format!("key_file = {:?}\n", file.path())
        });
        std::fs::write(settings.path(), provider + &key).unwrap();
        // Read at the start, and not again.
        let config = ["--config", settings.path().to_str().unwrap()];
        Self::serve(plugin, "[models]\ndefault = \"practice\"\n", &[&config, more].concat()).await
    }

    /// Kills it, and starts it again on what it has on disk.
    pub(crate) async fn again(self) -> Self {
        self.program.kill().await;
        Self::start(self.folders, &[]).await
    }

    async fn start(folders: [TempDir; 2], more: &[&str]) -> Self {
        let [plugins, data] = folders.each_ref().map(|folder| folder.path().to_str().unwrap());
        let arguments = ["serve", plugins, "--data", data, "--listen", "127.0.0.1:0"];
        let (program, address) = listening([&arguments, more].concat(), "listening on http://", "").await;
        let server = Server { address, id: program.id() };
        Self { server, program, folders }
    }
}

/// The practice model.
pub(crate) struct Model {
    pub(crate) address: SocketAddr,
    _program: Program,
}

impl Model {
    /// A model that says everything at once.
    pub(crate) async fn without_delay() -> Self {
        let arguments = vec!["practice-model", "--listen", "127.0.0.1:0", "--delay", "0ms"];
        let (program, address) = listening(arguments, "practice model on http://", "/v1").await;
        Self { address, _program: program }
    }
}

async fn listening(arguments: Vec<&str>, before: &str, after: &str) -> (Program, SocketAddr) {
    let mut program = Program::start(&arguments);
    let said = program.says(before).await;
    let address = said.strip_suffix(after).unwrap_or_else(|| panic!("that is no address: {said:?}"));
    (program, address.parse().unwrap())
}

/// This executable, as a floor.
pub(crate) struct Floor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _alive: ChildStdin,
}

impl Floor {
    /// Starts a floor in a role, with what the role needs to know.
    pub(crate) fn start(role: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(FLOOR)
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let alive = child.stdin.take().unwrap();
        Self { child, lines, _alive: alive }
    }

    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().expect("the floor ended")
    }

    /// What bare wasmtime takes for the smallest agent.
    pub(crate) async fn bare() -> Bare {
        let component = guests::component("echo");
        let mut floor = Self::start(&["bare", component.to_str().unwrap()]);
        serde_json::from_str(&floor.line().await).unwrap()
    }

    /// A floor that serves, and where.
    pub(crate) async fn serving(role: &[&str]) -> (Self, Server) {
        let mut floor = Self::start(role);
        let address = floor.line().await.parse().unwrap();
        let id = floor.child.id().unwrap();
        (floor, Server { address, id })
    }
}

/// What bare wasmtime has measured of itself.
#[derive(serde::Deserialize)]
pub(crate) struct Bare {
    /// How long each instance took to be launched and called once.
    pub(crate) launch_ms: Vec<f64>,
    /// Its resident memory with no instance but those that warmed it up, with a few, and with all.
    pub(crate) kib: Vec<u64>,
}

/// What a process has had of the processors so far.
pub(crate) fn processor_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name of the program may hold spaces, and ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // Linux counts in hundredths of a second here, whatever its clock does.
    Duration::from_millis(10 * ticks)
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident(id: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// How many files this process and those that it starts may have open.
pub(crate) fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}
