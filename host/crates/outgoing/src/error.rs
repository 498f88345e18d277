//! Why a request was not sent or not answered, told apart as far as a guest, or who runs it, can act on it.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rookery_cassettes::NotRecorded;

use crate::resolve::ResolveError;

/// An error of somebody else's.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request ended without its response, or a response without its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No entry of the plugin's allow list covers the URL. Logged already.
    #[error("{url} is not granted to this plugin; \"{entry}\" in `allow` of its [http] would allow it")]
    Denied {
        /// What was asked for, without its query.
        url: String,
        /// The entry that would allow it.
        entry: String,
    },
    /// The name is allowed, but leads to addresses that only an entry of their own would allow. Logged already.
    #[error(
        "{host} leads to {address}, which is no public address; only an entry that names it would allow it"
    )]
    AddressDenied {
        /// The name.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// The plugin has as many requests open as it may; one has to end first.
    #[error("this plugin has {limit} requests open already; end one of them first")]
    TooManyOpen {
        /// How many it may have.
        limit: usize,
    },
    /// The request is not one that could be sent: the guest's mistake.
    #[error("the request cannot be sent: {0}")]
    BadRequest(&'static str),
    /// Nobody answered for the name in time.
    #[error("looking up {host} took too long")]
    DnsTimeout {
        /// The name.
        host: String,
    },
    /// Nobody knows the name.
    #[error("{host} was not found")]
    Dns {
        /// The name.
        host: String,
        /// What the lookup says.
        #[source]
        source: io::Error,
    },
    /// There was no connection in time.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// Nothing listens there.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// The address cannot be reached.
    #[error("the connection could not be made")]
    Unreachable(#[source] BoxError),
    /// The server's certificate is not one that this host trusts.
    #[error("the server's certificate is not trusted")]
    TlsCertificate(#[source] BoxError),
    /// TLS failed otherwise.
    #[error("the secure connection could not be made")]
    Tls(#[source] BoxError),
    /// The response's head did not come in time.
    #[error("the server did not answer in time")]
    FirstByteTimeout,
    /// The response's body was silent for so long.
    #[error("the server stopped answering")]
    BetweenBytesTimeout(Duration),
    /// The other side closed the connection before its answer was whole.
    #[error("the connection was closed before the response was whole")]
    ConnectionClosed(#[source] BoxError),
    /// What came was not HTTP, or more of it than is taken.
    #[error("the server's answer was not understood")]
    Protocol(#[source] BoxError),
    /// The request's own body failed.
    #[error("the request's body failed")]
    Upload(#[source] BoxError),
    /// Requests are replayed, and this one was not recorded, or not to its end. Logged already.
    #[error(transparent)]
    NotRecorded(Box<NotRecorded>),
    /// The run that sent it has ended.
    #[error("the run has ended")]
    Cancelled,
}

impl From<NotRecorded> for SendError {
    fn from(missing: NotRecorded) -> SendError {
        SendError::NotRecorded(Box::new(missing))
    }
}

impl SendError {
    pub(crate) fn from_client(error: hyper_util::client::legacy::Error) -> SendError {
        if let Some(told) = told_by_source(&error) {
            return told;
        }
        if !error.is_connect() {
            return SendError::from_protocol(error);
        }
        if io_kinds(&error).any(|kind| kind == io::ErrorKind::ConnectionRefused) {
            return SendError::ConnectionRefused;
        }
        SendError::Unreachable(error.into())
    }

    pub(crate) fn from_body(error: hyper::Error) -> SendError {
        told_by_source(&error).unwrap_or_else(|| SendError::from_protocol(error))
    }

    fn from_protocol(error: impl Into<BoxError>) -> SendError {
        let error = error.into();
        let hyper = find::<hyper::Error>(error.as_ref());
        if hyper.is_some_and(hyper::Error::is_user) {
            return SendError::Upload(error);
        }
        let closed = hyper.is_none_or(|hyper| {
            // A timeout of hyper's own is a ping on HTTP/2 that was not answered.
            hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_canceled() || hyper.is_timeout()
        });
        if closed || io_kinds(error.as_ref()).next().is_some() {
            SendError::ConnectionClosed(error)
        } else {
            SendError::Protocol(error)
        }
    }
}

/// What our own parts and TLS said, however deep the transport has wrapped it.
fn told_by_source(error: &(dyn Error + 'static)) -> Option<SendError> {
    if let Some(resolve) = find::<ResolveError>(error) {
        return Some(resolve.into());
    }
    if let Some(SendError::Cancelled) = find::<SendError>(error) {
        return Some(SendError::Cancelled);
    }
    find::<rustls::Error>(error).map(|tls| match tls {
        rustls::Error::InvalidCertificate(_) => SendError::TlsCertificate(tls.clone().into()),
        _ => SendError::Tls(tls.clone().into()),
    })
}

fn io_kinds<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = io::ErrorKind> + 'e {
    chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    chain(error).find_map(|error| error.downcast_ref::<T>())
}

/// An error and its sources. An `io::Error` answers for its inner error and so skips it; this does not.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(Some(inner)) => Some(inner as &(dyn Error + 'static)),
            _ => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_inside_the_io_errors_around_it() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(tls));
        assert!(matches!(told_by_source(&wrapped), Some(SendError::TlsCertificate(_))));

        let closed = io::Error::other(io::Error::from(io::ErrorKind::ConnectionReset));
        assert!(told_by_source(&closed).is_none());
        assert!(io_kinds(&closed).any(|kind| kind == io::ErrorKind::ConnectionReset));
    }
}
