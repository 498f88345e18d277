//! A request that a cassette has no answer to, and what it has instead.

use std::fmt;
use std::path::PathBuf;

use http::Method;
use serde_json::Value;

use crate::json;

/// How much of what differs is shown.
const SHOWN: usize = 60;

/// A request that was not recorded, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{asked} {what} {}: {why}", .file.display())]
pub struct NotRecorded {
    /// Method and URL, without its query.
    pub(crate) asked: String,
    /// Where it was looked for.
    pub(crate) file: PathBuf,
    what: &'static str,
    /// What is there instead.
    pub(crate) why: String,
}

impl NotRecorded {
    pub(crate) fn new(method: &Method, url: &str, file: PathBuf, why: impl Into<String>) -> NotRecorded {
        let what = "is not in the cassette";
        NotRecorded { asked: format!("{method} {}", path(url)), file, what, why: why.into() }
    }

    pub(crate) fn broken_off(
        method: &Method,
        url: &str,
        file: PathBuf,
        why: impl Into<String>,
    ) -> NotRecorded {
        NotRecorded { what: "is not whole in the cassette", ..NotRecorded::new(method, url, file, why) }
    }
}

/// A URL without its query.
pub(crate) fn path(url: &str) -> &str {
    url.split_once('?').map_or(url, |(path, _)| path)
}

/// In what two bodies differ, as the end of a sentence; both in the one spelling that [`json::meaning`] gives.
pub(crate) fn body_differs(recorded: &[u8], asked: &[u8]) -> String {
    if let (Some(there), Some(here)) = (json::document(recorded), json::document(asked))
        && let Some((at, there, here)) = json::difference(&there, &here)
    {
        let at = if at.is_empty() { "the body".to_owned() } else { format!("`{}`", shortened(&at)) };
        return format!("{at} is {} there and {} here", Shown(there), Shown(here));
    }
    let byte = recorded.iter().zip(asked).take_while(|(there, here)| there == here).count();
    let (there, here) = (recorded.len(), asked.len());
    format!("the body differs from byte {byte} on, and has {there} bytes there and {here} here")
}

struct Shown<'v>(Option<&'v Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("absent"),
            // A value may be megabytes; a container is told by what it is.
            Some(Value::Object(map)) => write!(f, "an object of {}", map.len()),
            Some(Value::Array(items)) => write!(f, "an array of {}", items.len()),
            Some(Value::String(text)) => write!(f, "{:?}", shortened(text)),
            Some(other) => write!(f, "{other}"),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_where_and_what() {
        for (recorded, asked, expected) in [
            (
                r#"{"messages":[{"content":"hello"}]}"#,
                r#"{"messages":[{"content":"hallo"}]}"#,
                r#"`/messages/0/content` is "hello" there and "hallo" here"#,
            ),
            ("[1]", "[1,[2]]", "`/1` is absent there and an array of 1 here"),
            ("{}", "[]", "the body is an object of 0 there and an array of 0 here"),
            ("one", "once", "the body differs from byte 2 on, and has 3 bytes there and 4 here"),
            ("", "{}", "the body differs from byte 0 on, and has 0 bytes there and 2 here"),
        ] {
            assert_eq!(body_differs(recorded.as_bytes(), asked.as_bytes()), expected);
        }
    }

    #[test]
    fn a_difference_of_megabytes_is_one_line() {
        let long = |letter: &str| format!("[\"{}\"]", letter.repeat(1_000_000)).into_bytes();
        assert!(body_differs(&long("é"), &long("e")).len() < 400);
        assert!(body_differs(&long("é"), b"{}").len() < 400);
    }
}
