//! A table of a sidecar that is read key by key, and remembers what was wrong with it.
//!
//! Promise: what a sidecar says is either understood or an error with its line; no key is passed over.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::error::SidecarError;

/// A table and the place where it stands.
pub(crate) struct Table<'a> {
    errors: &'a Errors<'a>,
    /// Empty for the whole file; `http.inject` where that is the table's title.
    path: String,
    table: &'a DeTable<'a>,
}

/// What a value should be.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Follows "it is not".
    pub(crate) what: &'a str,
    /// As it would stand in the file.
    pub(crate) example: &'a str,
}

/// One key of a table, and its value.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a DeValue<'a>,
    at: usize,
    errors: &'a Errors<'a>,
    path: &'a str,
}

/// What is wrong with one sidecar, collected on the way.
pub(crate) struct Errors<'a> {
    text: &'a str,
    found: RefCell<Vec<SidecarError>>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(crate) fn root(errors: &'a Errors<'a>, table: &'a DeTable<'a>) -> Self {
        Self { errors, path: String::new(), table }
    }

    /// The table of this name, where there is one.
    pub(crate) fn table(&'a self, key: &str) -> Option<Table<'a>> {
        self.get(key).and_then(Entry::table)
    }

    pub(crate) fn get(&'a self, key: &str) -> Option<Entry<'a>> {
        self.table.get_key_value(key).map(|(key, value)| self.entry(key, value))
    }

    pub(crate) fn entries(&'a self) -> impl Iterator<Item = Entry<'a>> {
        self.table.iter().map(|(key, value)| self.entry(key, value))
    }

    fn entry(&'a self, key: &'a Spanned<DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Entry<'a> {
        let at = key.span().start;
        Entry { key: key.get_ref(), value: value.get_ref(), at, errors: self.errors, path: &self.path }
    }

    /// What `read` makes of the key's value; the default where there is none, and where it is not what is `expected`.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        default: T,
        expected: Expected<'_>,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> T {
        let Some(entry) = self.get(key) else { return default };
        read(entry.value).unwrap_or_else(|| {
            entry.is_not(expected.what, format!("write for example `{key} = {}`", expected.example));
            default
        })
    }

    /// Makes every key an error that is not one of these. `home` knows the table that a stray key belongs in.
    pub(crate) fn only(&self, known: &[&str], home: impl Fn(&str) -> Option<&'static str>) {
        for entry in self.entries().filter(|entry| !known.contains(&entry.key)) {
            let hint = match (home(entry.key), nearest(entry.key, known)) {
                (Some(table), _) => format!("it belongs in [{table}]"),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("the keys here are {}", listed(known)),
            };
            entry.error(format!("unknown key `{}`{}", shown(entry.key), within(&self.path)), hint);
        }
    }
}

impl<'a> Entry<'a> {
    /// The value, which should be a table.
    pub(crate) fn table(self) -> Option<Table<'a>> {
        let path = child(self.path, self.key);
        let DeValue::Table(table) = self.value else {
            self.hidden_is_not("a table", format!("write [{path}] on a line of its own, and its keys below"));
            return None;
        };
        Some(Table { errors: self.errors, path, table })
    }

    pub(crate) fn line(self) -> usize {
        self.errors.line(self.at)
    }

    /// The value is not what it should be.
    pub(crate) fn is_not(self, what: &str, hint: String) {
        let assigned = format!("{} = {}", shown(self.key), written(self.value));
        self.error(format!("`{assigned}`{} is not {what}", within(self.path)), hint);
    }

    /// The value is not what it should be, and may be a secret.
    pub(crate) fn hidden_is_not(self, what: &str, hint: String) {
        self.error(format!("`{}`{} is not {what}", shown(self.key), within(self.path)), hint);
    }

    fn error(self, what: String, hint: String) {
        self.errors.add(SidecarError { line: Some(self.line()), what, hint });
    }
}

impl<'a> Errors<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, found: RefCell::default() }
    }

    pub(crate) fn add(&self, error: SidecarError) {
        self.found.borrow_mut().push(error);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Counted from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    /// What was found, from the top of the file down.
    pub(crate) fn into_found(self) -> Vec<SidecarError> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|error| error.line);
        found
    }
}

/// The known word that is most like this one, if it is like it at all.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Jaro and Winkler look for common letters and beginnings, which finds `mem` for `memory` where counting edits
    // would not. Unrelated words of these lengths score about a half.
    let (likeness, near) = known
        .iter()
        .map(|known| (strsim::jaro_winkler(&word.to_ascii_lowercase(), known), *known))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (likeness >= 0.7).then_some(near)
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn child(path: &str, key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if bare { key.to_owned() } else { format!("{:?}", shown(key)) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn within(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" in [{path}]") }
}

/// A value as somebody would have written it.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shown(text)),
        DeValue::Integer(number) => shown(&number.to_string()),
        DeValue::Float(number) => shown(&number.to_string()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "[…]".into(),
        DeValue::Table(_) => "{…}".into(),
    }
}

/// As much of a text as a message repeats, on one line.
fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
