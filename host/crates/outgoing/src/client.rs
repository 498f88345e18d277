//! The host's one way out: what every plugin's requests share, and how one is sent.
//!
//! Settings, trusted roots and lookups are the client's; the connections are each plugin's own. On HTTP/2 all
//! requests to an origin share one connection, so a plugin that opened a hundred of them, or reset them until
//! the server hung up, would be felt by every other one there. It costs a connection per plugin and origin.
//!
//! Promises: a request is judged before anything of it is sent, and every refusal is one line in the log.
//! Bounded by: the plugin's open requests; one more is refused at once, never awaited. A pool that has opened
//! `CONNECTIONS` of them is let go, idle ones and all, so that a plugin which may reach any name under a
//! domain cannot fill the host's table of sockets.

use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::{Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::TokioTimer;
use rookery_cassettes::{Cassettes, Secrets};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::body::{Body, Place, Upload};
use crate::error::SendError;
use crate::grants::Grants;
use crate::headers;
use crate::line::{self, Lines, Wire};
use crate::record;
use crate::replay;
use crate::resolve::{CheckedResolver, Lookup, system_lookup};
use crate::response::ResponseBody;
use crate::target::{Scheme, Target};
use crate::timeouts::{self, AskedTimeouts, Timeouts};

/// How many requests a plugin may have open by default: more than one machine's agents talk at once, and a
/// quarter of the 1024 files that a process may often have open.
pub const DEFAULT_OPEN_REQUESTS: usize = 256;

/// A burst leaves at most this many connections to an origin behind; more would be idle in every burst but
/// the largest.
const IDLE_PER_ORIGIN: usize = 32;

/// Longer than a person takes to read an answer and ask on, shorter than most servers keep an idle connection.
const IDLE_TIME: Duration = Duration::from_secs(90);

/// What a response may send on HTTP/2 before it is read. At 50 ms to the server it lets 5 MB a second through, and
/// 256 unread responses hold 64 MiB, besides what is read ahead.
const STREAM_WINDOW: u32 = 256 * 1024;

/// All of a plugin's unread responses together, four thousand of them: so large that one agent which does not
/// read holds up no other on the same connection. (An adaptive window gives a connection what it gives one
/// stream, and then it does.)
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// What an upload may hold on HTTP/2 before the guest is asked to wait.
const UPLOAD_BUFFER: usize = 64 * 1024;

/// A dead link under an open HTTP/2 stream is found after a ping and this long.
const PING: Duration = Duration::from_secs(30);

/// What differs between one host, or one test, and another.
#[derive(Clone)]
pub struct ClientSettings {
    /// Trust the roots that the operating system trusts, or those that `SSL_CERT_FILE` names.
    pub system_roots: bool,
    /// Certificates to trust besides them.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// How names become addresses. What it finds is checked all the same.
    pub lookup: Lookup,
    /// The bounds that no guest can lift.
    pub timeouts: Timeouts,
    /// How many connections a plugin's pool opens before a new pool takes its place.
    pub connections: usize,
    /// Where requests are written down, or answered from instead of being sent.
    pub cassettes: Option<Cassettes>,
}

/// Twice the open requests a plugin may have, so that those never make it turn over by themselves.
const CONNECTIONS: usize = 2 * DEFAULT_OPEN_REQUESTS;

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            system_roots: true,
            extra_roots: Vec::new(),
            lookup: system_lookup(),
            timeouts: Timeouts::default(),
            connections: CONNECTIONS,
            cassettes: None,
        }
    }
}

/// What all plugins' requests share. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    tls: Arc<ClientConfig>,
    trusts_nobody: bool,
    lookup: Lookup,
    timeouts: Timeouts,
    connections: usize,
    cassettes: Option<Cassettes>,
}

impl Client {
    /// Reads the trusted roots; finding none is an error only to requests that need them.
    pub fn new(settings: ClientSettings) -> Client {
        let mut roots = RootCertStore::empty();
        if settings.system_roots {
            let found = rustls_native_certs::load_native_certs();
            let (_, unusable) = roots.add_parsable_certificates(found.certs);
            if unusable > 0 || !found.errors.is_empty() {
                tracing::debug!(unusable, errors = ?found.errors, "not all of the system's roots could be read");
            }
        }
        roots.add_parsable_certificates(settings.extra_roots);
        let trusts_nobody = roots.is_empty();
        let mut tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .expect("the provider speaks the versions it was built with")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Client(Arc::new(Shared {
            tls: Arc::new(tls),
            trusts_nobody,
            lookup: settings.lookup,
            timeouts: settings.timeouts,
            connections: settings.connections,
            cassettes: settings.cassettes,
        }))
    }

