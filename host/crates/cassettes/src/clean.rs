//! What is a key by its name, and is not written.
//!
//! A name is read as words, so that `x-amz-security-token` is one and `x-ratelimit-remaining-tokens` is not.

use http::HeaderMap;

const WORDS: [&str; 13] = [
    "auth",
    "authentication",
    "authorization",
    "apikey",
    "cookie",
    "cookie2",
    "credential",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Headers that have such a word and are known to be no key; servers and clients cannot do without them.
const HARMLESS: [&str; 3] = ["idempotency-key", "sec-websocket-key", "www-authenticate"];

/// Whether a header or a parameter holds a key, by its name.
pub fn is_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !HARMLESS.contains(&name.as_str()) && name.split(['-', '_', '.']).any(|word| WORDS.contains(&word))
}

/// Takes out what is a key, and what the host marked as one.
pub(crate) fn headers(headers: &HeaderMap) -> HeaderMap {
    let mut cleaned = HeaderMap::new();
    for (name, value) in headers {
        if !value.is_sensitive() && !is_key(name.as_str()) {
            cleaned.append(name, value.clone());
        }
    }
    cleaned
}

/// The URL with a `*` for every parameter's value that is a key.
pub(crate) fn url(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let cleaned: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_key(name) => format!("{name}=*"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{path}?{}", cleaned.join("&"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn headers_that_hold_keys_are_left_out() {
        let names = [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "x-amz-security-token",
            "x-hub-signature",
        ];
        let kept = ["accept", "idempotency-key", "x-ratelimit-remaining-tokens", "etag", "author"];
        let given: HeaderMap = names
            .into_iter()
            .chain(kept)
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
            .collect();
        let cleaned = headers(&given);
        let mut left: Vec<_> = cleaned.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "author", "etag", "idempotency-key", "x-ratelimit-remaining-tokens"]);
    }

    #[test]
    fn parameters_that_hold_keys_lose_their_values() {
        for (given, expected) in [
            ("https://a.com/v1", "https://a.com/v1"),
            ("https://a.com/v1?alt=sse&key=sk-1", "https://a.com/v1?alt=sse&key=*"),
            (
                "https://a.com/?X-Amz-Signature=x&api_key=y&monkey=z",
                "https://a.com/?X-Amz-Signature=*&api_key=*&monkey=z",
            ),
            ("https://a.com/?key&=&", "https://a.com/?key&=&"),
        ] {
            assert_eq!(url(given), expected);
        }
    }
}
