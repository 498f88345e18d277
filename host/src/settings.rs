//! What the host's own file, `rookery.toml`, says: the models that plugins may be granted.
//!
//! Promises: a file that parsed is whole; one that did not is told all that is wrong with it, with the lines. No message
//! repeats what may be a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rookery_models::{Dialect, Key, ModelName, Provider, Timeouts};
use rookery_tables::{Entry, Expected, MONEY, Mistake, Mistakes, SPAN, Table, money, span};
use rookery_usage::{Money, Price};
use toml::de::DeTable;

use crate::command::Hint;
use crate::terminal::Terminal;

/// Such a file has some dozen lines; what is larger is another one.
const LARGEST: u64 = 1 << 20;

/// What the host's own file says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The host's models; of several providers of one name the later ones are fallbacks.
    pub models: BTreeMap<ModelName, Vec<Provider>>,
    /// What they cost, as far as that is said. Of several providers the dearest counts.
    pub prices: BTreeMap<ModelName, Price>,
}

/// Why the host's own file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The operating system did not let it be read.
    #[error("`{}` cannot be read: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It is something else.
    #[error("`{}` is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// What it says is not understood.
    #[error("`{}` says what is not understood", .0.display())]
    Mistakes(PathBuf, Vec<Mistake>),
}

impl Settings {
    /// What the file that was named says, or else `rookery.toml` in the current folder, if there is one. What is wrong with it
    /// is told. Blocks.
    pub(crate) fn found(named: Option<&Path>, terminal: &Terminal) -> anyhow::Result<Self> {
        let usual = Path::new("rookery.toml");
        let Some(path) = named.or(usual.exists().then_some(usual)) else { return Ok(Self::default()) };
        match Self::read(path, &|name| std::env::var(name).ok()) {
            Ok(settings) => Ok(settings),
            Err(SettingsError::Mistakes(path, mistakes)) => {
                for Mistake { line, what, hint } in &mistakes {
                    let line = line.map_or_else(String::new, |line| format!(":{line}"));
                    terminal.error(&format!("`{}{line}`: {what}", path.display()), Some(hint));
                }
                anyhow::bail!("`{}` cannot be used as it is", path.display());
            }
            Err(error) => {
                let hint = Hint::new("name the host's own file with --config, or take the flag out");
                Err(anyhow::Error::new(error).context(hint))
            }
        }
    }

    /// Reads the file. Blocks.
    ///
    /// # Errors
    ///
    /// When there is none, or something in it is not understood.
    pub fn read(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let unreadable = |error| SettingsError::Unreadable { path: path.to_owned(), error };
        if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
            return Err(SettingsError::TooLarge(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder, environment)
            .map_err(|mistakes| SettingsError::Mistakes(path.to_owned(), mistakes))
    }

    /// Reads such a file's text; files that it names are looked for from `folder`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, from the top down.
    pub fn parse(
        text: &str,
        folder: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Mistake>> {
        let mistakes = Mistakes::of(text);
        let document = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| mistakes.line(span.start));
            let hint =
                "a key stands before its value, `key = \"text\"`, and a table's name in brackets, `[name]`"
                    .into();
            vec![Mistake { line, what: format!("it is no TOML: {}", error.message()), hint }]
        })?;
        let root = Table::root(&mistakes, document.get_ref());
        let reading = Reading { folder, environment };
        let settings = reading.settings(&root);
        root.only(&["models"], |_| None);
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes.into_found()) }
    }
}

/// The keys of a provider.
const PROVIDER: [&str; 11] = [
    "provider",
    "url",
    "model",
    "key",
    "key_file",
    "headers",
    "retries",
    "connect_timeout",
    "first_token_timeout",
    "silence_timeout",
    "price",
];

