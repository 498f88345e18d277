//! wasi:http, 0.2 and 0.3 alike, on the host's own way out: this file only translates. (So does `fetch`, for the contract.)
//!
//! Promise: a request belongs to the run that opened it, and ends with it. Work that is left over from a run opens none.

use http_body_util::BodyExt;
use rookery_core::{AgentId, Span};
use rookery_outgoing::{AskedTimeouts, Body, Caller, SendError};
use wasmtime::component::{Accessor, HasData, Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore;
use wasmtime_wasi_http::p3::bindings::http::types::{ErrorCode, Request, Response};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtxView, WasiHttpHooks, WasiHttpView, p2, p3,
};

use crate::output::Output;
use crate::state::State;
use crate::tasks::{self, Running};

/// One instance's way out.
pub(crate) struct Outgoing {
    caller: Caller,
    /// The run that opens the next request.
    opening: Option<Running>,
}

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl Outgoing {
    pub(crate) fn new(plugin: &Caller, agent: &AgentId) -> Self {
        Self { caller: plugin.for_agent(&agent.to_string()), opening: None }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// Links wasi:http. The two functions that open a request are ours: they note first which run it is that calls.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    p3::bindings::http::types::add_to_linker::<_, WasiHttp>(linker, State::http)?;
    p3::bindings::http::client::add_to_linker::<_, Opening>(linker, State::http)?;
    let options = p2::bindings::LinkOptions::default();
    p2::bindings::http::types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), State::http)?;
    linker.instance("wasi:http/outgoing-handler@0.2.12")?.func_wrap("handle", handle)
}

/// Notes which run opens a request, and what it has written before that. What follows in the same step of the guest is
/// that request.
fn note(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    store.data().gate.pass()?;
    let run = tasks::current(store.as_context_mut())?;
    store.data_mut().outgoing.opening = run;
    Ok(())
}

/// `wasi:http/client` of 0.3.
struct Opening;

impl HasData for Opening {
    type Data<'a> = WasiHttpCtxView<'a>;
}

impl HostWithStore<State> for Opening {
    async fn send(
        accessor: &Accessor<State, Self>,
        request: Resource<Request>,
    ) -> Result<Resource<Response>, TrappableError<ErrorCode>> {
        accessor.with(|mut access| note(access.as_context_mut())).map_err(TrappableError::trap)?;
        WasiHttp::send(&accessor.with_getter::<WasiHttp>(State::http), request).await
    }
}

/// `handle` of wasi:http/outgoing-handler 0.2.
fn handle(
    mut store: StoreContextMut<'_, State>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>),
) -> wasmtime::Result<(Result<Resource<HostFutureIncomingResponse>, p2::bindings::http::types::ErrorCode>,)> {
    note(store.as_context_mut())?;
    match outgoing_handler::Host::handle(&mut store.data_mut().http(), request, options) {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (caller, run) = (self.caller.clone(), self.opening.take());
        Box::new(async move {
            let Some(run) = run else { return Err(error(SendError::Cancelled)) };
            let waiting = Waiting::new(&run, request.uri());
            let request = request.map(|body| Body::new(body.map_err(Into::into)));
            let asked = asked(options.unwrap_or_default());
            let response = caller.send(request, run.ended, asked).await.map_err(error)?;
            let failed = move |failed: SendError| {
                waiting.note(&failed);
                error(failed)
            };
            let response = response.map(|body| WasiBody::new(body.map_err(failed)));
            // The transport sends and receives by itself; there is nothing left for the engine to poll.
            Ok((response, Box::new(std::future::ready(Ok(()))) as _))
        })
    }

    // The transport writes its own from the URI, and drops what anybody else says.
    fn set_host_header(&mut self) -> bool {
        false
    }
}

/// What the guest asks for; the plugin's own bounds hold in any case.
fn asked(options: RequestOptions) -> AskedTimeouts {
    AskedTimeouts {
        connect: options.connect_timeout,
        first_byte: options.first_byte_timeout,
        between_bytes: options.between_bytes_timeout,
    }
}

/// A run that waits for a response.
pub(crate) struct Waiting {
    output: Output,
    /// Where the request goes, without what may be a secret in it.
    origin: String,
}

impl Waiting {
    pub(crate) fn new(run: &Running, uri: &http::Uri) -> Self {
        let host = uri.host().unwrap_or_default();
        let origin = match uri.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Self { output: run.output.clone(), origin }
    }

    /// Has the run fail of a server that fell silent, if it then fails.
    pub(crate) fn note(&self, error: &SendError) {
        if let SendError::BetweenBytesTimeout(silence) = error {
            let silence = Span(*silence);
            let stalled = format!("the response of {} was silent for {silence}", self.origin);
            self.output.written.reply().stalled(stalled);
        }
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
        SendError::BetweenBytesTimeout(_) => Error::ConnectionReadTimeout,
        SendError::ConnectionClosed(_) => Error::HttpResponseIncomplete,
        SendError::Protocol(_) => Error::HttpProtocolError,
        other => Error::InternalError(Some(other.to_string())),
    }
}
