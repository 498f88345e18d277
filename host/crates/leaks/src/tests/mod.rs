//! The guard against a slow one that looks for everything everywhere.

use std::ops::Range;

use crate::forms::forms;
use crate::{Guard, HELD_FROM, Hit, MARK, SHORTEST};

mod cuts;
mod hostile;
mod random;
mod whole;

fn guard(values: &[&str]) -> Guard {
    Guard::new(&values.iter().map(|value| (format!("name of {value}"), *value)).collect()).unwrap()
}

/// Pushes `text` cut at these places, and what was found with it.
fn stream(guard: &Guard, text: &str, cuts: &[usize]) -> (String, Vec<Hit>) {
    let (mut mask, mut out, mut hits) = (guard.stream(), String::new(), Vec::new());
    let mut from = 0;
    for &to in cuts.iter().chain([&text.len()]) {
        let pushed = mask.push(text[from..to].into());
        out += &pushed.text;
        hits.extend(pushed.hits);
        from = to;
    }
    (out + &mask.finish(), hits)
}

/// All places between two characters.
fn between(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).skip(1).collect()
}

/// What the guard must do, by trying everything.
struct Slow {
    forms: Vec<String>,
}

impl Slow {
    /// `secrets` without schemes.
    fn new(values: &[impl AsRef<str>]) -> Slow {
        let long = values.iter().map(AsRef::as_ref).filter(|value: &&str| value.len() >= SHORTEST);
        Slow { forms: long.flat_map(|value| forms(value.as_bytes())).collect() }
    }

    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let starts_with = |from: usize, form: &String| text.as_bytes()[from..].starts_with(form.as_bytes());
        let at = |from| {
            self.forms
                .iter()
                .filter(move |form| starts_with(from, form))
                .map(move |form| from..from + form.len())
        };
        (0..text.len()).flat_map(at).collect()
    }

    /// How much of the end of `text` has to wait.
    fn undecided(&self, text: &str) -> usize {
        let grows = |length: &usize| {
            let end = &text.as_bytes()[text.len() - length..];
            self.forms.iter().any(|form| form.len() > *length && form.as_bytes().starts_with(end))
        };
        (HELD_FROM..=text.len()).rev().find(grows).unwrap_or(0)
    }

    fn mask(&self, text: &str, cuts: &[usize]) -> String {
        let places = self.places(text);
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for place in &places {
            match stretches.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => stretches.push(place.clone()),
            }
        }
        // What had left before it was known for a part of a value.
        let mut left = vec![false; text.len()];
        for &cut in cuts {
            for (at, left) in left.iter_mut().enumerate().take(cut - self.undecided(&text[..cut])) {
                *left |= !places.iter().any(|place| place.end <= cut && place.contains(&at));
            }
        }
        let (mut out, mut mark) = (Vec::new(), true);
        for (at, byte) in text.bytes().enumerate() {
            match stretches.iter().find(|stretch| stretch.contains(&at)) {
                Some(stretch) if !left[at] => {
                    if mark || stretch.start == at {
                        out.extend_from_slice(MARK.as_bytes());
                    }
                    mark = false;
                }
                _ => {
                    out.push(byte);
                    mark = true;
                }
            }
        }
        String::from_utf8(out).unwrap()
    }
}
