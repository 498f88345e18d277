//! JSON as it is read and compared: laid out for people, brought to one spelling, and where two documents differ.

use serde_json::Value;

/// The document, if this is one that is worth laying out: an object or an array.
pub(crate) fn document(bytes: &[u8]) -> Option<Value> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if !matches!(first, b'{' | b'[') {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

/// What bytes mean: JSON in one spelling, anything else as it is.
pub(crate) fn meaning(bytes: &[u8]) -> Vec<u8> {
    document(bytes).map_or_else(|| bytes.to_vec(), |value| value.to_string().into_bytes())
}

/// A valid document with line breaks and indents. Numbers, strings and the order of keys stay as they were written, so that
/// what is compared later is what was sent.
pub(crate) fn laid_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let mut rest = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(char) = rest.next() {
        match char {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                out.push('"');
                while let Some(char) = rest.next() {
                    out.push(char);
                    match char {
                        '\\' => out.extend(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(char);
                while rest.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(close) = rest.next_if(|&next| next == '}' || next == ']') {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => out.push(other),
        }
    }
    out.push('\n');
    out
}

/// The first place where two documents differ, as a JSON pointer, with what stands there in each, if anything does.
pub(crate) fn difference<'v>(
    left: &'v Value,
    right: &'v Value,
) -> Option<(String, Option<&'v Value>, Option<&'v Value>)> {
    let mut pointer = String::new();
    let (mut left, mut right) = (left, right);
    loop {
        if left == right {
            return None;
        }
        let (key, in_left, in_right) = match (left, right) {
            (Value::Object(ours), Value::Object(theirs)) => {
                let key = ours.keys().chain(theirs.keys()).find(|&key| ours.get(key) != theirs.get(key))?;
                (key.replace('~', "~0").replace('/', "~1"), ours.get(key), theirs.get(key))
            }
            (Value::Array(ours), Value::Array(theirs)) => {
                let at = (0..).find(|&at| ours.get(at) != theirs.get(at))?;
                (at.to_string(), ours.get(at), theirs.get(at))
            }
            _ => return Some((pointer, Some(left), Some(right))),
        };
        pointer.push('/');
        pointer.push_str(&key);
        match (in_left, in_right) {
            (Some(ours), Some(theirs)) => (left, right) = (ours, theirs),
            _ => return Some((pointer, in_left, in_right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_laid_out_and_nothing_in_it_changes() {
        let sent =
            r#"{"model":"m","t":1.0,"n":12345678901234567890123,"messages":[{"c":"a,\"b\\"},[]], "o":{ }}"#;
        let expected = "{\n  \"model\": \"m\",\n  \"t\": 1.0,\n  \"n\": 12345678901234567890123,\n  \"messages\": [\n    \
                        {\n      \"c\": \"a,\\\"b\\\\\"\n    },\n    []\n  ],\n  \"o\": {}\n}\n";
        assert_eq!(laid_out(sent), expected);
        assert_eq!(meaning(laid_out(sent).as_bytes()), meaning(sent.as_bytes()));
    }

    #[test]
    fn only_objects_and_arrays_are_documents() {
        for text in ["", " ", "5", "\"x\"", "null", "{", "{} x"] {
            assert!(document(text.as_bytes()).is_none(), "{text}");
        }
        assert!(document(b" [1]").is_some());
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(document(deep.as_bytes()).is_none(), "and no depth breaks the stack");
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let told = |left: Value, right: Value| {
            difference(&left, &right)
                .map(|(at, left, right)| (at, left.map(Value::to_string), right.map(Value::to_string)))
        };
        let of = |at: &str, left: Option<&str>, right: Option<&str>| {
            Some((at.to_owned(), left.map(str::to_owned), right.map(str::to_owned)))
        };
        assert_eq!(told(json!({"a": 1}), json!({"a": 1})), None);
        assert_eq!(
            told(json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": 3}]})),
            of("/a/1/b", Some("2"), Some("3"))
        );
        assert_eq!(told(json!([1]), json!([1, 2])), of("/1", None, Some("2")));
        assert_eq!(told(json!({"a/b": 1}), json!({})), of("/a~1b", Some("1"), None));
        assert_eq!(told(json!([]), json!({})), of("", Some("[]"), Some("{}")));
    }
}
