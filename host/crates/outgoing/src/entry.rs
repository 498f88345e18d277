//! One entry of an allow list: `scheme://host[:port][/path/prefix]`.
//!
//! The host is a name, an address, or `*.name` for what lies under the name (not the name itself). Without a
//! port it is the scheme's own. A path allows itself and what lies below it, by whole segments: `/v1` allows
//! `/v1` and `/v1/models`, not `/v10`; a slash at its end makes no difference.

use crate::host::Host;
use crate::target::{Scheme, Target, is_plain_path};

/// A parsed entry. It cannot be wrong any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    scheme: Scheme,
    host: Pattern,
    port: u16,
    path: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(Host),
    Under(String),
}

/// What is wrong with an entry, and what would mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) mend: String,
}

impl Entry {
    pub(crate) fn parse(text: &str) -> Result<Entry, Wrong> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("it has no scheme", format!("write `https://{text}`"));
        };
        let Some(scheme) = Scheme::parse(scheme) else {
            return wrong(format!("`{scheme}` is not spoken here"), "use `https` or `http`");
        };
        if let Some(at) = rest.find(['?', '#']) {
            let kept = &text[..text.len() - rest.len() + at];
            return wrong("it has a query or a fragment", format!("end it before that: `{kept}`"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return wrong("it holds a user name", "leave it out; credentials go under [http.inject]");
        }
        let (host, port) = split_port(authority, scheme)?;
        Ok(Entry { scheme, host: Pattern::parse(host)?, port, path: parse_path(path)? })
    }

    /// Whether this entry allows that request.
    pub(crate) fn allows(&self, target: &Target) -> bool {
        self.scheme == target.scheme
            && self.port == target.port
            && self.host.covers(&target.host)
            && self.allows_path(target.path())
    }

    fn allows_path(&self, path: &str) -> bool {
        let mut asked = path.split('/').skip(1);
        self.path.is_empty()
            || (is_plain_path(path) && self.path.iter().all(|segment| asked.next() == Some(segment.as_str())))
    }

    /// Whether some request could be allowed by both.
    pub(crate) fn overlaps(&self, other: &Entry) -> bool {
        self.scheme == other.scheme
            && self.port == other.port
            && self.host.overlaps(&other.host)
            && self.path.iter().zip(&other.path).all(|(mine, theirs)| mine == theirs)
    }

    /// Greater for an entry that says more about a request: first about its host, then about its path.
    pub(crate) fn precision(&self) -> (usize, usize) {
        let host = match &self.host {
            Pattern::Exactly(_) => usize::MAX,
            Pattern::Under(name) => name.len(),
        };
        (host, self.path.len())
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, Wrong> {
        let Some(under) = text.strip_prefix("*.") else {
            return match Host::parse(text) {
                Some(host) => Ok(Pattern::Exactly(host)),
                None if text.is_empty() => wrong("it names no host", "write `https://host`"),
                None if text.contains('*') => {
                    wrong(format!("`{text}` is no host"), "a `*.` may stand first, as in `*.example.com`")
                }
                None => wrong(
                    format!("`{text}` is neither a plain name nor an address in its usual spelling"),
                    "write a name (`xn--…` if it is not ASCII), `127.0.0.1` or `[::1]`",
                ),
            };
        };
        match Host::parse(under) {
            Some(Host::Name(name)) if name.contains('.') || name == "localhost" => Ok(Pattern::Under(name)),
            Some(Host::Name(name)) => {
                wrong(format!("`*.{name}` is all of a top-level domain"), "name the hosts one by one")
            }
            _ => wrong(
                format!("`{under}` has no names under it"),
                "write `*.` before a name of at least two parts",
            ),
        }
    }

    fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Pattern::Exactly(mine), theirs) => mine == theirs,
            (Pattern::Under(mine), Host::Name(theirs)) => is_under(theirs, mine),
            (Pattern::Under(_), Host::Address(_)) => false,
        }
    }

    fn overlaps(&self, other: &Pattern) -> bool {
        match (self, other) {
            (Pattern::Exactly(host), pattern) | (pattern, Pattern::Exactly(host)) => pattern.covers(host),
            (Pattern::Under(a), Pattern::Under(b)) => a == b || is_under(a, b) || is_under(b, a),
        }
    }
}

