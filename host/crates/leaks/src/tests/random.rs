//! Random values in random texts with random cuts, against trying everything.

use std::ops::Range;

use super::{Slow, between, guard};
use crate::{Guard, HELD_FROM, MARK};

/// A linear congruential generator (the constants are Knuth's, of MMIX): the same seed is the same text.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }

    fn text(&mut self, letters: &[char], lengths: Range<usize>) -> String {
        let length = lengths.start + self.below(lengths.len());
        (0..length).map(|_| letters[self.below(letters.len())]).collect()
    }
}

/// Few letters make values that overlap and begin alike; more of them make what has several forms.
const LETTERS: [&[char]; 5] = [
    &['a'],
    &['a', 'b'],
    &['a', 'b', 'ñ'],
    &['s', 'k', '-', '1', '"', '/', '?'],
    &['a', 'é', '\u{1F511}', '\\'],
];

#[test]
fn a_stream_is_masked_like_the_whole_but_for_what_had_left() {
    let (mut masked, mut left) = (0, 0);
    for seed in 0..6_000 {
        let mut dice = Dice(seed);
        let letters = LETTERS[dice.below(LETTERS.len())];
        let values = values(&mut dice, letters);
        let slow = Slow::new(&values);
        let guard = guard(&values.iter().map(String::as_str).collect::<Vec<_>>());
        let text = text(&mut dice, letters, &slow);
        let whole = guard.mask(&text).text;
        assert_eq!(whole, slow.mask(&text, &[]), "{seed}: {values:?} in {text:?}");

        let cuts = cuts(&mut dice, &text);
        let out = push_all(&guard, &slow, &text, &cuts);
        assert_eq!(out, slow.mask(&text, &cuts), "{seed}: {values:?} in {text:?} cut at {cuts:?}");
        for form in &slow.forms {
            assert!(!out.contains(form), "{seed}: {form} in {out}");
        }
        masked += usize::from(whole != text);
        left += usize::from(whole != out);
    }
    assert!(masked > 3_000 && left > 500, "{masked} had values, of {left} something had left");
}

#[test]
fn of_a_value_that_stands_alone_at_most_three_bytes_leave() {
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let value = dice.text(&['s', 'k', '-', '1', 'ü'], 8..38);
        let text = format!("{}{value}{}", "_".repeat(dice.below(9)), "_".repeat(dice.below(9)));
        let guard = guard(&[&value]);
        let out = push_all(&guard, &Slow::new(&[&value]), &text, &cuts(&mut dice, &text));
        let left = out.replacen(MARK, "", 1).replace('_', "");
        assert!(
            left.len() < HELD_FROM && value.starts_with(&left),
            "{seed}: {left} of {value} left in {out}"
        );
    }
}

fn values(dice: &mut Dice, letters: &[char]) -> Vec<String> {
    let mut values = Vec::<String>::new();
    for _ in 0..=dice.below(4) {
        let mut value = String::new();
        if !values.is_empty() && dice.below(2) == 0 {
            // Begins as another one ends, or is longer than it.
            let other = &values[dice.below(values.len())];
            value = other.chars().skip(dice.below(4)).collect();
        }
        value += &dice.text(letters, 0..9);
        while value.len() < 8 {
            value.push(letters[0]);
        }
        // A scheme would be searched for by itself.
        values.push(value.replace(' ', "_"));
    }
    values
}

fn text(dice: &mut Dice, letters: &[char], slow: &Slow) -> String {
    let mut text = String::new();
    for _ in 0..dice.below(6) {
        text += &dice.text(letters, 0..6);
        if dice.below(3) > 0 {
            let form = &slow.forms[dice.below(slow.forms.len())];
            let shorter = form.chars().count() - if dice.below(3) == 0 { dice.below(4) } else { 0 };
            text.extend(form.chars().take(shorter));
        }
        if dice.below(3) == 0 {
            text.push_str(" and ");
        }
    }
    text
}

fn cuts(dice: &mut Dice, text: &str) -> Vec<usize> {
    let one_in = 1 + dice.below(8);
    let mut cuts: Vec<_> = between(text).into_iter().filter(|_| dice.below(one_in) == 0).collect();
    if let Some(&twice) = cuts.first() {
        cuts.insert(0, twice);
    }
    cuts
}

/// Checks after each piece that no more is held back than has to be.
fn push_all(guard: &Guard, slow: &Slow, text: &str, cuts: &[usize]) -> String {
    let (mut mask, mut out, mut from) = (guard.stream(), String::new(), 0);
    for &to in cuts {
        out += &mask.push(text[from..to].into()).text;
        let undecided = slow.undecided(&text[..to]);
        assert!(mask.held() <= undecided, "{} bytes held back of {:?}", mask.held(), &text[..to]);
        from = to;
    }
    out += &mask.push(text[from..].into()).text;
    out + &mask.finish()
}
