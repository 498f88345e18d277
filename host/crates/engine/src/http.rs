//! wasi:http, 0.2 and 0.3 alike, on the host's own way out: this file only translates.
//!
//! Promise: a request belongs to the run during which it was opened, and ends with it.

use std::time::Duration;

use http_body_util::BodyExt;
use rookery_core::{AgentId, PluginName};
use rookery_outgoing::{AskedTimeouts, Body, Caller, Client, Grants, SendError};
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::gathered::Gathered;

/// One instance's way out.
pub(crate) struct Outgoing {
    caller: Caller,
    timeouts: AskedTimeouts,
    /// The run that new requests belong to.
    run: CancellationToken,
    /// Ends what work left over between runs has opened, when the instance is dropped.
    _instance: DropGuard,
}

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// A plugin's way out.
pub(crate) fn caller(client: &Client, plugin: &PluginName, grants: Grants, open_requests: usize) -> Caller {
    client.caller(plugin.as_str(), grants, open_requests)
}

impl Outgoing {
    pub(crate) fn new(plugin: &Caller, agent: &AgentId, timeouts: AskedTimeouts) -> Self {
        let instance = CancellationToken::new();
        let run = instance.child_token();
        Self { caller: plugin.for_agent(&agent.to_string()), timeouts, run, _instance: instance.drop_guard() }
    }

    /// From now on requests end when `ended` fires, which it does when the run has its outcome.
    pub(crate) fn run_until(&mut self, ended: CancellationToken) {
        self.run = ended;
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (caller, run) = (self.caller.clone(), self.run.clone());
        let asked = shorter(options.unwrap_or_default(), self.timeouts);
        Box::new(async move {
            let request = request.map(|body| Body::new(body.map_err(Into::into)));
            let response = caller.send(request, run, asked).await.map_err(error)?;
            let response = response.map(|body| WasiBody::new(Gathered::new(body).map_err(error)));
            // The transport sends and receives by itself; there is nothing left for the engine to poll.
            Ok((response, Box::new(std::future::ready(Ok(()))) as _))
        })
    }

    // The transport writes its own from the URI, and drops what anybody else says.
    fn set_host_header(&mut self) -> bool {
        false
    }
}

/// Of what the guest and the sidecar ask for, the shorter; the host's own bounds hold in any case.
fn shorter(guest: RequestOptions, sidecar: AskedTimeouts) -> AskedTimeouts {
    let shorter = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
    AskedTimeouts {
        connect: shorter(guest.connect_timeout, sidecar.connect),
        first_byte: shorter(guest.first_byte_timeout, sidecar.first_byte),
        between_bytes: shorter(guest.between_bytes_timeout, sidecar.between_bytes),
    }
}

/// What the guest is told. Where wasi:http has no word for it, the message says it.
fn error(error: SendError) -> Error {
    match error {
        SendError::Denied { .. } => Error::HttpRequestDenied,
        SendError::AddressDenied { .. } => Error::DestinationIpProhibited,
        SendError::TooManyOpen { .. } => Error::ConnectionLimitReached,
        SendError::DnsTimeout { .. } => Error::DnsTimeout,
        SendError::Dns { .. } => Error::DnsError { rcode: None, info_code: None },
        SendError::ConnectTimeout => Error::ConnectionTimeout,
        SendError::ConnectionRefused => Error::ConnectionRefused,
        SendError::Unreachable(_) => Error::DestinationUnavailable,
        SendError::TlsCertificate(_) => Error::TlsCertificateError,
        SendError::Tls(_) => Error::TlsProtocolError,
        SendError::FirstByteTimeout => Error::HttpResponseTimeout,
        SendError::BetweenBytesTimeout => Error::ConnectionReadTimeout,
        SendError::ConnectionClosed(_) => Error::HttpResponseIncomplete,
        SendError::Protocol(_) => Error::HttpProtocolError,
        other => Error::InternalError(Some(other.to_string())),
    }
}
