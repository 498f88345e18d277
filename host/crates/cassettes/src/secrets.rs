//! The values that nobody but a server is to see, and where they stand in what is to be written.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use memchr::memmem;

/// A shorter value is no key, and stands by chance in many a text that means something else.
const SHORTEST: usize = 6;

/// How much of a value has to stand at the end of what was cut off to be taken for its beginning.
const SHORTEST_BEGINNING: usize = 4;

/// Values to be masked. Its `Debug` shows none. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets(Arc<[Box<[u8]>]>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Values of fewer than 6 bytes are not looked for.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Secrets {
        let mut values: Vec<Box<[u8]>> =
            values.into_iter().filter(|value| value.len() >= SHORTEST).map(Into::into).collect();
        values.sort_unstable();
        values.dedup();
        Secrets(values.into())
    }

    /// Where values stand in `bytes`. `whole` says that these did not break off, perhaps within a value.
    fn find(&self, bytes: &[u8], whole: bool) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for value in self.0.iter() {
            found.extend(memmem::find_iter(bytes, value).map(|at| at..at + value.len()));
            let beginning = (SHORTEST_BEGINNING..value.len())
                .rev()
                .find(|&length| !whole && bytes.ends_with(&value[..length]));
            found.extend(beginning.map(|length| bytes.len() - length..bytes.len()));
        }
        found
    }

    /// Puts a `*` in the place of each of their bytes: lengths stay, and with them every border of a frame.
    pub(crate) fn mask(&self, bytes: &mut [u8], whole: bool) {
        for range in self.find(bytes, whole) {
            bytes[range].fill(b'*');
        }
    }

    pub(crate) fn mask_text(&self, text: &mut String) {
        let mut bytes = std::mem::take(text).into_bytes();
        self.mask(&mut bytes, true);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }

    pub(crate) fn mask_headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let mut bytes = value.as_bytes().to_vec();
            self.mask(&mut bytes, true);
            if bytes != value.as_bytes() {
                *value = HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("*"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, whole: bool) -> String {
        let secrets = Secrets::new([&b"sk-secret"[..], b"Bearer sk-secret", b"eu"]);
        let mut bytes = text.as_bytes().to_vec();
        secrets.mask(&mut bytes, whole);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_value_is_masked_wherever_it_stands_and_a_short_one_is_none() {
        assert_eq!(
            masked("{\"k\":\"sk-secret\"} sk-secre sk-secret", true),
            "{\"k\":\"*********\"} sk-secre *********"
        );
        assert_eq!(masked("Bearer sk-secret, eu", true), "****************, eu");
    }

    #[test]
    fn the_beginning_of_a_value_is_masked_where_it_breaks_off() {
        assert_eq!(masked("you sent sk-se", false), "you sent *****");
        assert_eq!(masked("you sent sk-se", true), "you sent sk-se", "this is all of it");
        assert_eq!(masked("a risk-", false), "a risk-", "three letters are by chance");
    }

    #[test]
    fn nobody_sees_them() {
        assert_eq!(format!("{:?}", Secrets::new([&b"sk-secret"[..]])), "Secrets(1)");
    }
}
