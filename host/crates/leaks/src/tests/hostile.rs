//! Texts made to be slow to search. At a value's length of steps for each byte they would take minutes.

use super::{guard, stream};
use crate::{LONGEST, MARK, Mask};

#[test]
fn a_text_that_always_nearly_is_the_value_takes_no_longer() {
    let value = "a".repeat(LONGEST - 1) + "b";
    let guard = guard(&[&value]);
    let text = "a".repeat(8 << 20);
    assert_eq!(guard.mask(&text).text, text);
    let mut mask = guard.stream();
    let pieces = text.as_bytes().chunks(64 << 10);
    let out: usize = pieces.map(|piece| push(&mut mask, std::str::from_utf8(piece).unwrap())).sum();
    assert_eq!(out, text.len() - (LONGEST - 1), "as much is held back as a value may begin with");
    assert_eq!(mask.push("b".into()).text, MARK);
    assert_eq!(mask.finish(), "");
}

#[test]
fn a_byte_at_a_time_takes_no_longer() {
    let value = "a".repeat(1_000) + "b";
    let mut mask = guard(&[&value]).stream();
    let out: usize = (0..100_000).map(|_| push(&mut mask, "a")).sum();
    assert_eq!((out, mask.held()), (99_000, 1_000));
}

#[test]
fn a_value_in_every_place_has_one_mark_and_is_one_hit() {
    let value = "ab".repeat(100);
    let guard = guard(&[&value]);
    let text = "ab".repeat(2 << 20);
    assert_eq!(guard.mask(&text).text, MARK);
    let cuts: Vec<_> = (1..64).map(|piece| piece * (64 << 10) + 1).collect();
    assert_eq!(stream(&guard, &text, &cuts).0, MARK);
    assert_eq!(guard.hits().collect::<Vec<_>>(), [(format!("name of {value}").as_str(), 2)]);
}

#[test]
fn a_text_of_beginnings_takes_no_longer() {
    let value = format!("sk-proj-{}", "x".repeat(4_000));
    let guard = guard(&[&value]);
    for begun in [4, 5, 8, 12, 4_007] {
        let text = value[..begun].repeat((4 << 20) / begun);
        assert_eq!(guard.mask(&text).text, text);
        assert_eq!(stream(&guard, &text, &[1, 70_001]).0, text);
    }
}

#[test]
fn a_hundred_values_that_begin_alike_are_told_apart() {
    let values: Vec<_> = (0..100).map(|n| format!("sk-proj-{}{n:03}", "common".repeat(20))).collect();
    let guard = guard(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let text = values.join(" ");
    let masked = guard.mask(&text);
    assert_eq!(masked.text, [MARK; 100].join(" "));
    assert_eq!(masked.hits.len(), 100);
    let cuts: Vec<_> = (5..text.len()).step_by(7).collect();
    let (out, hits) = stream(&guard, &text, &cuts);
    assert_eq!(out.matches(MARK).count(), 100);
    assert!(hits.len() == 100 && !out.contains("proj"), "{out}");
    assert_eq!(guard.mask(&text.replace("common", "commom")).hits, []);
}

#[test]
fn values_within_values_are_found_together() {
    // Each is the end of the next, so that all of them end in every place.
    let values: Vec<_> = (8..108).map(|length| "a".repeat(length)).collect();
    let guard = guard(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let text = "a".repeat(1 << 20);
    let masked = guard.mask(&text);
    assert_eq!(masked.text, MARK);
    assert_eq!(masked.hits.len(), 100, "each was the longest once");
    assert_eq!(stream(&guard, &text, &[9, 20, 500_000]).0, MARK);
}

fn push(mask: &mut Mask, piece: &str) -> usize {
    mask.push(piece.into()).text.len()
}
