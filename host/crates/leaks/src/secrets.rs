//! What is to be kept from leaving, under names that may be shown.

use std::fmt;

/// A shorter value is not searched for, in bytes: seven bytes are a word, and ordinary text would be masked.
pub const SHORTEST: usize = 8;

/// A longer value is refused, in bytes: hardly a server takes such a header, and each byte costs memory in every form.
pub const LONGEST: usize = 16 * 1024;

/// Values and their names. Its `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Secrets(pub(crate) Vec<Secret>);

#[derive(Clone)]
pub(crate) struct Secret {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
}

impl Secrets {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value. `name` is what logs and metrics will show, such as `OPENAI_API_KEY`. Of two names for the same value
    /// the first one counts; one name may have several values.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.0.push(Secret { name: name.into(), value: value.into() });
    }
}

impl<N: Into<String>, V: Into<Vec<u8>>> FromIterator<(N, V)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(secrets: I) -> Self {
        let mut all = Self::new();
        for (name, value) in secrets {
            all.add(name, value);
        }
        all
    }
}

impl Secret {
    /// The value, and what stands behind its scheme if it has one.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [Some(self.value.as_slice()), credential(&self.value)].into_iter().flatten()
    }
}

/// `sk-1` of `Bearer sk-1`. Any word may be the scheme, since `token`, `Bot` and `ApiKey` are about as well.
fn credential(value: &[u8]) -> Option<&[u8]> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at(space);
    let rest = rest.trim_ascii();
    let is_scheme = scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    (is_scheme && !scheme.is_empty() && !rest.is_empty() && !rest.contains(&b' ')).then_some(rest)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|secret| &secret.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_stands_behind_one_word() {
        for (value, expected) in [
            ("Bearer sk-1", Some("sk-1")),
            ("Basic  dTpw ", Some("dTpw")),
            ("token ghp_1", Some("ghp_1")),
            ("sk-1", None),
            ("Bearer ", None),
            (" sk-1", None),
            ("sk=1 2", None),
            ("one two three", None),
        ] {
            assert_eq!(credential(value.as_bytes()), expected.map(str::as_bytes), "{value}");
        }
    }
}
