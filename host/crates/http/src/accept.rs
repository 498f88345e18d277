//! Which of the three answers a client wants, from its `Accept`.
//!
//! The highest `q` wins; among equals the one that the client names first, and where one range covers several the
//! stream comes first. So curl's `*/*` gets the stream, and `application/json, text/plain, */*` gets the document.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::problem::{Kind, Problem};

/// The three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/event-stream`: every event, as it comes.
    Stream,
    /// `text/plain`: the text chunks, as they come.
    Text,
    /// `application/json`: one document at the end.
    Document,
}

/// In the order of preference where the client has none.
const OFFERED: [(Format, &str, &str); 3] = [
    (Format::Stream, "text", "event-stream"),
    (Format::Text, "text", "plain"),
    (Format::Document, "application", "json"),
];

/// One of the client's media ranges; `q` in thousandths.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    q: u16,
}

/// The answer that suits the client best.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let lines: Vec<_> = headers.get_all(ACCEPT).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    best(&lines.join(",")).ok_or_else(|| {
        let offered = "text/event-stream, text/plain and application/json";
        Problem::new(
            Kind::NotAcceptable,
            format!("an answer comes as {offered}; put one of them in `Accept`"),
        )
    })
}

fn best(accept: &str) -> Option<Format> {
    if accept.trim().is_empty() {
        return Some(Format::Stream);
    }
    let ranges: Vec<Range<'_>> = accept.split(',').filter_map(parse).collect();
    let mut best: Option<(Format, u16, usize)> = None;
    for (format, kind, subtype) in OFFERED {
        let Some((place, q)) = most_specific(&ranges, kind, subtype) else { continue };
        let better = best.is_none_or(|(_, most, first)| q > most || (q == most && place < first));
        if q > 0 && better {
            best = Some((format, q, place));
        }
    }
    best.map(|(format, ..)| format)
}

/// The place and the `q` of the range that says most about this media type.
fn most_specific(ranges: &[Range<'_>], kind: &str, subtype: &str) -> Option<(usize, u16)> {
    let mut found: Option<(u8, usize, u16)> = None;
    for (place, range) in ranges.iter().enumerate() {
        let specific = match (range.kind, range.subtype) {
            ("*", "*") => 1,
            (k, "*") if k.eq_ignore_ascii_case(kind) => 2,
            (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => 3,
            _ => continue,
        };
        if found.is_none_or(|(most, ..)| specific > most) {
            found = Some((specific, place, range.q));
        }
    }
    found.map(|(_, place, q)| (place, q))
}

/// None for what is no media range; such a thing is passed over.
fn parse(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    // Java's oldest client says `*` for everything.
    let range = parts.next().map(|range| if range == "*" { "*/*" } else { range })?;
    let (kind, subtype) = range.split_once('/')?;
    let weight =
        parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    let q = weight.map_or(Some(1000), |(_, value)| thousandths(value))?;
    Some(Range { kind, subtype, q })
}

fn thousandths(q: &str) -> Option<u16> {
    let q: f32 = q.trim().parse().ok()?;
    (0.0..=1.0).contains(&q).then(|| (q * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_one_that_the_client_likes_best() {
        let table = [
            ("", Some(Format::Stream)),
            ("*/*", Some(Format::Stream)),
            ("text/*", Some(Format::Stream)),
            ("application/*", Some(Format::Document)),
            ("text/event-stream", Some(Format::Stream)),
            ("Text/Plain; charset=utf-8", Some(Format::Text)),
            ("application/json", Some(Format::Document)),
            // Browsers, axios, Java, and clients that speak MCP.
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Format::Stream)),
            ("application/json, text/plain, */*", Some(Format::Document)),
            ("text/html, image/gif, *; q=.2, */*; q=.2", Some(Format::Stream)),
            ("application/json, text/event-stream", Some(Format::Document)),
            // Weights come before order, and what is more specific before what is more general.
            ("application/json;q=0.5, text/plain;q=0.9", Some(Format::Text)),
            ("text/plain;q=0.001, application/json;q=0", Some(Format::Text)),
            ("*/*, text/event-stream;q=0", Some(Format::Text)),
            ("text/*;q=0, */*", Some(Format::Document)),
            ("text/*;q=0.3, text/plain;q=0.7, */*;q=0.5", Some(Format::Text)),
            ("nonsense, application/json", Some(Format::Document)),
            ("text/plain;q=high, application/json;q=0.1", Some(Format::Document)),
            ("text/html", None),
            ("*/*;q=0", None),
            ("nonsense", None),
            ("application/xml, text/html;q=0.9", None),
        ];
        for (accept, expected) in table {
            assert_eq!(best(accept), expected, "{accept:?}");
        }
    }
}
