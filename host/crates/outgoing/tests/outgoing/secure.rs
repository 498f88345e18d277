//! Over TLS: who is trusted, what is spoken, and what one connection's requests do to each other.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use rookery_outgoing::{AskedTimeouts, Body, BoxError, Caller, Client, ClientSettings, SendError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::Level;

use crate::server::{Log, SECRET, Seen, Server, at_last, full, get, grants, send, settings, settled, text};

/// A server's side for `localhost`, and the certificate to trust it by.
fn identity(alpn: &[&[u8]]) -> (rustls::ServerConfig, CertificateDer<'static>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("an identity");
    tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    (tls, cert.der().clone())
}

fn trusting(root: CertificateDer<'static>, server: &Server) -> (Caller, String) {
    let origin = format!("https://localhost:{}", server.port);
    let client = Client::new(ClientSettings { extra_roots: vec![root], ..settings() });
    let granted = grants(&[&origin], &[("authorization", "Bearer ${KEY}")]);
    (client.caller("chat", granted, 64, AskedTimeouts::default()), origin)
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let trailers = async { Some(Ok(HeaderMap::from_iter([("x-sum".parse().ok()?, "1".parse().ok()?)]))) };
    let line = format!("{:?} {} {:?}", request.version(), request.uri(), request.headers().get("host"));
    Response::new(full(line).with_trailers(trailers).boxed_unsync())
}

#[tokio::test]
async fn http_2_is_agreed_on_and_its_requests_share_a_connection() {
    let (tls, root) = identity(&[b"h2", b"http/1.1"]);
    let server = Server::start_tls(tls, echo).await;
    let (caller, origin) = trusting(root, &server);
    let expected = format!("HTTP/2.0 {origin}/v1 None");
    for _ in 0..2 {
        let response = send(&caller, get(&format!("{origin}/v1"))).await.expect("an answer");
        assert_eq!(response.version(), Version::HTTP_2);
        let collected = response.into_body().collect().await.expect("a whole body");
        assert_eq!(collected.trailers().expect("trailers")["x-sum"], "1");
        assert_eq!(collected.to_bytes(), expected);
    }
    let (a, b) = tokio::join!(send(&caller, get(&origin)), send(&caller, get(&origin)));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(server.seen(), Seen { accepted: 1, open: 1 });
}

#[tokio::test]
async fn a_server_that_offers_nothing_is_spoken_to_in_http_1() {
    let (tls, root) = identity(&[]);
    let server = Server::start_tls(tls, echo).await;
    let (caller, origin) = trusting(root, &server);
    let seen = text(send(&caller, get(&format!("{origin}/v1"))).await.expect("an answer")).await;
    assert_eq!(seen, format!("HTTP/1.1 /v1 Some(\"localhost:{}\")", server.port));
}

#[tokio::test]
async fn no_log_shows_an_injected_value() {
    let (tls, root) = identity(&[b"h2"]);
    let (log, _guard) = Log::capture(Level::TRACE);
    let server = Server::start_tls(tls, async |request| {
        let value = request.headers().get("authorization").expect("a header");
        Response::new(full(if value.as_bytes().ends_with(SECRET.as_bytes()) {
            "with key"
        } else {
            "without"
        }))
    })
    .await;
    let (caller, origin) = trusting(root, &server);
    assert_eq!(text(send(&caller, get(&origin)).await.expect("an answer")).await, "with key");
    let log = log.text();
    assert!(log.contains("Connection{peer=Client}"), "the transport logs here: {log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (tls, _) = identity(&[b"h2"]);
    let (_, other_root) = identity(&[]);
    let server = Server::start_tls(tls, echo).await;
    let (caller, origin) = trusting(other_root, &server);
    assert!(matches!(send(&caller, get(&origin)).await, Err(SendError::TlsCertificate(_))));
}

#[tokio::test]
async fn without_any_trusted_root_only_https_is_refused() {
    let server = Server::start(async |_| Response::new(full("hello"))).await;
    let (plain, secure) = (format!("http://127.0.0.1:{}", server.port), "https://127.0.0.1:1");
    let caller =
        Client::new(settings()).caller("chat", grants(&[&plain, secure], &[]), 8, AskedTimeouts::default());
    assert_eq!(text(send(&caller, get(&plain)).await.expect("an answer")).await, "hello");
    let Err(SendError::TlsCertificate(why)) = send(&caller, get(secure)).await else { panic!("no roots") };
    assert!(why.to_string().contains("SSL_CERT_FILE"), "{why}");
}

#[tokio::test]
async fn a_response_that_nobody_reads_holds_up_no_other() {
    let (tls, root) = identity(&[b"h2"]);
    let server = Server::start_tls(tls, async |request| {
        if request.uri().path() == "/endless" {
            let piece = || Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; 64 * 1024])));
            return Response::new(StreamBody::new(stream::repeat_with(piece).boxed()).boxed_unsync());
        }
        Response::new(full(vec![b'x'; 100 * 1024]))
    })
    .await;
    let (caller, origin) = trusting(root, &server);
    let mut unread = Vec::new();
    for _ in 0..32 {
        unread.push(send(&caller, get(&format!("{origin}/endless"))).await.expect("a head"));
        settled().await;
    }
    let other = async { text(send(&caller, get(&origin)).await.expect("an answer")).await };
    assert_eq!(at_last(other).await.len(), 100 * 1024);
    assert_eq!(server.seen().accepted, 1, "all of them on one connection");
}
