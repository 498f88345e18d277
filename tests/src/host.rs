//! A host of a test's own: chosen plugins, chosen sidecars, a free port.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rookery::{Admin, Config, Host, Keeping, Refused};
use rookery_agents::Limits;
use rookery_models::{Dialect, Provider};
use rookery_usage::{Money, Price};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::Client;
use crate::guests;

/// A host that serves for one test, on loopback.
pub struct TestHost {
    host: Host,
    address: SocketAddr,
    _folders: (TempDir, TempDir),
}

/// What a test's host shall be like.
pub struct TestHostBuilder {
    folder: TempDir,
    data: TempDir,
    environment: HashMap<String, String>,
    config: Config,
}

impl TestHost {
    /// A host that serves these guests, each with no sidecar.
    pub async fn serving(plugins: &[&str]) -> Self {
        let mut builder = Self::builder();
        for plugin in plugins {
            builder = builder.plugin(plugin, "");
        }
        builder.start().await
    }

    /// A host that is still to be described.
    pub fn builder() -> TestHostBuilder {
        let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = Config {
            folder: folder.path().to_owned(),
            // Shared by all tests, for which it is the same.
            code: guests::target().join("test-data/code"),
            storage: data.path().join("agents"),
            close_after: rookery::CLOSE_AFTER,
            durability: rookery_core::Durability::Normal,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: None,
            limits: Limits { runs: 16_384, live: 1_000, prompts: 256 << 20, unread: 512 << 20 },
            runs: Some(Keeping { settings: rookery_archive::Settings::new(data.path()), strict: false }),
            http: rookery_http::Settings::default(),
            models: BTreeMap::new(),
            prices: BTreeMap::new(),
            usage: rookery_usage::Settings::new(data.path()),
            outgoing: rookery_outgoing::ClientSettings::default(),
            environment: Arc::new(|_| None),
            threads: 2,
        };
        TestHostBuilder { folder, data, environment: HashMap::new(), config }
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of its admin address, which it must have.
    pub fn admin(&self) -> Client {
        Client::new(self.host.admin().unwrap())
    }

    /// A client of this host.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The host itself.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Waits until no instance is live; fails where some still are after a minute.
    pub async fn asleep(&self) {
        let asleep = async {
            while self.host.directory().live() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), asleep).await.expect("an instance is still live");
    }

    /// What it does not serve.
    pub fn refused(&self) -> &[Refused] {
        self.host.refused()
    }

    /// Drains it.
    pub async fn drain(self, grace: Duration) -> usize {
        self.host.drain(grace).await
    }
}

impl TestHostBuilder {
    /// Serves this guest with this sidecar; an empty one is none.
    pub fn plugin(self, guest: &str, sidecar: &str) -> Self {
        self.plugin_as(guest, guest, sidecar)
    }

    /// Serves a guest under another name.
    pub fn plugin_as(self, guest: &str, name: &str, sidecar: &str) -> Self {
        let to = self.folder.path().join(format!("{name}.wasm"));
        std::fs::copy(guests::component(guest), to).unwrap();
        if sidecar.is_empty() { self } else { self.file(&format!("{name}.toml"), sidecar.as_bytes()) }
    }

    /// Has a practice model as its model `practice`.
    pub async fn practising(self) -> Self {
        let provider = practice(practice_model().await);
        self.model("practice", vec![provider])
    }

    /// Has a model of this name, at these providers in turn.
    pub fn model(mut self, name: &str, providers: Vec<Provider>) -> Self {
        self.config.models.insert(name.parse().unwrap(), providers);
        self
    }

    /// Says what a model costs, for a million tokens in and out.
    pub fn price(mut self, name: &str, input: u64, output: u64) -> Self {
        let price = Price { input: Money(input * 1_000_000), output: Money(output * 1_000_000) };
        self.config.prices.insert(name.parse().unwrap(), price);
        self
    }

    /// Puts any file into the folder of plugins.
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    /// Sets an environment variable, for this host alone.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Changes anything else.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Keeps compiled code in this folder.
    pub fn code(self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.config(|config| config.code = folder)
    }

    /// Keeps its runs and its agents' storage in this folder, so that another host can come back to them.
    pub fn data(self, folder: &Path) -> Self {
        let settings = rookery_archive::Settings::new(folder);
        self.config(|config| {
            config.runs = Some(Keeping { settings, strict: false });
            config.storage = folder.join("agents");
            config.usage = rookery_usage::Settings::new(folder);
        })
    }

    /// Lets agents be looked after, by whoever has the token if there is one.
    pub fn admin(self, token: Option<&str>) -> Self {
        let (listen, token) =
            (SocketAddr::from(([127, 0, 0, 1], 0)), token.map(|token| token.parse().unwrap()));
        self.config(|config| config.admin = Some(Admin { listen, token }))
    }

    /// Starts the host.
    pub async fn start(mut self) -> TestHost {
        let environment = self.environment;
        self.config.environment = Arc::new(move |name| environment.get(name).cloned());
        let host = Host::start(self.config, |_| {}).await.unwrap();
        TestHost { address: host.address(), host, _folders: (self.folder, self.data) }
    }
}

/// A practice model that lives as long as the test's runtime; its address.
pub async fn practice_model() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = rookery_practice::Settings { delay: Duration::ZERO };
    tokio::spawn(rookery_practice::serve(listener, settings, std::future::pending()));
    address
}

/// A sidecar that grants the model `practice`.
pub const PRACTICE: &str = "[models]\ndefault = \"practice\"\n";

/// A practice model as a provider. What fails fails at once.
pub fn practice(model: SocketAddr) -> Provider {
    Provider { retries: 0, ..Provider::new(Dialect::OpenAi, format!("http://{model}/v1"), "practice") }
}

/// A sidecar that lets the guest `by-hand` talk to a model at this address.
pub fn by_hand_sidecar(model: SocketAddr) -> String {
    format!(
        "[http]\nallow = [\"http://{model}/v1\"]\n\n\
         [config]\nurl = \"http://{model}/v1/chat/completions\"\nmodel = \"practice\"\n"
    )
}
