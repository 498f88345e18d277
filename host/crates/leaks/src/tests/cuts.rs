//! One value, cut everywhere.

use super::{between, guard, stream};
use crate::{Guard, HELD_FROM, MARK};

/// None of them begins in what stands before it here, nor ends behind itself.
const VALUES: [&str; 5] = ["sk-proj-AbC1", "key=0123456789", "abcabcab", "schlüssel-ñ", "Bearer sk-1234567"];

#[test]
fn a_value_is_masked_wherever_its_text_is_cut() {
    for value in VALUES {
        let guard = guard(&[value]);
        for (before, after) in [("", ""), ("is ", ", yes"), ("sk-", "s"), ("sk", "ä"), ("ä", "sk-pro")] {
            let text = format!("{before}{value}{after}");
            let places = between(&text);
            check(&guard, &[before, value, after], &[]);
            check(&guard, &[before, value, after], &places);
            for (n, &first) in places.iter().enumerate() {
                check(&guard, &[before, value, after], &[first]);
                for (m, &second) in places.iter().enumerate().skip(n) {
                    check(&guard, &[before, value, after], &[first, second]);
                    for &third in &places[m..] {
                        check(&guard, &[before, value, after], &[first, second, third]);
                    }
                }
            }
        }
    }
}

/// All of the value is masked but the first one to three bytes, if a cut is right behind them.
fn check(guard: &Guard, [before, value, after]: &[&str; 3], cuts: &[usize]) {
    let (out, hits) = stream(guard, &[*before, value, after].concat(), cuts);
    let within = |cut: &usize| cut.checked_sub(before.len()).filter(|cut| *cut < HELD_FROM);
    let left = &value[..cuts.iter().filter_map(within).max().unwrap_or(0)];
    let expected = format!("{before}{left}{MARK}{after}");
    assert_eq!(out, expected, "{value} between {before:?} and {after:?}, cut at {cuts:?}");
    assert_eq!(hits.len(), 1, "{value}: {hits:?}");
    assert_eq!((&*hits[0].name, hits[0].times), (format!("name of {value}").as_str(), 1));
}

#[test]
fn an_encoded_value_is_masked_wherever_its_text_is_cut() {
    let guard = guard(&["p\"ss\\w/rd??>"]);
    for form in [
        "p\"ss\\w/rd??>",
        r#"p\"ss\\w/rd??>"#,
        "p%22ss%5Cw%2Frd%3F%3F%3E",
        "cCJzc1x3L3JkPz8+",
        "cCJzc1x3L3JkPz8-",
    ] {
        let text = format!("[{form}]");
        for cut in between(&text).into_iter().filter(|cut| *cut == 1 || *cut > HELD_FROM) {
            assert_eq!(stream(&guard, &text, &[cut]).0, format!("[{MARK}]"), "{form} cut at {cut}");
        }
        let (out, _) = stream(&guard, &text, &between(&text));
        assert_eq!(out, format!("[{}{MARK}]", &form[..3]), "{form} by the character");
    }
}

#[test]
fn nothing_waits_but_four_bytes_of_a_value() {
    let guard = guard(&["sk-proj-AbC1", "schlüssel-ñ"]);
    for (text, out) in [
        ("yes", "yes"),
        ("sk", "sk"),
        ("it is sk-", "it is sk-"),
        ("it is sk-p", "it is "),
        ("sk-proj-AbC", ""),
        ("sk-proj-AbC2", "sk-proj-AbC2"),
        ("sk-proj-AbC1", MARK),
        ("sk-proj-sk-p", "sk-proj-"),
        ("schl", ""),
        ("schlü", ""),
        ("schlüß", "schlüß"),
    ] {
        let mut mask = guard.stream();
        assert_eq!(mask.push(text.into()).text, out, "{text}");
        assert_eq!(out.to_owned() + &mask.finish(), text.replace("sk-proj-AbC1", MARK));
        assert_eq!(mask.finish(), "", "it is as new");
    }
}

#[test]
fn what_was_held_back_comes_with_the_piece_that_makes_it_harmless() {
    let mut mask = guard(&["sk-proj-AbC1"]).stream();
    assert_eq!(mask.push("my sk-proj".into()).text, "my ");
    assert_eq!(mask.push(String::new()).text, "");
    assert_eq!(mask.push("-Ab".into()).text, "");
    assert_eq!(mask.push("acus".into()).text, "sk-proj-Abacus");
}

#[test]
fn a_mark_does_not_wait_for_a_longer_value() {
    let guard = guard(&["sk-proj-1", "sk-proj-1-and-more", "and-more-and-more"]);
    let mut mask = guard.stream();
    assert_eq!(mask.push("sk-proj-1".into()).text, MARK);
    assert_eq!(mask.push("-and".into()).text, "");
    assert_eq!(mask.push("-more".into()).text, "", "the mark stands for the longer one now");
    assert_eq!(mask.push("-and-more!".into()).text, "!", "and for one that overlaps it");
    assert_eq!(mask.push("sk-proj-1".into()).text, MARK);
    assert_eq!(mask.push("-and".into()).text, "");
    assert_eq!(mask.push("roid".into()).text, "-android", "what was not the longer one is there");
    assert_eq!(guard.hits().map(|(_, count)| count).collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn a_piece_without_values_is_not_copied() {
    let mut mask = guard(&["sk-proj-AbC1"]).stream();
    for text in ["", "a", "sk-", "x", "a longer piece that has nothing in it", "sk-pr is not it", "proj-AbC1"]
    {
        let text = String::from(text);
        let place = text.as_ptr();
        let pushed = mask.push(text);
        assert!(pushed.text.as_ptr() == place && pushed.hits.is_empty(), "{pushed:?}");
    }
}

#[test]
fn what_was_before_the_beginning_is_no_part_of_a_value() {
    let guard = guard(&["\0\0\0abcdefgh"]);
    assert_eq!(stream(&guard, "abcdefgh", &[2]).0, "abcdefgh");
    assert_eq!(stream(&guard, "\0\0\0abcdefgh", &[2]).0, format!("\0\0{MARK}"));
}
