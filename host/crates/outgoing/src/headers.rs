//! What of a guest's headers belongs to the host's connection and not to the request, and is taken out.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use crate::error::SendError;

/// Takes out what speaks about the connection, and `host`, which the URL says already.
///
/// `body_length` is what the body knows about itself; a guest's `content-length` may not contradict it.
pub(crate) fn clean(headers: &mut HeaderMap, body_length: Option<u64>) -> Result<(), SendError> {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    let wants_trailers = headers.get_all(header::TE).iter().any(|value| value == "trailers");
    let ours: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in ours.iter().chain(&named).chain([&header::HOST]) {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers")); // gRPC servers insist on it.
    }
    check_length(headers, body_length)
}

/// Headers that are between two neighbours and never the request's own.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
        || name == "keep-alive"
        || name == "http2-settings"
        || name.as_str().starts_with("proxy-")
}

/// Two lengths are two readings of where the next request begins.
fn check_length(headers: &HeaderMap, body_length: Option<u64>) -> Result<(), SendError> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter().map(|value| {
        let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        text.and_then(|text| text.parse::<u64>().ok())
    });
    match (lengths.next(), lengths.next(), body_length) {
        (_, Some(_), _) => Err(SendError::BadRequest("there is more than one content-length")),
        (Some(None), ..) => Err(SendError::BadRequest("the content-length is no number")),
        (Some(Some(said)), None, Some(known)) if said != known => {
            Err(SendError::BadRequest("the content-length is not the body's length"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_belongs_to_the_connection_is_taken_out() {
        let mut given = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "x"),
            ("host", "internal.example"),
            ("accept", "*/*"),
            ("trailer", "x-sum"),
            ("content-length", "3"),
        ]);
        clean(&mut given, Some(3)).expect("clean headers");
        assert_eq!(given, headers(&[("accept", "*/*"), ("trailer", "x-sum"), ("content-length", "3")]));
    }

    #[test]
    fn a_guest_may_ask_for_trailers() {
        let mut given = headers(&[("te", "trailers")]);
        clean(&mut given, None).expect("clean headers");
        assert_eq!(given, headers(&[("te", "trailers")]));
    }

    #[test]
    fn a_length_that_could_be_read_in_two_ways_is_refused() {
        for (value, body) in [("3", Some(4)), ("+3", Some(3)), ("3, 3", None), ("", None), ("-1", None)] {
            let mut given = headers(&[("content-length", value)]);
            assert!(matches!(clean(&mut given, body), Err(SendError::BadRequest(_))), "{value}");
        }
        let mut twice = headers(&[("content-length", "3")]);
        twice.append("content-length", HeaderValue::from_static("3"));
        assert!(clean(&mut twice, Some(3)).is_err());
        assert!(clean(&mut headers(&[("content-length", "3")]), None).is_ok());
    }
}
