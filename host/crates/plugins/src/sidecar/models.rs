//! [models]: which of the host's models a plugin may ask.

use rookery_tables::{Expected, TEXTS, Table, texts};

/// Which of the host's models a plugin may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// The one that is asked where the guest names none.
    pub default: Option<String>,
    /// Those that the guest may name besides.
    pub others: Vec<String>,
}

pub(super) const KEYS: &[&str] = &["default", "others"];

const MODEL: Expected<'_> = Expected { what: "the name of a model", example: r#""fast""# };

impl Models {
    pub(super) fn read(models: &Table<'_>) -> Self {
        Self {
            default: models.read("default", None, MODEL, |value| Some(Some(value.as_str()?.to_owned()))),
            others: models.read("others", Vec::new(), TEXTS, texts),
        }
    }
}
