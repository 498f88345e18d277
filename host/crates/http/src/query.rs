//! Percent-encoding: what the segments of a path and the pairs of a query stand for.

/// The pairs of a query, decoded as forms are.
pub(crate) fn pairs(query: Option<&str>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name, true), decoded(value, true))
    })
}

/// The same, for pairs that can only be text; what is no UTF-8 becomes a sign that no name and no number has.
pub(crate) fn texts(query: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    pairs(query).map(move |(name, value)| (text(name), text(value)))
}

/// A segment of a path, decoded once. No name has a character that needs encoding, but a client may encode any.
pub(crate) fn segment(segment: &str) -> String {
    String::from_utf8_lossy(&decoded(segment, false)).into_owned()
}

/// The bytes that a percent-encoded text stands for. A `%` that begins no byte stands for itself.
fn decoded(text: &str, plus_is_space: bool) -> Vec<u8> {
    let digit = |at: Option<&u8>| at.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        out.push(match (first, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                rest = &tail[2..];
                (high << 4 | low) as u8
            }
            (b'+', ..) if plus_is_space => b' ',
            _ => first,
        });
    }
    out
}
