//! Where a request wants to go, read from its URL once, before anything is decided about it.
//!
//! The URL that is sent is built anew from what was read here, so what was judged is what is sent, and one
//! origin has one spelling in the pool of connections.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use crate::error::SendError;
use crate::host::Host;

/// The two schemes that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn parse(text: &str) -> Option<Scheme> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub(crate) fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A request's URL, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
    path_and_query: String,
    path_length: usize,
}

impl Target {
    pub(crate) fn parse(uri: &Uri) -> Result<Target, SendError> {
        let wrong = |what| Err(SendError::BadRequest(what));
        let Some(scheme) = uri.scheme_str().and_then(Scheme::parse) else {
            return wrong("the URL needs the scheme http or https");
        };
        let Some(authority) = uri.authority() else { return wrong("the URL names no host") };
        if authority.as_str().contains('@') {
            return wrong("the URL holds a user name; credentials belong in a header");
        }
        let Some(host) = Host::parse(authority.host()) else {
            return wrong("the URL's host is neither a plain name nor an address in its usual spelling");
        };
        // `http` also lets an authority end in a colon, and its port be one that no number holds.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => scheme.default_port(),
            _ => match authority.port_u16() {
                Some(port) if port != 0 => port,
                _ => return wrong("the URL's port is none"),
            },
        };
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        let path_and_query = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        Ok(Target { scheme, host, port, path_length: path.len(), path_and_query })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path_and_query[..self.path_length]
    }

    /// `scheme://host`, and the port where it is not the scheme's own: the shortest entry that allows this.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.authority())
    }

    /// The same request to an address instead of a name.
    pub(crate) fn at(&self, address: IpAddr) -> Target {
        Target { host: Host::Address(address), ..self.clone() }
    }

    fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URL to send.
    pub(crate) fn to_uri(&self) -> Result<Uri, SendError> {
        Uri::builder()
            .scheme(self.scheme.as_str())
            .authority(self.authority())
            .path_and_query(self.path_and_query.as_str())
            .build()
            .map_err(|_| SendError::BadRequest("the URL's path or query is malformed"))
    }
}

/// The URL as a log may hold it: without its query, where keys are often kept, and not endless.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:.200}", self.origin(), self.path())
    }
}

/// Whether a path means the same to every server, so that its first segments say where it leads.
///
/// Servers differ in when they decode a path, whether `\` is a `/`, what they do with `//` and whether
/// `..;x` is `..`. A path with any of these is not plain.
pub(crate) fn is_plain_path(path: &str) -> bool {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let Some(decoded) = fully_decoded(segment) else { return false };
        let name = decoded.split(|&byte| byte == b';').next().unwrap_or_default();
        if (segment.is_empty() && !is_last)
            || name == b"."
            || name == b".."
            || decoded.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0))
        {
            return false;
        }
    }
    true
}

/// A proxy may decode a path and the server behind it again, so this does too. None after the third time:
/// nobody honest is still encoded then, and every further round would cost a walk over the whole path.
fn fully_decoded(segment: &str) -> Option<Vec<u8>> {
    let mut bytes = segment.as_bytes().to_vec();
    for _ in 0..3 {
        let decoded = percent_decoded(&bytes);
        if decoded.len() == bytes.len() {
            return Some(decoded);
        }
        bytes = decoded;
    }
    None
}

fn percent_decoded(mut rest: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        match after {
            [high, low, tail @ ..]
                if first == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            _ => {
                decoded.push(first);
                rest = after;
            }
        }
    }
    decoded
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(url: &str) -> Result<String, SendError> {
        Target::parse(&url.parse().expect("a URL by the letter"))?.to_uri().map(|uri| uri.to_string())
    }

    #[test]
    fn one_origin_has_one_spelling() {
        for (url, expected) in [
            ("https://API.example.com.:443/v1?q=1", "https://api.example.com/v1?q=1"),
            ("HTTPS://api.example.com", "https://api.example.com/"),
            ("http://api.example.com:8080?q", "http://api.example.com:8080/?q"),
            ("http://[0:0::1]:80/", "http://[::1]/"),
            ("https://api.example.com:80/", "https://api.example.com:80/"),
        ] {
            assert_eq!(sent(url).expect(url), expected);
        }
    }

    #[test]
    fn a_url_that_cannot_be_judged_is_refused() {
        for url in [
            "/v1",
            "ftp://example.com/",
            "https://user:secret@example.com/",
            "https://example.com@127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://example.com:0/",
            "http://example.com:/",
        ] {
            assert!(matches!(sent(url), Err(SendError::BadRequest(_))), "{url}");
        }
    }

    #[test]
    fn what_a_log_may_hold_ends_before_the_query() {
        let uri = "https://api.example.com/v1/x?key=secret".parse().expect("a URL");
        let target = Target::parse(&uri).expect("a target");
        assert_eq!(target.to_string(), "https://api.example.com/v1/x");
        assert_eq!(target.origin(), "https://api.example.com");
    }

    #[test]
    fn a_path_is_plain_when_every_server_reads_it_alike() {
        for path in ["/", "/v1", "/v1/", "/v1/a.b", "/v1/...", "/v1/..a", "/v1/a%20b", "/v1/100%", "/a;b=c"] {
            assert!(is_plain_path(path), "{path}");
        }
        for path in [
            "/v1/../admin",
            "/v1/..",
            "/v1/.",
            "/v1/./x",
            "/v1/%2e%2e/admin",
            "/v1/%2E./admin",
            "/v1/.%2e",
            "/v1/%252e%252e/admin",
            "/v1/..;/admin",
            "/v1/..%3bx/admin",
            "/v1//admin",
            "//v1",
            "/v1%2f..",
            "/v1/a%2Fb",
            "/v1/a%252fb",
            "/v1/a\\b",
            "/v1/..\\admin",
            "/v1/a%5cb",
            "/v1/a%00b",
            "/v1/%25252525252e",
        ] {
            assert!(!is_plain_path(path), "{path}");
        }
    }
}