fn is_under(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

fn split_port(authority: &str, scheme: Scheme) -> Result<(&str, u16), Wrong> {
    let Some((host, port)) = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return Ok((authority, scheme.default_port()));
    };
    if host.contains(':') && !host.ends_with(']') {
        return wrong("an IPv6 address stands in brackets", format!("write `[{authority}]`"));
    }
    match port.parse() {
        Ok(number) if number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, number)),
        _ => wrong(format!("`{port}` is no port"), "use a number from 1 to 65535, or leave it out"),
    }
}

fn parse_path(path: &str) -> Result<Vec<String>, Wrong> {
    if !is_plain_path(path) || path.contains('*') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        let mend = "write the prefix as requests will hold it, without `.`, `..`, `//`, `\\`, `*` or spaces";
        return wrong(format!("`{path}` is not a plain path"), mend);
    }
    Ok(path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect())
}

fn wrong<T>(what: impl Into<String>, mend: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { what: what.into(), mend: mend.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
    }

    fn allows(text: &str, url: &str) -> bool {
        let uri = url.parse().expect("a URL by the letter");
        Target::parse(&uri).is_ok_and(|target| entry(text).allows(&target))
    }

    #[test]
    fn an_entry_allows_its_scheme_host_port_and_what_lies_below_its_path() {
        for (text, url) in [
            ("https://api.example.com", "https://api.example.com/anything/../at?all"),
            ("https://api.example.com", "https://API.EXAMPLE.COM.:443/"),
            ("https://API.example.com.:443/", "https://api.example.com"),
            ("http://api.example.com", "http://api.example.com:80/"),
            ("http://api.example.com:8080", "http://api.example.com:8080/"),
            ("https://*.example.com", "https://a.example.com/"),
            ("https://*.example.com", "https://a.b.example.com/"),
            ("https://a.com/v1", "https://a.com/v1"),
            ("https://a.com/v1", "https://a.com/v1/"),
            ("https://a.com/v1", "https://a.com/v1?x"),
            ("https://a.com/v1", "https://a.com/v1/models/x"),
            ("https://a.com/v1/", "https://a.com/v1"),
            ("https://a.com/a/b", "https://a.com/a/b/c"),
            ("http://127.0.0.1:7071/v1/", "http://127.0.0.1:7071/v1/x"),
            ("http://[::1]:7071", "http://[0:0:0:0:0:0:0:1]:7071/"),
            ("http://localhost", "http://LOCALHOST/"),
            ("http://*.localhost", "http://a.localhost/"),
        ] {
            assert!(allows(text, url), "{text} should allow {url}");
        }
    }

    #[test]
    fn an_entry_allows_nothing_else() {
        for (text, url) in [
            ("https://api.example.com", "http://api.example.com/"),
            ("https://api.example.com", "https://api.example.com:8443/"),
            ("http://api.example.com:443", "https://api.example.com/"),
            ("https://api.example.com", "https://example.com/"),
            ("https://api.example.com", "https://api.example.com.evil.net/"),
            ("https://api.example.com", "https://evilapi.example.com/"),
            ("https://api.example.com", "https://api.example.com@evil.net/"),
            ("https://*.example.com", "https://example.com/"),
            ("https://*.example.com", "https://evilexample.com/"),
            ("https://*.example.com", "https://.example.com/"),
            ("https://a.com/v1", "https://a.com/"),
            ("https://a.com/v1", "https://a.com/v10"),
            ("https://a.com/v1", "https://a.com/V1"),
            ("https://a.com/v1", "https://a.com/%76%31"),
            ("https://a.com/v1", "https://a.com/x?/v1"),
            ("https://a.com/a/b", "https://a.com/a"),
            ("http://127.0.0.1", "http://0x7f.1/"),
            ("http://127.0.0.1", "http://2130706433/"),
            ("http://127.0.0.1", "http://127.1/"),
            ("http://127.0.0.1", "http://0177.0.0.1/"),
            ("http://127.0.0.1", "http://[::ffff:127.0.0.1]/"),
            ("http://127.0.0.1", "http://localhost/"),
            ("http://localhost", "http://127.0.0.1/"),
            ("http://*.localhost", "http://localhost/"),
        ] {
            assert!(!allows(text, url), "{text} should not allow {url}");
        }
    }

    #[test]
    fn a_path_prefix_has_no_way_around_it() {
        for path in [
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "/v1/%252e%252e/admin",
            "/v1/..;/admin",
            "/v1/..%2fadmin",
            "/v1/..%5cadmin",
            "/v1/..\\admin",
            "/v1//admin",
            "/v1/./x",
            "/x/../v1",
            "//v1",
            "/v1%2fadmin",
        ] {
            assert!(!allows("https://a.com/v1", &format!("https://a.com{path}")), "{path}");
        }
    }

    #[test]
    fn a_wrong_entry_is_told_what_would_mend_it() {
        for (text, what, mend) in [
            ("api.example.com", "it has no scheme", "write `https://api.example.com`"),
            ("ftp://a.com", "`ftp` is not spoken here", "use `https` or `http`"),
            (
                "https://a.com/v1?key=1",
                "it has a query or a fragment",
                "end it before that: `https://a.com/v1`",
            ),
            (
                "https://me:pw@a.com",
                "it holds a user name",
                "leave it out; credentials go under [http.inject]",
            ),
            ("https://", "it names no host", "write `https://host`"),
            ("https://a.com:0", "`0` is no port", "use a number from 1 to 65535, or leave it out"),
            ("https://a.com:+80", "`+80` is no port", "use a number from 1 to 65535, or leave it out"),
            ("http://::1", "an IPv6 address stands in brackets", "write `[::1]`"),
            ("https://*.com", "`*.com` is all of a top-level domain", "name the hosts one by one"),
        ] {
            let expected = Wrong { what: what.into(), mend: mend.into() };
            assert_eq!(Entry::parse(text), Err(expected), "{text}");
        }
        for text in [
            "",
            "*",
            "https://*",
            "https://a.*.com",
            "https://*a.com",
            "https://*.127.0.0.1",
            "https://*.[::1]",
            "https://0x7f.1",
            "https://127.1",
            "https://a.com:",
            "https://a.com:65536",
            "https://a.com:x",
            "https://a.com/../x",
            "https://a.com/v1/%2e%2e",
            "https://a.com//v1",
            "https://a.com/v*",
            "https://a.com/a b",
            "https://a b.com",
            "https://exämple.com",
            "https://a.com\\v1",
        ] {
            assert!(Entry::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn entries_overlap_when_one_request_could_be_allowed_by_both() {
        for (a, b, overlap) in [
            ("https://a.com", "https://a.com/v1", true),
            ("https://a.com/v1", "https://a.com/v1/x", true),
            ("https://a.com/v1", "https://a.com/v2", false),
            ("https://a.com", "http://a.com", false),
            ("https://a.com", "https://a.com:8443", false),
            ("https://*.a.com", "https://x.a.com", true),
            ("https://*.a.com", "https://a.com", false),
            ("https://*.a.com", "https://*.x.a.com", true),
            ("https://*.a.com", "https://*.b.com", false),
            ("http://127.0.0.1", "http://127.0.0.1", true),
        ] {
            assert_eq!(entry(a).overlaps(&entry(b)), overlap, "{a} and {b}");
            assert_eq!(entry(b).overlaps(&entry(a)), overlap, "{b} and {a}");
        }
    }
}