    /// A plugin's way out, which its agents share: what it may reach, how many requests it may have open, and its own
    /// bounds where they are not the host's.
    pub fn caller(
        &self,
        plugin: &str,
        grants: Grants,
        open_requests: usize,
        timeouts: AskedTimeouts,
    ) -> Caller {
        let resolver = CheckedResolver::new(self.0.lookup.clone(), grants.is_trusted());
        Caller {
            agent: plugin.into(),
            plugin: Arc::new(Plugin {
                name: plugin.to_owned(),
                secrets: Secrets::new(grants.keys()),
                grants,
                limit: open_requests,
                timeouts: self.0.timeouts.replaced(timeouts),
                open: Arc::new(Semaphore::new(open_requests.min(Semaphore::MAX_PERMITS))),
                resolver,
                pool: Mutex::default(),
                shared: self.0.clone(),
            }),
        }
    }
}

/// Who sends: an agent, with all that its plugin was granted.
#[derive(Clone)]
pub struct Caller {
    agent: Arc<str>,
    plugin: Arc<Plugin>,
}

struct Plugin {
    name: String,
    grants: Grants,
    /// What no cassette may hold.
    secrets: Secrets,
    limit: usize,
    timeouts: Timeouts,
    open: Arc<Semaphore>,
    resolver: CheckedResolver,
    pool: Mutex<Option<Pool>>,
    shared: Arc<Shared>,
}

