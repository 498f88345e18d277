//! The forms in which a guest would plainly write a value. The crate's documentation lists them.
//!
//! Promises: each form is valid UTF-8 and has at least as many bytes as [`SHORTEST`] where the value has.
//!
//! [`SHORTEST`]: crate::SHORTEST

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What `encodeURIComponent` encodes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// All forms of a value, itself last. Some may be the same.
pub(crate) fn forms(value: &[u8]) -> [String; 7] {
    // What is encoded to a whole number of characters, and so looks the same whatever follows it.
    let whole = &value[..value.len() / 3 * 3];
    let plain = text(value);
    [
        escaped(&plain),
        percent_encode(value, COMPONENT).to_string(),
        STANDARD_NO_PAD.encode(value),
        STANDARD_NO_PAD.encode(whole),
        URL_SAFE_NO_PAD.encode(value),
        URL_SAFE_NO_PAD.encode(whole),
        plain,
    ]
}

/// The value as text. One that is no UTF-8 is taken for Latin-1, which is how browsers and JavaScript read headers.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_forms_that_guests_write() {
        assert_eq!(
            forms(b"p\"ss\\w/rd??>"),
            [
                r#"p\"ss\\w/rd??>"#,
                "p%22ss%5Cw%2Frd%3F%3F%3E",
                "cCJzc1x3L3JkPz8+",
                "cCJzc1x3L3JkPz8+",
                "cCJzc1x3L3JkPz8-",
                "cCJzc1x3L3JkPz8-",
                "p\"ss\\w/rd??>",
            ]
        );
        assert_eq!(forms(b"sk-12345")[2..4], ["c2stMTIzNDU", "c2stMTIz"]);
        assert_eq!(forms(b"caf\xe9-1234")[6], "café-1234");
        assert_eq!(forms(b"caf\xe9-1234")[1], "caf%E9-1234");
    }
}
