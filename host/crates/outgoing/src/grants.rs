//! What one plugin may reach, and what the host adds to its requests: the `[http]` table of its sidecar.
//!
//! Promises: what no entry allows is refused. Grants that were parsed are whole: every variable they need was
//! set, every header can be sent, and every injection belongs to something that is allowed.

use std::collections::BTreeMap;

use http::HeaderMap;

use crate::entry::{Entry, Wrong};
use crate::inject::{Injected, Injection};
use crate::target::Target;

/// A plugin's allow list and the headers added for it. Its `Debug` shows no value of a header.
#[derive(Debug, Default)]
pub struct Grants {
    allow: Vec<(String, Entry)>,
    inject: Vec<Injection>,
    /// Whether its names may lead to any address.
    trusted: bool,
}

/// Why a sidecar's `[http]` table cannot be used: the plugin author's or the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// An entry that is not `scheme://host[:port][/path]`.
    #[error("`{entry}` in `{key}` of [http]: {what}; {mend}")]
    Entry {
        /// `allow` or `inject`.
        key: &'static str,
        /// The entry as it was written.
        entry: String,
        /// What is wrong with it.
        what: String,
        /// What would mend it.
        mend: String,
    },
    /// A header that cannot be added.
    #[error("`{header}` in [http.inject.\"{entry}\"] {what}; {mend}")]
    Header {
        /// The table's entry as it was written.
        entry: String,
        /// The header as it was written.
        header: String,
        /// What is wrong with it. Never holds a value.
        what: String,
        /// What would mend it.
        mend: String,
    },
    /// Headers for something that the plugin may not reach: most likely one of the two is misspelt.
    #[error("[http.inject.\"{entry}\"] belongs to nothing in `allow` of [http]; add \"{entry}\" there")]
    NotAllowed {
        /// The table's entry as it was written.
        entry: String,
    },
}

impl GrantError {
    pub(crate) fn entry(key: &'static str, entry: &str, wrong: Wrong) -> GrantError {
        GrantError::Entry { key, entry: entry.to_owned(), what: wrong.what, mend: wrong.mend }
    }
}

impl Grants {
    /// Reads `allow` and `inject` of a sidecar; `env` looks variables up in the host's environment.
    pub fn parse(
        allow: &[String],
        inject: &BTreeMap<String, BTreeMap<String, String>>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Grants, GrantError> {
        let allow = allow
            .iter()
            .map(|text| match Entry::parse(text) {
                Ok(entry) => Ok((text.clone(), entry)),
                Err(wrong) => Err(GrantError::entry("allow", text, wrong)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut injections = Vec::with_capacity(inject.len());
        for (text, headers) in inject {
            let injection = Injection::parse(text, headers, env)?;
            if !allow.iter().any(|(_, entry)| entry.overlaps(&injection.entry)) {
                return Err(GrantError::NotAllowed { entry: text.clone() });
            }
            injections.push(injection);
        }
        // The last one to be applied wins, and that is to be the one which says most about the request.
        injections.sort_by_key(|injection| injection.entry.precision());
        Ok(Grants { allow, inject: injections, trusted: false })
    }

    /// One entry of who runs the host, with headers as they stand (a `$` is a `$`). Its name may lead to any address, as
    /// `http://ollama:11434` does in a network of containers: never for what a sidecar says.
    pub fn trusted(entry: &str, headers: &BTreeMap<String, String>) -> Result<Grants, GrantError> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.replace('$', "$$"))).collect();
        let grants =
            Grants::parse(&[entry.to_owned()], &BTreeMap::from([(entry.to_owned(), headers)]), &|_| None)?;
        Ok(Grants { trusted: true, ..grants })
    }

    /// Grants of a plugin without `[http]`: nothing.
    pub fn none() -> Grants {
        Grants::default()
    }

    /// What must not come back from the guest: what the variables stand for, then each value as it is sent. The same
    /// value may come several times; its first name is the one that says most.
    pub fn secrets(&self) -> impl Iterator<Item = Injected<'_>> {
        let variables = self.inject.iter().flat_map(Injection::variables);
        variables.chain(self.inject.iter().flat_map(Injection::values))
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    pub(crate) fn allow(&self, target: &Target) -> bool {
        self.allow.iter().any(|(_, entry)| entry.allows(target))
    }

    pub(crate) fn inject(&self, target: &Target, headers: &mut HeaderMap) {
        for injection in &self.inject {
            injection.apply(target, headers);
        }
    }

    /// Of what nobody but a server is to see, each part by itself: in `Bearer sk-1` the second word is the key, and a server
    /// that sends back what it was sent may leave out the first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let variables = self.inject.iter().flat_map(Injection::variables).map(|injected| injected.value);
        let values = self.inject.iter().flat_map(Injection::values);
        let values = values.filter(|injected| self.trusted || !injected.plain);
        let words = values.flat_map(|injected| {
            let scheme = usize::from(injected.value.split_ascii_whitespace().count() > 1);
            injected.value.split_ascii_whitespace().skip(scheme)
        });
        variables.chain(words).map(str::as_bytes)
    }

