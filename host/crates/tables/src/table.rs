//! A table that is read key by key, and remembers what was wrong with it.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::mistake::{Mistake, Mistakes};

/// A table and the place where it stands.
pub struct Table<'a> {
    mistakes: &'a Mistakes<'a>,
    /// Empty for the whole file; `http.inject` where that is the table's title.
    path: String,
    table: &'a DeTable<'a>,
}

/// What a value should be.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// Follows "it is not".
    pub what: &'a str,
    /// As it would stand in the file.
    pub example: &'a str,
}

/// One key of a table, and its value.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a str,
    /// Its value.
    pub value: &'a DeValue<'a>,
    at: usize,
    mistakes: &'a Mistakes<'a>,
    path: &'a str,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub fn root(mistakes: &'a Mistakes<'a>, table: &'a DeTable<'a>) -> Self {
        Self { mistakes, path: String::new(), table }
    }

    /// The table of this name, where there is one.
    pub fn table(&'a self, key: &str) -> Option<Table<'a>> {
        self.get(key).and_then(Entry::table)
    }

    /// The key of this name, where there is one.
    pub fn get(&'a self, key: &str) -> Option<Entry<'a>> {
        self.table.get_key_value(key).map(|(key, value)| self.entry(key, value))
    }

    /// All keys.
    pub fn entries(&'a self) -> impl Iterator<Item = Entry<'a>> {
        self.table.iter().map(|(key, value)| self.entry(key, value))
    }

    fn entry(&'a self, key: &'a Spanned<DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Entry<'a> {
        let at = key.span().start;
        Entry { key: key.get_ref(), value: value.get_ref(), at, mistakes: self.mistakes, path: &self.path }
    }

    /// What `read` makes of the key's value; the default where there is none, and where it is not what is `expected`.
    pub fn read<T>(
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

    /// Makes every key a mistake that is not one of these. `home` knows the table that a stray key belongs in.
    pub fn only(&self, known: &[&str], home: impl Fn(&str) -> Option<&'static str>) {
        for entry in self.entries().filter(|entry| !known.contains(&entry.key)) {
            let hint = match (home(entry.key), nearest(entry.key, known)) {
                (Some(table), _) => format!("it belongs in [{table}]"),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("the keys here are {}", listed(known)),
            };
            entry.mistake(format!("unknown key `{}`{}", shown(entry.key), within(&self.path)), hint);
        }
    }
}

impl<'a> Entry<'a> {
    /// The value, which should be a table.
    pub fn table(self) -> Option<Table<'a>> {
        let path = child(self.path, self.key);
        let DeValue::Table(table) = self.value else {
            self.hidden_is_not("a table", format!("write [{path}] on a line of its own, and its keys below"));
            return None;
        };
        Some(Table { mistakes: self.mistakes, path, table })
    }

    /// The value, which should be a table, or several of one name: `[[name]]`.
    pub fn tables(self) -> Vec<Table<'a>> {
        let DeValue::Array(tables) = self.value else { return self.table().into_iter().collect() };
        let path = child(self.path, self.key);
        let found = tables.iter().filter_map(|table| match table.get_ref() {
            DeValue::Table(table) => Some(Table { mistakes: self.mistakes, path: path.clone(), table }),
            _ => {
                self.hidden_is_not(
                    "a list of tables",
                    format!("write [[{path}]] on a line of its own for each"),
                );
                None
            }
        });
        found.collect()
    }

    /// Where it stands, counted from 1.
    pub fn line(self) -> usize {
        self.mistakes.line(self.at)
    }

    /// The value is not what it should be.
    pub fn is_not(self, what: &str, hint: String) {
        let assigned = format!("{} = {}", shown(self.key), written(self.value));
        self.mistake(format!("`{assigned}`{} is not {what}", within(self.path)), hint);
    }

    /// The value is not what it should be, and may be a secret.
    pub fn hidden_is_not(self, what: &str, hint: String) {
        self.mistake(format!("`{}`{} is not {what}", shown(self.key), within(self.path)), hint);
    }

    /// Something is wrong with it.
    pub fn mistake(self, what: String, hint: String) {
        self.mistakes.add(Mistake { line: Some(self.line()), what, hint });
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
