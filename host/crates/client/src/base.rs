//! Where a host is: `http://127.0.0.1:7070`, or with a path in front where a proxy adds one.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// The URL that all paths of a host come after. Always plain `http`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(String);

/// Why a text is no [`Base`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// Only `http` is spoken here.
    #[error(
        "{0:?} asks for https, which is not spoken here; name the host's own port, as in http://127.0.0.1:7070"
    )]
    Https(String),
    /// Not a URL of a host.
    #[error(
        "{0:?} is no URL of a host: write http://, a name or an address, and a port, as in http://127.0.0.1:7070"
    )]
    Malformed(String),
}

impl FromStr for Base {
    type Err = BaseError;

    fn from_str(text: &str) -> Result<Self, BaseError> {
        let malformed = || BaseError::Malformed(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(BaseError::Https(text.chars().take(200).collect())),
            _ => return Err(malformed()),
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.filter(|authority| !authority.host().is_empty()).ok_or_else(malformed)?;
        if uri.query().is_some() || text.contains('#') {
            return Err(malformed());
        }
        Ok(Self(format!("http://{authority}{}", uri.path().trim_end_matches('/'))))
    }
}

impl Base {
    /// The host's URL of a path, which starts with a slash.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, http::uri::InvalidUri> {
        format!("{}{path}", self.0).parse()
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_plain_http_with_or_without_a_path() {
        let table = [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("http://127.0.0.1:7070/", "http://127.0.0.1:7070"),
            ("http://localhost", "http://localhost"),
            ("http://[::1]:80/rookery/", "http://[::1]:80/rookery"),
            ("HTTP://a/b/c", "http://a/b/c"),
        ];
        for (text, base) in table {
            assert_eq!(text.parse::<Base>().unwrap().to_string(), base, "{text}");
        }
        let base: Base = "http://a/b/".parse().unwrap();
        assert_eq!(base.join("/runs?limit=1").unwrap(), "http://a/b/runs?limit=1");
    }

    #[test]
    fn what_is_no_base_is_an_error_that_shows_one() {
        for bad in [
            "",
            "localhost",
            "127.0.0.1:7070",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a?b",
            "http://a#b",
            "http://a b",
            "/runs",
        ] {
            let error = bad.parse::<Base>().unwrap_err();
            assert!(matches!(error, BaseError::Malformed(_)), "{bad}");
            assert!(error.to_string().contains("http://127.0.0.1:7070"), "{error}");
        }
    }

    #[test]
    fn https_is_told_apart_and_says_what_to_name_instead() {
        let error = "https://rookery.example".parse::<Base>().unwrap_err();
        assert_eq!(error, BaseError::Https("https://rookery.example".into()));
        assert!(error.to_string().contains("the host's own port"));
    }
}
