//! What one plugin's texts are searched for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::forms::forms;
use crate::found::{Found, Hit, MARK, Stretch};
use crate::mask::Mask;
use crate::search::Search;
use crate::secrets::{LONGEST, SHORTEST, Secrets};

/// The values of one plugin, ready to be searched for. Copies are the same guard. Its `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Guard {
    /// Not there if there is nothing to search for: then every call returns what it was given.
    known: Option<Arc<Known>>,
    too_short: Arc<[String]>,
}

pub(crate) struct Known {
    pub(crate) search: Search,
    pub(crate) names: Vec<Arc<str>>,
    hits: Vec<AtomicU64>,
}

/// A text without values.
#[derive(Debug)]
#[non_exhaustive]
pub struct Masked<'a> {
    /// The text itself if there was nothing in it.
    pub text: Cow<'a, str>,
    /// What was masked, each name once.
    pub hits: Vec<Hit>,
}

/// Why there can be no guard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The value is longer than [`LONGEST`].
    #[error(
        "the value of {name} has {length} bytes, and at most {LONGEST} can be searched for; inject a shorter one"
    )]
    TooLong {
        /// The value's name.
        name: String,
        /// How long it is, in bytes.
        length: usize,
    },
    /// All forms together take more than an automaton can have, some hundred MiB.
    #[error(
        "the values of {count} injected headers and variables are too long to be searched for; inject shorter ones"
    )]
    TooMuch {
        /// How many secrets there are.
        count: usize,
    },
}

impl Guard {
    /// Searches for these values. Those of less than [`SHORTEST`] bytes are left out; see [`Guard::too_short`].
    pub fn new(secrets: &Secrets) -> Result<Guard, GuardError> {
        let (mut names, mut texts) = (Vec::<Arc<str>>::new(), Vec::<(String, usize)>::new());
        let (mut by_name, mut by_text) = (HashMap::<&str, usize>::new(), HashMap::<String, usize>::new());
        let mut too_short = Vec::new();
        for secret in &secrets.0 {
            if secret.value.len() > LONGEST {
                return Err(GuardError::TooLong { name: secret.name.clone(), length: secret.value.len() });
            }
            if secret.parts().any(|part| part.len() < SHORTEST) && !too_short.contains(&secret.name) {
                too_short.push(secret.name.clone());
            }
            for text in secret.parts().filter(|part| part.len() >= SHORTEST).flat_map(forms) {
                if by_text.contains_key(&text) {
                    continue;
                }
                let name = *by_name.entry(&secret.name).or_insert_with(|| {
                    names.push(secret.name.as_str().into());
                    names.len() - 1
                });
                by_text.insert(text.clone(), name);
                texts.push((text, name));
            }
        }
        let known = if texts.is_empty() {
            None
        } else {
            // What the library says names no text, and nothing else to do either.
            let search = Search::new(&texts).map_err(|_| GuardError::TooMuch { count: secrets.0.len() })?;
            let hits = names.iter().map(|_| AtomicU64::new(0)).collect();
            Some(Arc::new(Known { search, names, hits }))
        };
        Ok(Guard { known, too_short: too_short.into() })
    }

    /// A guard that has nothing to search for. It costs nothing.
    pub fn none() -> Guard {
        Guard::default()
    }

    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.known.is_none()
    }

    /// The names of values of which the whole or what stands behind the scheme is too short to be searched for.
    pub fn too_short(&self) -> &[String] {
        &self.too_short
    }

    /// The mask of one stream of text. Streams share the guard, not what they hold back.
    pub fn stream(&self) -> Mask {
        Mask::new(self.known.clone())
    }

    /// Masks the values in a text that is whole.
    ///
    /// JSON stays JSON as long as values lie within its strings. One that reads as a number need not.
    pub fn mask<'a>(&self, text: &'a str) -> Masked<'a> {
        let mut masked = Masked { text: Cow::Borrowed(text), hits: Vec::new() };
        if let Some(known) = self.known.as_deref()
            && known.search.suspects(&[], text.as_bytes())
        {
            masked.text = known.mask(text, &mut masked.hits);
        }
        masked
    }

    /// How many times each name's value was found so far, in streams and elsewhere. A name that shares all its values with
    /// earlier ones is not among them, nor is one that has only short ones.
    pub fn hits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.known.iter().flat_map(|known| {
            known.names.iter().zip(&known.hits).map(|(name, count)| (&**name, count.load(Relaxed)))
        })
    }
}

impl Known {
    fn mask<'a>(&self, text: &'a str, hits: &mut Vec<Hit>) -> Cow<'a, str> {
        let mut found = Found::default();
        self.search.scan(None, &[], text.as_bytes(), |place| {
            let stretch = Stretch { from: (place.end - place.length) as u64, to: place.end as u64 };
            found.add(stretch, place.name, &self.names, hits);
        });
        if found.stretches.is_empty() {
            return Cow::Borrowed(text);
        }
        self.count(hits);
        let (mut masked, mut at) = (String::with_capacity(text.len()), 0);
        for Stretch { from, to } in found.stretches {
            masked.push_str(&text[at..from as usize]);
            masked.push_str(MARK);
            at = to as usize;
        }
        masked.push_str(&text[at..]);
        Cow::Owned(masked)
    }

    pub(crate) fn count(&self, hits: &[Hit]) {
        for hit in hits {
            if let Some(at) = self.names.iter().position(|name| Arc::ptr_eq(name, &hit.name)) {
                self.hits[at].fetch_add(hit.times, Relaxed);
            }
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.hits()).finish()
    }
}
