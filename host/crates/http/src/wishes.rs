//! What a client wishes of its run beside the answer: that nobody waits for it (`Prefer: respond-async`), that it
//! happens once (`Idempotency-Key`), that it ends in time (`Run-Deadline`).

use std::time::Duration;

use http::HeaderMap;
use rookery_core::Span;

use crate::problem::{Kind, Problem};

/// What a client wishes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// To be answered at once; the run goes on by itself.
    pub(crate) respond_async: bool,
    /// The client's name for the run.
    pub(crate) key: Option<String>,
    /// How long the run may take.
    pub(crate) deadline: Option<Duration>,
}

/// The longest name that a client may give to a run, in bytes. Common ones are UUIDs.
const LONGEST_KEY: usize = 255;

impl Wishes {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let prefer = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
        Ok(Self {
            respond_async: prefer.into_iter().any(respond_async),
            key: single(headers, "idempotency-key").map(|value| key(&value)).transpose()?,
            deadline: single(headers, "run-deadline").map(|value| deadline(&value)).transpose()?,
        })
    }
}

/// All lines of a header as one, as the list that they are; what has one value only is then refused.
fn single(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<_> =
        headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Whether `respond-async` is among these preferences (RFC 7240).
fn respond_async(preferences: &str) -> bool {
    split(preferences, b',').any(|preference| {
        let name = split(preference, b';').next().unwrap_or_default();
        // An empty value is the same as none.
        let (name, value) = name.split_once('=').unwrap_or((name, ""));
        name.trim().eq_ignore_ascii_case("respond-async") && matches!(value.trim(), "" | "\"\"")
    })
}

/// Cuts at a separator, but not inside of quotes.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let literal = std::mem::take(&mut escaped);
            match byte {
                b'\\' if quoted && !literal => escaped = true,
                b'"' if !literal => quoted = !quoted,
                _ => return byte == separator && !quoted,
            }
            false
        });
        let (piece, tail) = end.map_or((text, None), |end| (&text[..end], Some(&text[end + 1..])));
        rest = tail;
        Some(piece)
    })
}

/// A key is what stands in quotes, or what stands there without any.
fn key(value: &str) -> Result<String, Problem> {
    let value = value.trim();
    let quoted = value.strip_prefix('"').map(|rest| rest.strip_suffix('"').and_then(unescaped));
    let key = quoted.unwrap_or_else(|| (!value.contains('"')).then(|| value.to_owned()));
    let good = |key: &String| {
        (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    key.filter(good).ok_or_else(|| {
        let detail = format!(
            "an `Idempotency-Key` is 1 to {LONGEST_KEY} visible ASCII characters, in quotes or without; send a new UUID"
        );
        Problem::new(Kind::BadIdempotencyKey, detail)
    })
}

fn unescaped(quoted: &str) -> Option<String> {
    let mut out = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(next) = rest.next() {
        out.push(match next {
            '\\' => rest.next().filter(|next| matches!(next, '"' | '\\'))?,
            '"' => return None,
            other => other,
        });
    }
    Some(out)
}

/// A span as people write it; a number alone is one of seconds, as in other headers.
fn deadline(value: &str) -> Result<Duration, Problem> {
    let value = value.trim();
    let seconds =
        value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then(|| format!("{value}s"));
    match seconds.as_deref().unwrap_or(value).parse() {
        Ok(Span(span)) if !span.is_zero() => Ok(span),
        _ => {
            let value: String = value.chars().take(40).collect();
            let detail = format!("{value:?} is no deadline; send a span of time such as 30s or 10m");
            Err(Problem::new(Kind::BadDeadline, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn respond_async_is_found_among_other_preferences() {
        for yes in [
            "respond-async",
            "Respond-Async",
            "respond-async, wait=10",
            "wait=10 ,respond-async;x=1",
            r#"foo="a, \"b", respond-async"#,
            "respond-async=\"\"",
        ] {
            assert!(respond_async(yes), "{yes}");
        }
        for no in ["", "respond-asynchronously", "wait=10", r#"foo="x, respond-async""#, "a;respond-async"] {
            assert!(!respond_async(no), "{no}");
        }
        let lines = [("prefer", "wait=1"), ("prefer", "respond-async")];
        let headers = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let _: bool = all.append::<http::HeaderName>(name, value);
        }
        assert!(Wishes::of(&all).unwrap().respond_async);
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        let longest = "k".repeat(LONGEST_KEY);
        let table = [
            ("8e03978e-40d5", "8e03978e-40d5"),
            (r#""8e03978e-40d5""#, "8e03978e-40d5"),
            (" a,b;c ", "a,b;c"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r"a\b", r"a\b"),
            (&longest, &longest),
        ];
        for (value, expected) in table {
            assert_eq!(key(value).unwrap(), expected, "{value}");
        }
        let too_long = "k".repeat(LONGEST_KEY + 1);
        for bad in ["", "\"\"", "\"", "\"a", "a\"", "a b", "\"a b\"", "é", "\"a\";x=1", r#""a\b""#, &too_long]
        {
            assert!(key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_deadline_is_a_span_or_a_number_of_seconds() {
        for (value, millis) in
            [("30s", 30_000), ("30", 30_000), ("1.5", 1_500), ("250ms", 250), (" 2m ", 120_000)]
        {
            assert_eq!(deadline(value).unwrap(), Duration::from_millis(millis), "{value}");
        }
        for bad in ["", "0", "0s", "-1", "soon", "1.2.3", ".", "30s, 40s", "99999999999999999999"] {
            assert!(deadline(bad).is_err(), "{bad}");
        }
    }
}
