//! A host as a URL spells it: a plain name or an address in its usual spelling, and nothing in between.
//!
//! C libraries read `0x7f.1`, `2130706433` and `0177.0.0.1` as 127.0.0.1, others read them as names. A spelling
//! that two readers may take differently is refused here, so that what was checked is what is reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host name in lower case without its trailing dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a URL, brackets of an IPv6 address included.
    pub(crate) fn parse(text: &str) -> Option<Host> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().ok().map(|address| Host::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Host::Address(address.into()));
        }
        plain_name(text).map(Host::Name)
    }

    /// Whether this is `localhost` or a name under it, which never leave this machine (RFC 6761).
    pub(crate) fn is_localhost(name: &str) -> bool {
        name == "localhost" || name.ends_with(".localhost")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Underscores are no part of host names by the letter, but of many that resolvers answer for.
fn plain_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let plain_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let like_a_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    (name.len() <= 253 && name.split('.').all(plain_label) && !like_a_number).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_without_their_trailing_dot() {
        for (text, name) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("localhost", "localhost"),
            ("my_service", "my_service"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1.example", "1.example"),
            ("0x7f.example", "0x7f.example"),
        ] {
            assert_eq!(Host::parse(text), Some(Host::Name(name.into())), "{text}");
        }
    }

    #[test]
    fn addresses_are_read_in_their_usual_spelling() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("[0:0:0:0:0:0:0:1]", "::1"),
            ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(Host::parse(text), Some(Host::Address(address)), "{text}");
        }
    }

    #[test]
    fn a_host_that_readers_take_differently_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.b..",
            "-a",
            "a-",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "127.0.0.256",
            "1.2.3.4.5",
            "example.0x1",
            "example.1",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "a b",
            "a%2eb",
            "exämple",
            "127。0。0。1",
            "a\\b",
            "a@b",
            "a:b",
            "*.example.com",
            "*",
        ] {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
        assert_eq!(Host::parse(&"a".repeat(64)), None, "a label is at most 63 characters");
        assert!(Host::parse(&"a.".repeat(127)).is_some(), "253 characters are a name");
        assert_eq!(Host::parse(&"a.".repeat(128)), None, "255 characters are none");
    }
}
