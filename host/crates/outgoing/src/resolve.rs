//! From a name to addresses that a guest may reach: looking up and checking are one step.
//!
//! The connector asks for addresses here and connects to what it gets, so the address that was checked is the
//! address that is reached; there is no second lookup to answer differently. What is decided depends on the
//! name alone, and on whether the operator has written it down ([`Grants::trusted`](crate::Grants::trusted)).
//! Bounded by: `LOOKUPS` at once and `LOOKUP_TIME` each; what waits for a place waits within its own time.
//! Costs: the system's lookup cannot be stopped. One that is given up keeps its place until it returns.

use std::future::ready;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_service::Service;

use crate::address::is_public;
use crate::error::SendError;
use crate::host::Host;

/// Looks a name up. It need not check what it finds.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Half of what connecting may take by default, so that a slow resolver is told apart from a slow server; and
/// as long as `resolv.conf` lets the first name server think.
const LOOKUP_TIME: Duration = Duration::from_secs(5);

/// Per plugin. A lookup holds one of tokio's 512 blocking threads; sixteen leave the rest to the host even
/// when thirty plugins wait for name servers that do not answer.
const LOOKUPS: usize = 16;

/// The operating system's own lookup, hosts file and search domains included.
pub fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || (name, 0).to_socket_addrs());
            let addresses = found.await.map_err(io::Error::other)??;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    })
}

/// The connector's resolver: answers only with addresses that the name may lead to.
#[derive(Clone)]
pub(crate) struct CheckedResolver {
    lookup: Lookup,
    /// Whether any address will do.
    trusted: bool,
    places: Arc<Semaphore>,
}

/// Why there is no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("{host} leads to {address}, which is no public address")]
    Denied { host: String, address: IpAddr },
    #[error("looking up {host} took too long")]
    TimedOut { host: String },
    #[error("{host} was not found")]
    Failed { host: String, source: io::Error },
}