impl Caller {
    /// The same plugin's way out under the name of one of its agents, for the log.
    pub fn for_agent(&self, agent: &str) -> Caller {
        Caller { agent: agent.into(), plugin: self.plugin.clone() }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// When `ended` is cancelled, the request ends in whatever state it is. A redirect is a response.
    pub async fn send(
        &self,
        request: Request<Body>,
        ended: CancellationToken,
        asked: AskedTimeouts,
    ) -> Result<Response<ResponseBody>, SendError> {
        let plugin = &*self.plugin;
        let timeouts = plugin.timeouts.shortened(asked);
        let Judged { target, mut request } = self.judge(request)?;
        let place = plugin.open.clone().try_acquire_owned();
        let place: Place = Arc::new(place.map_err(|_| SendError::TooManyOpen { limit: plugin.limit })?);
        let take = match &plugin.shared.cassettes {
            None => None,
            Some(Cassettes::Replaying(cassettes)) => {
                let answer = replay::answer(cassettes, &self.agent, request);
                let answer = timeouts::head(ready(()), answer, timeouts, &ended).await;
                let answer = answer.inspect_err(|error| replay::log(&self.agent, error))?;
                return Ok(answer.map(|body| ResponseBody::new(body, timeouts.between_bytes, ended, place)));
            }
            Some(Cassettes::Recording(recording)) => {
                let secrets = plugin.secrets.clone();
                let take = record::begin(recording, &self.agent, request, secrets);
                let (take, recorded) = timeouts::head(ready(()), take, timeouts, &ended).await?;
                request = recorded;
                Some(take)
            }
        };
        plugin.grants.inject(&target, request.headers_mut());
        let upload = |body| Upload::new(body, ended.clone(), place.clone()).noted(take.clone());
        let mut request = request.map(upload);

        let mut connection = capture_connection(&mut request);
        let connected = async { drop(connection.wait_for_connection_metadata().await) };
        let client = plugin.client();
        let response = async { client.request(request).await.map_err(SendError::from_client) };
        let response = timeouts::head(connected, response, timeouts, &ended)
            .await
            .inspect_err(|error| record::note_failure(take.as_ref(), error))
            .inspect_err(|error| self.log_refused_address(&target, error))?;

        let (head, body) = line::helped(response).into_parts();
        let body = record::noted(body.map_err(SendError::from_body), &head, take.clone());
        let body = ResponseBody::new(body, timeouts.between_bytes, ended, place).noted(take.as_ref());
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    /// The request as it may be sent: built anew, so that nothing is in it which was not looked at. The headers that the
    /// host adds are not there yet.
    fn judge(&self, request: Request<Body>) -> Result<Judged, SendError> {
        let plugin = &*self.plugin;
        let (head, body) = request.into_parts();
        let target = Target::parse(&head.uri)?;
        if !plugin.grants.allow(&target) {
            return Err(self.deny(&head.method, &target));
        }
        if head.method == Method::CONNECT {
            return Err(SendError::BadRequest("CONNECT would open a tunnel past all checks"));
        }
        if head.method == Method::TRACE {
            return Err(SendError::BadRequest("TRACE would show the headers that the host adds"));
        }
        let sends = !matches!(plugin.shared.cassettes, Some(Cassettes::Replaying(_)));
        if sends && target.scheme == Scheme::Https && plugin.shared.trusts_nobody {
            let hint = "no trusted root certificates were found; install them or set SSL_CERT_FILE";
            return Err(SendError::TlsCertificate(hint.into()));
        }
        let mut headers = head.headers;
        headers::clean(&mut headers, body.size_hint().exact())?;

        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = target.to_uri()?;
        *request.headers_mut() = headers;
        Ok(Judged { target, request })
    }

    fn deny(&self, method: &Method, target: &Target) -> SendError {
        let (plugin, agent, entry) = (&self.plugin.name, &*self.agent, target.origin());
        let line = self.plugin.grants.line_with(&entry);
        tracing::warn!(
            %plugin, agent, %method, url = %target,
            "refused a request that is not granted; to allow it, have `{line}` under [http] in {plugin}.toml"
        );
        SendError::Denied { url: target.to_string(), entry }
    }

    fn log_refused_address(&self, target: &Target, error: &SendError) {
        let SendError::AddressDenied { address, .. } = error else { return };
        let by_address = target.at(*address);
        let (plugin, agent, entry) = (&self.plugin.name, &*self.agent, by_address.origin());
        let line = self.plugin.grants.line_with(&entry);
        tracing::warn!(
            %plugin, agent, url = %target, %address,
            "refused a name that leads to an address which is not public; to allow it, have `{line}` under \
             [http] in {plugin}.toml and the plugin ask for {entry}"
        );
    }
}

/// A request that may be sent.
struct Judged {
    target: Target,
    request: Request<Body>,
}

impl Plugin {
    fn client(&self) -> HyperClient {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        match &*pool {
            Some(pool) if pool.opened.load(Ordering::Relaxed) < self.shared.connections => {
                pool.client.clone()
            }
            _ => pool.insert(Pool::new(self.resolver.clone(), &self.shared)).client.clone(),
        }
    }
}

type HyperClient = legacy::Client<Counted<HttpsConnector<HttpConnector<CheckedResolver>>>, Upload>;

/// Connections and how many were opened.
struct Pool {
    client: HyperClient,
    opened: Arc<AtomicUsize>,
}

impl Pool {
    fn new(resolver: CheckedResolver, shared: &Shared) -> Pool {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        // A prompt's last packet would otherwise wait up to 40 ms for the first one's acknowledgement.
        tcp.set_nodelay(true);
        let names = Arc::new(DefaultServerNameResolver::default());
        let connector = HttpsConnector::new(tcp, shared.tls.clone(), false, names);
        let opened = Arc::new(AtomicUsize::new(0));
        let client = legacy::Client::builder(Lines)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_PER_ORIGIN)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_send_buf_size(UPLOAD_BUFFER)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .build(Counted { connector, opened: opened.clone() });
        Pool { client, opened }
    }
}

/// A connector that counts how often it was asked, and gives out sockets that know their connection.
#[derive(Clone)]
struct Counted<C> {
    connector: C,
    opened: Arc<AtomicUsize>,
}

impl<C: Service<Uri>> Service<Uri> for Counted<C>
where
    C::Future: Future<Output = Result<C::Response, C::Error>>,
{
    type Response = Wire<C::Response>;
    type Error = C::Error;
    type Future = MapOk<C::Future, fn(C::Response) -> Wire<C::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, origin: Uri) -> Self::Future {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.connector.call(origin).map_ok(Wire::new as fn(C::Response) -> Wire<C::Response>)
    }
}