/// Where values are found that are not in the file itself.
struct Reading<'a> {
    folder: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Reading<'_> {
    fn settings(&self, root: &Table<'_>) -> Settings {
        let mut settings = Settings::default();
        let Some(models) = root.table("models") else { return settings };
        for model in models.entries() {
            let Ok(name) = model.key.parse::<ModelName>() else {
                let hint = "use 1 to 64 characters of A–Z a–z 0–9 . _ -, such as [models.fast]".into();
                model.mistake("that is no name of a model".into(), hint);
                continue;
            };
            let providers = model.tables();
            let prices: Vec<_> = providers.iter().map(price).collect();
            // A provider without a price could cost anything.
            if let Some(prices) = prices.into_iter().collect::<Option<Vec<_>>>() {
                let dearest = |part: fn(&Price) -> Money| prices.iter().map(part).max().unwrap_or_default();
                let price =
                    Price { input: dearest(|price| price.input), output: dearest(|price| price.output) };
                settings.prices.insert(name.clone(), price);
            }
            let providers = providers.iter().filter_map(|table| self.provider(model, table)).collect();
            settings.models.insert(name, providers);
        }
        settings
    }

    fn provider(&self, name: Entry<'_>, table: &Table<'_>) -> Option<Provider> {
        table.only(&PROVIDER, |_| None);
        let dialect = table.read("provider", None, DIALECT, |value| match value.as_str()? {
            "openai" => Some(Some(Dialect::OpenAi)),
            "anthropic" => Some(Some(Dialect::Anthropic)),
            _ => None,
        });
        let text =
            |key, expected| table.read(key, None, expected, |value| Some(Some(value.as_str()?.to_owned())));
        let model = text("model", MODEL);
        for (key, expected, found) in
            [("provider", DIALECT, dialect.is_some()), ("model", MODEL, model.is_some())]
        {
            // Where it is there and wrong, that has been said.
            if !found && table.get(key).is_none() {
                name.mistake(
                    format!("a provider of the model `{}` has no `{key}`", name.key),
                    format!("write for example `{key} = {}`", expected.example),
                );
            }
        }
        let usual = Provider::new(Dialect::OpenAi, "", "");
        let (key, headers, url) = (self.key(table), self.headers(table), text("url", URL));
        let retries = table.read("retries", usual.retries, RETRIES, |value| {
            let retries = value.as_integer()?;
            u32::from_str_radix(retries.as_str(), retries.radix()).ok().filter(|retries| *retries <= 10)
        });
        let timeouts = Timeouts {
            connect: table.read("connect_timeout", usual.timeouts.connect, SPAN, span),
            first_token: table.read("first_token_timeout", usual.timeouts.first_token, SPAN, span),
            silence: table.read("silence_timeout", usual.timeouts.silence, SPAN, span),
        };
        // What is missing is only missed here, so that all mistakes are told at once.
        let (dialect, model) = (dialect?, model?);
        let url = url.unwrap_or_else(|| match dialect {
            Dialect::OpenAi => "https://api.openai.com/v1".to_owned(),
            Dialect::Anthropic => "https://api.anthropic.com".to_owned(),
        });
        Some(Provider { dialect, url, model, key, headers, retries, timeouts })
    }

    /// The key, from the environment or a file: it does not belong into this one, which people show each other.
    fn key(&self, table: &Table<'_>) -> Option<Key> {
        match (table.get("key"), table.get("key_file")) {
            (Some(_), Some(file)) => {
                file.mistake("`key_file` stands beside `key`".into(), "keep one of them".into());
                None
            }
            (Some(key), None) => self.variable(key).and_then(|key| Key::new(&key)),
            (None, Some(file)) => self.file(file),
            (None, None) => None,
        }
    }

    fn file(&self, entry: Entry<'_>) -> Option<Key> {
        let Some(path) = entry.value.as_str() else {
            entry
                .is_not("the path of a file", "write for example `key_file = \"/run/secrets/model\"`".into());
            return None;
        };
        let path = self.folder.join(path);
        match std::fs::read_to_string(&path).map(|key| Key::new(&key)) {
            Ok(Some(key)) => Some(key),
            Ok(None) => {
                entry.mistake(
                    format!("the key file `{}` is empty", path.display()),
                    "put the key into it".into(),
                );
                None
            }
            Err(error) => {
                let what = format!("the key file `{}` cannot be read: {error}", path.display());
                entry.mistake(what, "look at who may read it, and where it lies".into());
                None
            }
        }
    }

    /// The variable that `${NAME}` stands for.
    fn variable(&self, entry: Entry<'_>) -> Option<String> {
        let name = entry.value.as_str().and_then(|text| text.strip_prefix("${")?.strip_suffix('}'));
        let Some(name) = name.filter(|name| !name.is_empty() && !name.contains(['$', '{', '}'])) else {
            let hint =
                format!("write for example `{} = \"${{OPENAI_API_KEY}}\"`, and set that variable", entry.key);
            entry.hidden_is_not("the name of a variable", hint);
            return None;
        };
        let value = (self.environment)(name).filter(|value| !value.trim().is_empty());
        if value.is_none() {
            entry.mistake(
                format!("`{}` needs the environment variable {name}, which is not set or empty", entry.key),
                "set it before starting the host, or take the model out".into(),
            );
        }
        value
    }

    fn headers(&self, table: &Table<'_>) -> BTreeMap<String, String> {
        let Some(headers) = table.table("headers") else { return BTreeMap::new() };
        let read = headers.entries().filter_map(|header| match header.value.as_str() {
            Some(text) if text.starts_with("${") => Some((header.key.to_owned(), self.variable(header)?)),
            Some(text) => Some((header.key.to_owned(), text.to_owned())),
            None => {
                header.hidden_is_not("a string", "write for example `x-title = \"My agents\"`".into());
                None
            }
        });
        read.collect()
    }
}

/// What a provider's tokens cost.
fn price(table: &Table<'_>) -> Option<Price> {
    let price = table.table("price")?;
    price.only(&["input", "output"], |_| None);
    let part = |key| price.read(key, Money::default(), MONEY, money);
    Some(Price { input: part("input"), output: part("output") })
}

