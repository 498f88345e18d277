//! Headers that the host adds to a plugin's requests, with values that only the host knows.
//!
//! A value is a template: `${NAME}` is a variable of the host's environment, `$$` is one `$`. It is filled in
//! when the plugin is loaded, so that a missing variable is found then and not at the first request.
//!
//! Costs: a server that repeats what it was sent shows the value to the guest. The entry's path is the way to
//! keep a key from such a corner of a server.

use std::collections::BTreeMap;
use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::entry::Entry;
use crate::grants::GrantError;
use crate::headers::is_hop_by_hop;
use crate::target::Target;

/// The headers that one `[http.inject."…"]` table adds, and to which requests.
#[derive(Debug)]
pub(crate) struct Injection {
    pub(crate) entry: Entry,
    /// The entry as it was written.
    text: String,
    headers: Vec<(HeaderName, Secret)>,
}

/// A value nobody but the server is to see.
struct Secret {
    value: HeaderValue,
    /// Each variable in it, and what that stands for.
    variables: Vec<(String, String)>,
}

/// A value that the host adds to requests, or what stands for a variable in one. Its `Debug` does not show it.
#[non_exhaustive]
pub struct Injected<'a> {
    /// What may be shown in its place: `OPENAI_API_KEY`, or `authorization of https://api.openai.com`.
    pub name: String,
    /// The value itself.
    pub value: &'a str,
    /// Whether it is in the sidecar as it is, without a variable, and its header is none that holds a key: a version, or the
    /// like.
    pub plain: bool,
}

impl fmt::Debug for Injected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injected")
            .field("name", &self.name)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Injection {
    pub(crate) fn parse(
        text: &str,
        headers: &BTreeMap<String, String>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Injection, GrantError> {
        let entry = Entry::parse(text).map_err(|wrong| GrantError::entry("inject", text, wrong))?;
        let headers = headers
            .iter()
            .map(|(name, template)| parse_header(text, name, template, env))
            .collect::<Result<_, _>>()?;
        Ok(Injection { entry, text: text.to_owned(), headers })
    }

    /// Puts these headers in the place of what the guest set under their names.
    pub(crate) fn apply(&self, target: &Target, headers: &mut HeaderMap) {
        if self.entry.allows(target) {
            for (name, secret) in &self.headers {
                headers.insert(name.clone(), secret.value.clone());
            }
        }
    }

    /// What its variables stand for.
    pub(crate) fn variables(&self) -> impl Iterator<Item = Injected<'_>> {
        let variables = self.headers.iter().flat_map(|(_, secret)| &secret.variables);
        variables.map(|(name, value)| Injected { name: name.clone(), value, plain: false })
    }

    /// Its values as they are sent.
    pub(crate) fn values(&self) -> impl Iterator<Item = Injected<'_>> {
        self.headers.iter().filter_map(|(name, secret)| {
            // Made from text, it is text.
            let value = secret.value.to_str().ok()?;
            Some(Injected {
                name: format!("{name} of {}", self.text),
                value,
                plain: secret.variables.is_empty() && !rookery_cassettes::is_key(name.as_str()),
            })
        })
    }
}

fn parse_header(
    entry: &str,
    name: &str,
    template: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(HeaderName, Secret), GrantError> {
    let wrong = |what: String, mend: &str| GrantError::Header {
        entry: entry.to_owned(),
        header: name.to_owned(),
        what,
        mend: mend.to_owned(),
    };
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(wrong("is not a header name".into(), "use letters, digits and `-`"));
    };
    if is_hop_by_hop(&header) || [header::HOST, header::CONTENT_LENGTH, header::TRAILER].contains(&header) {
        return Err(wrong("is the transport's own".into(), "leave it out"));
    }
    let filled = fill(template, env).map_err(|unfilled| match unfilled {
        Unfilled::Missing(variable) => wrong(
            format!("needs the environment variable {variable}, which is not set or empty"),
            "set it before starting the host",
        ),
        Unfilled::Malformed => {
            wrong("has a `$` that begins no variable".into(), "write `${NAME}`, or `$$` for a `$`")
        }
    })?;
    // The message must not quote the value.
    let mut value = HeaderValue::from_str(&filled.text).map_err(|_| {
        wrong(
            "has a value that no header can hold".into(),
            "look for a line break or a letter beyond ASCII in it",
        )
    })?;
    value.set_sensitive(true); // HTTP/2 then keeps it out of its compression table, and `Debug` out of logs.
    Ok((header, Secret { value, variables: filled.variables }))
}

