//! Text as TOML holds it, in the form that reads best: unescaped wherever it can be.

use std::fmt::Write as _;

/// A TOML string.
pub(crate) fn quote(text: &str) -> String {
    let lines = text.contains('\n');
    let plain = !text.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\t'));
    match (lines, plain) {
        (true, true) if !text.contains("'''") && !text.ends_with('\'') => format!("'''\n{text}'''"),
        (false, true) if text.contains(['"', '\\']) && !text.contains('\'') => format!("'{text}'"),
        (true, _) => format!("\"\"\"\n{}\"\"\"", escape(text)),
        (false, _) => format!("\"{}\"", escape(text)),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\r' => out.push_str("\\r"),
            '\n' | '\t' => out.push(char),
            control if control.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_as_it_is_where_it_can() {
        for (text, expected) in [
            ("", r#""""#),
            ("a", r#""a""#),
            ("it's", r#""it's""#),
            (r#"{"a":1}"#, r#"'{"a":1}'"#),
            ("data: \"a\"\n\n", "'''\ndata: \"a\"\n\n'''"),
            ("data: a\r\n", "\"\"\"\ndata: a\\r\n\"\"\""),
        ] {
            assert_eq!(quote(text), expected);
        }
    }

    #[test]
    fn every_text_reads_back() {
        let pieces = [
            "a", "'", "\"", "'''", "\"\"\"", "\\", "\n", "\r", "\r\n", "\t", "\0", "\u{7f}", "\u{85}", "é",
            "\u{feff}",
        ];
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    let text = format!("{first}{second}{third}");
                    let document = format!("x = [ {{ text = {} }} ]\n", quote(&text));
                    let read: toml::Table =
                        document.parse().unwrap_or_else(|error| panic!("{document}: {error}"));
                    assert_eq!(read["x"][0]["text"].as_str(), Some(text.as_str()), "{document}");
                }
            }
        }
    }
}
