//! CORS: pages of every origin may ask, without credentials.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::answer::{self, Body};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, HEAD, OPTIONS, DELETE");

/// What pages may see of a response beside what they always may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Run-Id, Location, Retry-After, Preference-Applied, Idempotent-Replayed");

/// The answer to `OPTIONS`, which a browser asks before it lets a page ask. It is the same for every path, so that
/// the page sees the real answer's status rather than a network error.
pub(crate) fn options(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(answer::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    // Repeated rather than `*`, which would leave out `Authorization`.
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

/// Lets pages of every origin see a response.
pub(crate) fn allow(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