    /// The sidecar's `allow` line as it would have to be for `origin` to be reached, ready to paste.
    pub(crate) fn line_with(&self, origin: &str) -> String {
        let entries: Vec<&str> = self.allow.iter().map(|(text, _)| text.as_str()).chain([origin]).collect();
        format!("allow = {entries:?}")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn grants(allow: &[&str], inject: &[(&str, &str, &str)]) -> Result<Grants, GrantError> {
        let mut tables = BTreeMap::<String, BTreeMap<String, String>>::new();
        for (entry, header, value) in inject {
            tables.entry((*entry).into()).or_default().insert((*header).into(), (*value).into());
        }
        let allow: Vec<String> = allow.iter().map(|&entry| entry.into()).collect();
        Grants::parse(&allow, &tables, &|name| (name == "KEY").then(|| "sk-1".into()))
    }

    fn target(url: &str) -> Target {
        Target::parse(&url.parse().expect("a URL")).expect("a target")
    }

    #[test]
    fn nothing_is_granted_by_default() {
        assert!(!Grants::none().allow(&target("https://api.example.com/")));
        assert!(
            grants(&["https://a.com", "https://b.com"], &[]).expect("two").allow(&target("https://b.com/"))
        );
    }

    #[test]
    fn a_refused_entry_is_named_with_its_place_and_its_mend() {
        assert_eq!(
            grants(&["api.example.com"], &[]).expect_err("no scheme").to_string(),
            "`api.example.com` in `allow` of [http]: it has no scheme; write `https://api.example.com`"
        );
        assert_eq!(
            grants(&["https://a.com"], &[("a.com", "x", "y")]).expect_err("no scheme").to_string(),
            "`a.com` in `inject` of [http]: it has no scheme; write `https://a.com`"
        );
    }

    #[test]
    fn a_missing_variable_is_an_error_at_load() {
        let error = grants(&["https://a.com"], &[("https://a.com", "authorization", "Bearer ${OTHER}")]);
        assert_eq!(
            error.expect_err("OTHER is not set").to_string(),
            "`authorization` in [http.inject.\"https://a.com\"] needs the environment variable OTHER, which is \
             not set or empty; set it before starting the host"
        );
    }

    #[test]
    fn an_injection_that_no_request_could_get_is_an_error_at_load() {
        for entry in ["https://a.con", "http://a.com", "https://a.com:8443", "https://a.com/v2"] {
            let error = grants(&["https://a.com/v1"], &[(entry, "authorization", "x")]).expect_err(entry);
            assert_eq!(
                error.to_string(),
                format!(
                    "[http.inject.\"{entry}\"] belongs to nothing in `allow` of [http]; add \"{entry}\" there"
                )
            );
        }
        for entry in ["https://a.com", "https://a.com/v1/chat"] {
            grants(&["https://a.com/v1"], &[(entry, "authorization", "x")]).expect(entry);
        }
    }

    #[test]
    fn of_two_injections_the_one_that_says_more_wins() {
        let grants = grants(
            &["https://a.b.com"],
            &[
                ("https://*.b.com", "x", "any host"),
                ("https://a.b.com", "x", "any path"),
                ("https://a.b.com/v1", "x", "this path"),
                ("https://a.b.com", "y", "as well"),
            ],
        )
        .expect("grants");
        let mut headers = HeaderMap::new();
        grants.inject(&target("https://a.b.com/v1/x"), &mut headers);
        assert_eq!(headers.get("x"), Some(&HeaderValue::from_static("this path")));
        assert_eq!(headers.get("y"), Some(&HeaderValue::from_static("as well")));
        grants.inject(&target("https://a.b.com/v2"), &mut headers);
        assert_eq!(headers.get("x"), Some(&HeaderValue::from_static("any path")));
    }

    #[test]
    fn the_line_that_would_allow_it_keeps_what_is_allowed() {
        let grants = grants(&["https://a.com/v1"], &[]).expect("grants");
        assert_eq!(grants.line_with("https://b.com"), r#"allow = ["https://a.com/v1", "https://b.com"]"#);
        assert_eq!(Grants::none().line_with("https://b.com"), r#"allow = ["https://b.com"]"#);
    }

    #[test]
    fn secrets_have_the_names_of_their_variables_or_of_their_headers() {
        let grants = grants(
            &["https://a.com/v1", "https://b.com"],
            &[
                ("https://a.com/v1", "Authorization", "Bearer ${KEY}"),
                ("https://a.com/v1", "x-version", "2026-01-01"),
                ("https://b.com", "x-two", "${KEY}:${KEY}"),
            ],
        )
        .expect("grants");
        let secrets: Vec<_> =
            grants.secrets().map(|secret| (secret.name, secret.value, secret.plain)).collect();
        let expected = [
            ("KEY", "sk-1", false),
            ("KEY", "sk-1", false),
            ("KEY", "sk-1", false),
            ("x-two of https://b.com", "sk-1:sk-1", false),
            ("authorization of https://a.com/v1", "Bearer sk-1", false),
            ("x-version of https://a.com/v1", "2026-01-01", true),
        ];
        assert_eq!(secrets, expected.map(|(name, value, plain)| (name.to_owned(), value, plain)));
        let printed = format!("{:?}", grants.secrets().collect::<Vec<_>>());
        assert!(printed.contains("KEY") && !printed.contains("sk-1"), "{printed}");
        assert_eq!(Grants::none().secrets().count(), 0);
    }

    #[test]
    fn what_the_operator_trusts_is_one_entry_with_its_headers_as_they_stand() {
        let headers = BTreeMap::from([("x-api-key".to_owned(), "sk-${KEY}$1".to_owned())]);
        let grants = Grants::trusted("http://ollama:11434/v1", &headers).expect("grants");
        let mut headers = HeaderMap::new();
        grants.inject(&target("http://ollama:11434/v1/x"), &mut headers);
        assert_eq!(headers.get("x-api-key"), Some(&HeaderValue::from_static("sk-${KEY}$1")));
        assert!(grants.is_trusted() && !grants.allow(&target("http://ollama:11434/v2")));
        assert!(!format!("{grants:?}").contains("sk-"), "{grants:?}");
    }

    #[test]
    fn a_sidecar_is_never_trusted() {
        let sidecars = grants(&["http://ollama:11434"], &[("http://ollama:11434", "x", "y")]);
        assert!(!sidecars.expect("grants").is_trusted() && !Grants::none().is_trusted());
    }

    #[test]
    fn keys_are_what_variables_held_and_what_is_a_key_by_its_name() {
        for (name, template, expected) in [
            ("authorization", "Bearer ${KEY}", &["sk-1", "sk-1"][..]),
            ("x-mine", "${KEY}", &["sk-1", "sk-1"]),
            ("x-api-key", "sk-3", &["sk-3"]),
            ("authorization", "Bearer sk-3", &["sk-3"]),
            ("anthropic-version", "2023-06-01", &[]),
        ] {
            let grants = grants(&["https://a.com"], &[("https://a.com", name, template)]).expect("grants");
            let keys: Vec<_> = grants.keys().map(|key| std::str::from_utf8(key).expect("text")).collect();
            assert_eq!(keys, expected, "{name}: {template}");
        }
        let headers = BTreeMap::from([("x-mine".to_owned(), "sk-4".to_owned())]);
        let trusted = Grants::trusted("https://a.com", &headers).expect("grants");
        assert_eq!(trusted.keys().collect::<Vec<_>>(), [b"sk-4"], "who runs the host adds no versions");
    }

    #[test]
    fn grants_print_without_their_secrets() {
        let grants = grants(&["https://a.com"], &[("https://a.com", "authorization", "Bearer ${KEY}")]);
        let printed = format!("{:?}", grants.expect("grants"));
        assert!(printed.contains("authorization") && !printed.contains("sk-1"), "{printed}");
    }
}