impl CheckedResolver {
    /// `trusted` is for names that who runs the host has written down itself: they may lead anywhere.
    pub(crate) fn new(lookup: Lookup, trusted: bool) -> CheckedResolver {
        CheckedResolver { lookup, trusted, places: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    async fn resolve(self, host: String) -> Result<Vec<IpAddr>, ResolveError> {
        let trusted = self.trusted;
        match timeout(LOOKUP_TIME, self.look_up(host.clone())).await {
            Err(_) => Err(ResolveError::TimedOut { host }),
            Ok(Err(source)) => Err(ResolveError::Failed { host, source }),
            Ok(Ok(found)) if trusted && !found.is_empty() => Ok(found),
            Ok(Ok(found)) => only_public(host, found),
        }
    }

    /// In a task of its own, so that whoever gives up does not free the place of a thread that still works.
    async fn look_up(self, host: String) -> io::Result<Vec<IpAddr>> {
        let place = self.places.acquire_owned().await.map_err(io::Error::other)?;
        let found = (self.lookup)(host);
        let looking = tokio::spawn(async move {
            let found = found.await;
            drop(place);
            found
        });
        looking.await.map_err(io::Error::other)?
    }
}

fn only_public(host: String, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, ResolveError> {
    let (public, private): (Vec<_>, Vec<_>) = found.into_iter().partition(|&address| is_public(address));
    match private.first() {
        _ if !public.is_empty() => Ok(public),
        Some(&address) => Err(ResolveError::Denied { host, address }),
        None => Err(ResolveError::Failed { host, source: io::ErrorKind::NotFound.into() }),
    }
}

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // The connector puts the URL's port in the place of this one.
        let sockets = |found: Vec<IpAddr>| {
            found.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter()
        };
        if Host::is_localhost(name.as_str()) {
            // Never asked of anybody (RFC 6761): an entry that says localhost means this machine.
            return Box::pin(ready(Ok(sockets(vec![
                Ipv4Addr::LOCALHOST.into(),
                Ipv6Addr::LOCALHOST.into(),
            ]))));
        }
        let resolving = self.clone().resolve(name.as_str().to_owned());
        Box::pin(async move { Ok(sockets(resolving.await?)) })
    }
}

impl From<&ResolveError> for SendError {
    fn from(error: &ResolveError) -> SendError {
        match error {
            ResolveError::Denied { host, address } => {
                SendError::AddressDenied { host: host.clone(), address: *address }
            }
            ResolveError::TimedOut { host } => SendError::DnsTimeout { host: host.clone() },
            ResolveError::Failed { host, source } => SendError::Dns {
                host: host.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::*;

    fn answering(answers: &'static [&'static [&'static str]]) -> CheckedResolver {
        CheckedResolver::new(lookup(answers), false)
    }

    fn lookup(answers: &'static [&'static [&'static str]]) -> Lookup {
        let asked = AtomicUsize::new(0);
        Arc::new(move |_| {
            let answer = answers[asked.fetch_add(1, Ordering::SeqCst)];
            let found = answer.iter().map(|address| address.parse().expect("an address")).collect();
            Box::pin(ready(Ok(found)))
        })
    }

    async fn resolve(resolver: &mut CheckedResolver, name: &str) -> Result<Vec<String>, ResolveError> {
        let found = resolver.call(name.parse().expect("a name")).await?;
        Ok(found.map(|address| address.ip().to_string()).collect())
    }

    #[tokio::test]
    async fn a_name_that_turns_from_public_to_loopback_is_refused_when_it_does() {
        let mut resolver = answering(&[&["93.184.215.14"], &["127.0.0.1"]]);
        assert_eq!(resolve(&mut resolver, "rebind.example").await.expect("public"), ["93.184.215.14"]);
        let refused = resolve(&mut resolver, "rebind.example").await;
        assert!(matches!(refused, Err(ResolveError::Denied { address, .. }) if address.is_loopback()));
    }

    #[tokio::test]
    async fn of_mixed_answers_only_the_public_ones_are_used() {
        let mut resolver = answering(&[&["10.0.0.1", "93.184.215.14", "::1", "2606:4700::1111"]]);
        let found = resolve(&mut resolver, "mixed.example").await.expect("two are public");
        assert_eq!(found, ["93.184.215.14", "2606:4700::1111"]);
    }

    #[tokio::test]
    async fn a_name_that_the_operator_trusts_may_lead_anywhere() {
        let mut resolver = CheckedResolver::new(lookup(&[&["172.18.0.3", "93.184.215.14"], &[]]), true);
        let found = resolve(&mut resolver, "ollama").await.expect("any address will do");
        assert_eq!(found, ["172.18.0.3", "93.184.215.14"]);
        assert!(matches!(resolve(&mut resolver, "ollama").await, Err(ResolveError::Failed { .. })));
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_not_found() {
        let mut resolver = answering(&[&[]]);
        assert!(matches!(resolve(&mut resolver, "none.example").await, Err(ResolveError::Failed { .. })));
    }

    #[tokio::test]
    async fn localhost_is_this_machine_and_nobody_is_asked() {
        let mut resolver = answering(&[]);
        for name in ["localhost", "chat.localhost"] {
            assert_eq!(resolve(&mut resolver, name).await.expect("loopback"), ["127.0.0.1", "::1"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_without_an_answer_ends_and_keeps_its_place() {
        let mut resolver = CheckedResolver::new(Arc::new(|_| Box::pin(pending())), false);
        let begun = Instant::now();
        let given_up = resolve(&mut resolver, "silent.example").await;
        assert!(matches!(given_up, Err(ResolveError::TimedOut { .. })));
        assert_eq!(begun.elapsed(), LOOKUP_TIME, "neither early nor late");
        assert_eq!(resolver.places.available_permits(), LOOKUPS - 1, "its thread may still be working");
    }
}