#[derive(Default)]
struct Filled {
    text: String,
    variables: Vec<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Unfilled {
    Missing(String),
    Malformed,
}

fn fill(template: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Filled, Unfilled> {
    let mut filled = Filled::default();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        filled.text.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            filled.text.push('$');
            after
        } else {
            let (name, after) =
                after.strip_prefix('{').and_then(|open| open.split_once('}')).ok_or(Unfilled::Malformed)?;
            if !is_variable(name) {
                return Err(Unfilled::Malformed);
            }
            let value = env(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| Unfilled::Missing(name.to_owned()))?;
            filled.text.push_str(&value);
            filled.variables.push((name.to_owned(), value));
            after
        };
    }
    filled.text.push_str(rest);
    Ok(filled)
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "KEY" => Some("sk-1$2".into()),
            "EMPTY" => Some(String::new()),
            "LINES" => Some("sk-1\nsk-2".into()),
            _ => None,
        }
    }

    fn injection(name: &str, template: &str) -> Result<Injection, GrantError> {
        Injection::parse("https://a.com/v1", &BTreeMap::from([(name.into(), template.into())]), &env)
    }

    #[test]
    fn a_template_is_filled_from_the_environment_once() {
        for (template, expected) in [
            ("plain", Ok("plain")),
            ("Bearer ${KEY}", Ok("Bearer sk-1$2")),
            ("${KEY}${KEY}", Ok("sk-1$2sk-1$2")),
            ("$$", Ok("$")),
            ("$${KEY}", Ok("${KEY}")),
            ("${GONE}", Err(Unfilled::Missing("GONE".into()))),
            ("${EMPTY}", Err(Unfilled::Missing("EMPTY".into()))),
            ("$KEY", Err(Unfilled::Malformed)),
            ("${KEY", Err(Unfilled::Malformed)),
            ("${}", Err(Unfilled::Malformed)),
            ("${1A}", Err(Unfilled::Malformed)),
            ("cost: 5$", Err(Unfilled::Malformed)),
        ] {
            assert_eq!(
                fill(template, &env).map(|filled| filled.text),
                expected.map(str::to_owned),
                "{template}"
            );
        }
    }

    #[test]
    fn a_header_that_cannot_be_added_is_refused_by_name_and_without_its_value() {
        for (name, template, what) in [
            ("authorization", "${GONE}", "needs the environment variable GONE, which is not set or empty"),
            ("authorization", "${LINES}", "has a value that no header can hold"),
            ("authorization", "$", "has a `$` that begins no variable"),
            ("a b", "x", "is not a header name"),
            ("Host", "x", "is the transport's own"),
            ("content-length", "1", "is the transport's own"),
            ("Transfer-Encoding", "chunked", "is the transport's own"),
            ("connection", "close", "is the transport's own"),
        ] {
            let message = injection(name, template).expect_err(name).to_string();
            assert!(message.contains(&format!("`{name}`")) && message.contains(what), "{message}");
            assert!(!message.contains("sk-"), "{message}");
        }
    }

    #[test]
    fn an_injected_header_takes_the_place_of_the_guests() {
        let injection = injection("Authorization", "Bearer ${KEY}").expect("an injection");
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("mine"));
        headers.append("authorization", HeaderValue::from_static("and mine"));
        let target = |url: &str| Target::parse(&url.parse().expect("a URL")).expect("a target");

        for url in ["https://a.com/", "http://a.com/v1", "https://a.com/v1/../x", "https://b.a.com/v1"] {
            injection.apply(&target(url), &mut headers);
            assert_eq!(headers.get("authorization").expect("one"), "mine", "{url}");
        }
        injection.apply(&target("https://a.com/v1/x"), &mut headers);
        let all: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(all, ["Bearer sk-1$2"]);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let injection = injection("authorization", "Bearer ${KEY}").expect("an injection");
        let mut headers = HeaderMap::new();
        let target = Target::parse(&"https://a.com/v1".parse().expect("a URL")).expect("a target");
        injection.apply(&target, &mut headers);
        for printed in [format!("{injection:?}"), format!("{headers:?}")] {
            assert!(printed.contains("authorization") && !printed.contains("sk-"), "{printed}");
        }
    }
}