const DIALECT: Expected<'_> =
    Expected { what: r#"a provider that is known, "openai" or "anthropic""#, example: r#""openai""# };

const MODEL: Expected<'_> = Expected { what: "the provider's name of a model", example: r#""gpt-4o-mini""# };

const URL: Expected<'_> = Expected { what: "a URL", example: r#""https://api.openai.com/v1""# };

const RETRIES: Expected<'_> = Expected { what: "a number from 0 to 10", example: "2" };

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, Vec<Mistake>> {
        Settings::parse(text, Path::new(""), &|name| (name == "KEY").then(|| "sk-1".into()))
    }

    /// Every mistake as `line: what; hint`.
    fn wrong(text: &str) -> Vec<String> {
        let shown = |Mistake { line, what, hint }| format!("{}: {what}; {hint}", line.expect("a line"));
        parse(text).expect_err(text).into_iter().map(shown).collect()
    }

    #[test]
    fn a_model_has_one_provider_or_several_in_their_order() {
        let settings = parse(
            r#"
            [models.fast]
            provider = "openai"
            model = "gpt-4o-mini"
            key = "${KEY}"
            retries = 0
            price = { input = "0.15", output = 0.6 }
            first_token_timeout = "5s"
            headers = { x-title = "agents", x-secret = "${KEY}" }
            [[models.wise]]
            provider = "anthropic"
            model = "claude"
            [[models.wise]]
            provider = "openai"
            url = "http://localhost:11434/v1"
            model = "llama"
            "#,
        )
        .expect("it is right");
        let fast = &settings.models["fast"][..];
        let [fast] = fast else { panic!("{fast:?}") };
        assert_eq!((fast.url.as_str(), fast.model.as_str()), ("https://api.openai.com/v1", "gpt-4o-mini"));
        assert_eq!((fast.key.clone(), fast.retries), (Key::new("sk-1"), 0));
        assert_eq!(fast.timeouts.first_token.as_secs(), 5);
        assert_eq!(fast.headers["x-secret"], "sk-1");
        assert_eq!(settings.prices["fast"], Price { input: Money(150_000), output: Money(600_000) });
        assert!(!settings.prices.contains_key("wise"), "nobody says what it costs");
        let wise: Vec<_> =
            settings.models["wise"].iter().map(|one| (one.dialect, one.url.as_str())).collect();
        let expected = [
            (Dialect::Anthropic, "https://api.anthropic.com"),
            (Dialect::OpenAi, "http://localhost:11434/v1"),
        ];
        assert_eq!(wise, expected);
        assert!(parse("").expect("nothing is right too").models.is_empty());
    }

    #[test]
    fn a_key_may_lie_in_a_file_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "sk-2\n").unwrap();
        let text = "[models.a]\nprovider = \"openai\"\nmodel = \"m\"\nkey_file = \"key\"";
        let settings = Settings::parse(text, folder.path(), &|_| None).expect("it is right");
        assert_eq!(settings.models["a"][0].key, Key::new("sk-2"));
        std::fs::write(folder.path().join("key"), " \n").unwrap();
        let mistakes = Settings::parse(text, folder.path(), &|_| None).expect_err("an empty key");
        assert!(mistakes[0].to_string().contains("is empty"), "{mistakes:?}");
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_no_key_is_repeated() {
        let right = "provider = \"openai\"\nmodel = \"m\"\n";
        let table = [
            ("[model.a]", "1: unknown key `model`; did you mean `models`?".to_owned()),
            (
                "[models.a]\nprovider = \"open\"\nmodel = \"m\"",
                "2: `provider = \"open\"` in [models.a] is not a provider that is known, \"openai\" or \
                 \"anthropic\"; write for example `provider = \"openai\"`"
                    .to_owned(),
            ),
            (
                "[models.a]\nprovider = \"openai\"",
                "1: a provider of the model `a` has no `model`; write for example `model = \"gpt-4o-mini\"`".to_owned(),
            ),
            (
                &format!("[models.a]\n{right}key = \"sk-9\""),
                "4: `key` in [models.a] is not the name of a variable; write for example `key = \
                 \"${OPENAI_API_KEY}\"`, and set that variable"
                    .to_owned(),
            ),
            (
                &format!("[models.a]\n{right}key = \"${{NONE}}\""),
                "4: `key` needs the environment variable NONE, which is not set or empty; set it before starting \
                 the host, or take the model out"
                    .to_owned(),
            ),
            (
                &format!("[models.a]\n{right}key = \"${{KEY}}\"\nkey_file = \"x\""),
                "5: `key_file` stands beside `key`; keep one of them".to_owned(),
            ),
            (
                &format!("[models.a]\n{right}modle = 1"),
                "4: unknown key `modle` in [models.a]; did you mean `model`?".to_owned(),
            ),
            (
                &format!("[models.\"a b\"]\n{right}"),
                "1: that is no name of a model; use 1 to 64 characters of A–Z a–z 0–9 . _ -, such as [models.fast]"
                    .to_owned(),
            ),
            ("[models]\na = 1", "2: `a` in [models] is not a table; write [models.a] on a line of its own, and its keys below".to_owned()),
        ];
        for (text, expected) in table {
            assert_eq!(wrong(text), [expected], "{text}");
        }
        let several = wrong("[models.a]\nretries = 11\nsilence_timeout = 1\n");
        assert_eq!(several.len(), 4, "{several:?}");
    }
}
