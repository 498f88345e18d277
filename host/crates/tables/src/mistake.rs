//! What is wrong with a file.

use std::cell::RefCell;
use std::fmt;

/// What is wrong with a file, in one place.
#[derive(Debug)]
pub struct Mistake {
    /// Counted from 1; none where it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong. Never holds what may be a secret.
    pub what: String,
    /// What would mend it.
    pub hint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Mistake {}

/// What is wrong with one file, collected on the way.
pub struct Mistakes<'a> {
    text: &'a str,
    found: RefCell<Vec<Mistake>>,
}

impl<'a> Mistakes<'a> {
    /// None so far in this text.
    pub fn of(text: &'a str) -> Self {
        Self { text, found: RefCell::default() }
    }

    /// Notes one.
    pub fn add(&self, mistake: Mistake) {
        self.found.borrow_mut().push(mistake);
    }

    /// Whether there are none so far.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The line of a byte of the text, counted from 1.
    pub fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    /// What was found, from the top of the file down.
    pub fn into_found(self) -> Vec<Mistake> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|mistake| mistake.line);
        found
    }
}
