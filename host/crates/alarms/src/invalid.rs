//! Why a timing is none.

/// Why a timing is none: which field, what it was, and what to write instead. For the plugin's author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(crate) String);

/// How much of a wrong text an error repeats: guests write these, and they may be long.
const SHOWN: usize = 40;

/// The beginning of a wrong text.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
