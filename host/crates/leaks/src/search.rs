//! Where values are in a text that comes in pieces.
//!
//! Promises: every place where a form ends is found, and at the end of each piece it is known how much of it may be the
//! beginning of one.
//! Costs: an automaton looks at each byte about twice at most, and only where [`Filter`] sees a reason to.

use std::collections::HashMap;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, BuildError};

use crate::filter::Filter;

/// An end that so many bytes of a value begin is held back, in bytes. With fewer, most words that end in `s` would wait
/// because a key begins with `sk-`; of what is one less, nobody can make a key.
pub const HELD_FROM: usize = 4;

pub(crate) struct Search {
    filter: Filter,
    automaton: NFA,
    start: StateID,
    forms: Vec<Form>,
    /// For each state how many of the last bytes a longer form begins with. Where it is none, the state is missing.
    growing: HashMap<StateID, usize>,
}

/// What is known of a form that is searched for.
struct Form {
    length: usize,
    name: usize,
}

/// An end that may be the beginning of a form.
#[derive(Clone, Copy)]
pub(crate) struct Alive {
    state: StateID,
    /// So many bytes, at least [`HELD_FROM`].
    pub(crate) bytes: usize,
}

/// One place of a value.
pub(crate) struct Place {
    /// Behind its last byte, counted from the first of `before`.
    pub(crate) end: usize,
    pub(crate) length: usize,
    pub(crate) name: usize,
}

impl Search {
    /// Searches for these forms, each with the number of its name. They are different and none is shorter than
    /// [`SHORTEST`](crate::SHORTEST).
    pub(crate) fn new(forms: &[(String, usize)]) -> Result<Search, BuildError> {
        let texts = || forms.iter().map(|(text, _)| text.as_bytes());
        let automaton = NFA::builder().prefilter(false).build(texts())?;
        // An automaton without anchors always has this state.
        let start = automaton.start_state(Anchored::No).unwrap_or_default();
        let mut search = Search {
            filter: Filter::new(texts()),
            automaton,
            start,
            forms: forms.iter().map(|(text, name)| Form { length: text.len(), name: *name }).collect(),
            growing: HashMap::new(),
        };
        search.grow(texts().collect());
        Ok(search)
    }

    fn grow(&mut self, mut texts: Vec<&[u8]>) {
        for text in &texts {
            let mut state = self.start;
            for (at, byte) in text[..text.len() - 1].iter().enumerate() {
                state = self.step(state, *byte);
                self.growing.insert(state, at + 1);
            }
        }
        // A whole form grows only as far as a longer one begins with its end. The shorter ones first: the state of that end
        // may be that of a whole form in its turn.
        texts.sort_unstable_by_key(|text| text.len());
        for text in texts {
            let whole = self.walk(text);
            if !self.growing.contains_key(&whole) {
                let end = self.walk(&text[1..]);
                if let Some(&bytes) = self.growing.get(&end) {
                    self.growing.insert(whole, bytes);
                }
            }
        }
    }

    fn walk(&self, text: &[u8]) -> StateID {
        text.iter().fold(self.start, |state, byte| self.step(state, *byte))
    }

    fn step(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    /// Whether there is anything to search for in `text`. `before` has the last bytes before it, at most three.
    pub(crate) fn suspects(&self, before: &[u8], text: &[u8]) -> bool {
        self.filter.find(before, text, 0).is_some()
    }

    /// Tells of each place in `text` where a value ends, in this order, the longest only where several end together.
    /// With something alive from the piece before, `before` is empty; else it has the last bytes of it, at most three.
    pub(crate) fn scan(
        &self,
        alive: Option<Alive>,
        before: &[u8],
        text: &[u8],
        mut found: impl FnMut(Place),
    ) -> Option<Alive> {
        let length = before.len() + text.len();
        let mut at = 0;
        let mut alive = alive.map(|alive| alive.state);
        loop {
            let (mut state, until) = match alive.take() {
                Some(state) => (state, at),
                None => {
                    let group = self.filter.find(before, text, at)?;
                    // A form of which this is a group begins so early at most; an earlier one would have been seen.
                    at = at.max((group + HELD_FROM).saturating_sub(crate::SHORTEST));
                    (self.start, group + HELD_FROM)
                }
            };
            while at < length && (state != self.start || at < until) {
                let byte = before.get(at).or_else(|| text.get(at - before.len()));
                state = self.step(state, byte.copied().unwrap_or_default());
                at += 1;
                if self.automaton.is_match(state) {
                    // A state lists its own form before those that are an end of it.
                    let form = &self.forms[self.automaton.match_pattern(state, 0).as_usize()];
                    found(Place { end: at, length: form.length, name: form.name });
                }
            }
            if at >= length {
                let bytes = self.growing.get(&state).copied().filter(|bytes| *bytes >= HELD_FROM)?;
                return Some(Alive { state, bytes });
            }
        }
    }
}
